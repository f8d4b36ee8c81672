"""Surrogate-driven representation learning (SRL): a regulariser that spreads the feature trace over the sphere."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from dir._checks import check_integer, check_interval, check_not_negative, check_positive, message
from dir._epoch_sums import EpochSums
from dir._plain_state import PlainState
from dir.bins import LabelBins
from dir.losses.base import Regularizer, labelled_rows, nan_unless_finite
from dir.losses.feature_rows import feature_rows, unit_rows


def enveloping(centers: Tensor, points: Tensor) -> Tensor:
    r"""Return minus the mean cosine of points on the sphere to their nearest centre.

    The value is low if no region of the sphere is far from a centre.

    .. math:: L_{env} = -\frac{1}{P} \sum_p \max_k \, p^\top c_k

    Shape:
        centers ``[K, D]`` and points ``[P, D]``, rows of unit length -> a scalar from -1 to 1.

    Example:
        >>> enveloping(torch.eye(2)[:1], torch.eye(2)).item(), enveloping(torch.eye(2), torch.eye(2)).item()
        (-0.5, -1.0)

    Reference:
        Dong et al., CVPR 2025, the enveloping loss in its differentiable form: the cosine to the nearest point
        of the trace replaces the share of points within a distance of the trace.
    """
    return -(points @ centers.T).amax(dim=1).mean()


def homogeneity(centers: Tensor, levels: Tensor) -> Tensor:
    r"""Return the squared steps of the trace over the steps of the label; lowest for a short, evenly spaced trace.

    .. math:: L_{homo} = \sum_{k=1}^{K-1} \frac{\lVert c_{k+1} - c_k \rVert_2^2}{y_{k+1} - y_k}

    Shape:
        centers ``[K, D]``, levels ``[K]`` strictly increasing -> a scalar.

    Example:
        >>> homogeneity(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0.0, 0.5, 1.0])).item()
        4.0

    Reference:
        Dong et al., CVPR 2025, the homogeneity loss in its discrete form.
    """
    return (centers.diff(dim=0).square().sum(dim=1) / levels.diff()).sum()


def centroid_contrast(features: Tensor, centers: Tensor, row: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the cross-entropy of each feature's own centre among all centres.

    .. math:: L_{con} = -\frac{1}{N} \sum_i \log \frac{\exp(z_i^\top c_{k(i)} / t)}{\sum_k \exp(z_i^\top c_k / t)}

    Shape:
        features ``[N, D]`` and centers ``[K, D]``, rows of unit length, row ``[N]`` int64, the centre of each
        sample, or K for samples to leave out -> a scalar; 0 if all samples are left out.

    Example:
        >>> near = centroid_contrast(torch.eye(2), torch.eye(2), torch.tensor([0, 1]))
        >>> bool(near < centroid_contrast(torch.eye(2), torch.eye(2), torch.tensor([1, 0])))
        True

    Reference:
        Dong et al., CVPR 2025, the contrastive term; the default temperature is ours.
    """
    k = len(centers)
    total = F.cross_entropy(features @ centers.T / temperature, row, ignore_index=k, reduction="sum")
    return total / (row < k).sum().clamp(min=1)


class SRL(PlainState, Regularizer):
    r"""Three terms on the feature trace over the whole label range.

    .. math:: \lambda (\lambda_e L_{env} + \lambda_h L_{homo} + \lambda_c L_{con})

    The trace has one centre for each bin that holds training labels. For a bin in the batch, the centre is the mean
    of the batch's features at unit length, and gradients flow through it. For the other bins, the centre is the one
    from earlier epochs (the surrogate). All centres are scaled to unit length. The first epoch has no surrogate, and
    the term is 0.

    A bin in the batch is represented by the batch's centre. A sample that is alone in its bin therefore is its own
    centre: its cosine is 1, and the contrast pushes it away from the other centres without pulling it to the
    surrogate of its bin. This holds for most few-shot samples. The contrast pulls only if a bin has several samples
    in the batch.

    **This module is stateful.** It collects features in training mode with gradients enabled; :meth:`end_epoch`
    updates the surrogate. Call ``fit`` before the first call and before ``load_state_dict``. On several ranks, each
    rank uses its own batch, and all ranks share one surrogate.

    Args:
        weight: factor of the sum of the terms, >= 0.
        envelope, homogeneity, contrast: factors of the terms, >= 0. For K random centres, the homogeneity is about
            ``2 * K**2``, and the other two terms are near 1.
        temperature: temperature of the contrast, above 0.
        momentum: weight of the *old* centre when an epoch ends, in [0, 1).
        num_points: number of points drawn on the sphere in each step, by the global generator of the device.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        features ``[N, D]``, labels ``[N]`` -> a scalar, NaN if a label is not finite.

    State:
        centers: ``[K, D]``, the surrogate; seen: bool ``[K]``, whether a centre was seen (a centre never seen copies
        the nearest seen one); live: 0 before the first ``end_epoch``, then 1. ``end_epoch`` writes all three.
        sums: sums of the epoch in progress (:class:`dir._epoch_sums.EpochSums`). Casts of the model narrow none.

    Raises:
        ValueError: shapes that do not fit, or bad arguments; in ``end_epoch``, labels that were not finite.
        RuntimeError: a call or ``load_state_dict`` before ``fit``; ``end_epoch`` without samples on any rank.

    Example:
        >>> labels = torch.arange(8.0)
        >>> srl = SRL(weight=0.1).fit(labels, LabelBins.integers(0, 9))
        >>> z = torch.randn(8, 4, requires_grad=True)
        >>> srl(z, labels, labels).item()
        0.0
        >>> diagnostics = srl.end_epoch()
        >>> srl(z, labels, labels).item() != 0.0
        True

    Reference:
        Dong et al., Improve Representation for Imbalanced Regression through Geometric Constraints, CVPR 2025.
        From the paper: the three terms, and the centres of a batch completed by those of earlier epochs. The paper
        does not say whether the contrast pulls a sample to the batch's centre or to the surrogate; the former is our
        reading. Departures: labels are scaled to [0, 1] over the bins, so that the homogeneity does not depend on
        their unit; the centre of an epoch is the mean over its samples; bins without training labels are not part of
        the trace.
    """

    centers: Tensor
    seen: Tensor
    live: Tensor
    levels: Tensor
    row_of_bin: Tensor
    # No buffers: tools that average buffers cannot average bool tensors, or tensors that grow in the first step.
    plain_state = ("centers", "seen", "live", "levels", "row_of_bin")
    derived_state = ("levels", "row_of_bin")

    def __init__(
        self,
        weight: float = 1.0,
        envelope: float = 1.0,
        homogeneity: float = 1e-4,
        contrast: float = 1.0,
        temperature: float = 0.1,
        momentum: float = 0.9,
        num_points: int = 1024,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(weight, ignore_nan)
        for name, value in (("envelope", envelope), ("homogeneity", homogeneity), ("contrast", contrast)):
            check_not_negative(name, value)
        check_positive("temperature", temperature)
        check_interval("momentum", momentum, "[0, 1)", "It is the weight of the old value.")
        check_integer("num_points", num_points)
        self.envelope, self.homogeneity, self.contrast = float(envelope), float(homogeneity), float(contrast)
        self.temperature, self.momentum, self.num_points = float(temperature), float(momentum), int(num_points)
        self.bins: LabelBins | None = None
        self.sums: EpochSums | None = None

    def fit(self, targets: Tensor, bins: LabelBins) -> SRL:
        """Use the bins that hold ``targets`` as the points of the trace, and reset the state."""
        held = bins.counts(targets) > 0
        k = int(held.sum())
        if k == 0:
            raise ValueError(message("targets", "expected at least one value inside the bins, found none"))
        device = held.device
        centers = bins.centers[held].double()
        span = (centers[-1] - centers[0]).clamp(min=torch.finfo(centers.dtype).tiny)
        row = torch.full((bins.num_bins + 1,), k, dtype=torch.int64, device=device)
        row[:-1][held] = torch.arange(k, device=device)
        self.bins, self.sums = bins, None
        self.levels = ((centers - centers[0]) / span).float()
        self.row_of_bin = row
        # The number of features is known at the first call.
        self.centers = torch.zeros(k, 0, device=device)
        self.seen = torch.zeros(k, dtype=torch.bool, device=device)
        self.live = torch.zeros((), device=device)
        return self

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """Return the weighted sum of the terms; ``predictions`` are ignored."""
        bins = self._require_fit()
        if self.ignore_nan:
            labels, features, predictions = labelled_rows(labels, features, predictions)
        row = self.row_of_bin[bins(labels).flatten()]
        rows, _ = feature_rows(features, labels)
        if self.sums is None:
            self._allocate(rows.shape[1])
        assert self.sums is not None
        if rows.shape[1] != self.centers.shape[1]:
            problem = f"expected [N, {self.centers.shape[1]}] as in the first call"
            raise ValueError(message("features", problem, list(rows.shape)))
        unit = unit_rows(rows)
        if self.training and torch.is_grad_enabled():
            self.sums.add(unit, labels.flatten(), row)
        if len(unit) == 0:
            return rows.sum() * 0.0
        centers = self._trace(unit, row)
        points = unit_rows(torch.randn(self.num_points, unit.shape[1], dtype=unit.dtype, device=unit.device))
        # Autocast would compute the cosines in half precision.
        with torch.autocast(unit.device.type, enabled=False):
            terms = (
                self.envelope * enveloping(centers, points)
                + self.homogeneity * homogeneity(centers, self.levels.to(unit.dtype))
                + self.contrast * centroid_contrast(unit, centers, row, self.temperature)
            )
        return nan_unless_finite(self.weight * torch.where(self.live > 0, terms, 0.0), labels)

    def _require_fit(self) -> LabelBins:
        if self.bins is None:
            raise RuntimeError("SRL is not fitted. Call fit(targets, bins) first.")
        return self.bins

    def _trace(self, unit: Tensor, row: Tensor) -> Tensor:
        """Return the centres at unit length: those of the batch, and the surrogate for bins without samples."""
        k = len(self.centers)
        total = unit.new_zeros(k + 1, unit.shape[1]).index_add(0, row, unit)[:-1]
        count = unit.new_zeros(k + 1).index_add(0, row, torch.ones_like(unit[:, 0]))[:-1, None]
        return unit_rows(torch.where(count > 0, total / count.clamp(min=1), self.centers.to(unit.dtype)))

    def _allocate(self, num_features: int) -> None:
        k = len(self.centers)
        self.centers = self.centers.new_zeros(k, num_features)
        self.sums = EpochSums(k + 1, num_features).to(self.centers.device)

    @torch.no_grad()
    def end_epoch(self, process_group: dist.ProcessGroup | None = None) -> dict[str, float]:
        """Update the surrogate with the samples that all ranks collected since the last call.

        A bin with features that are not finite keeps its centre for this epoch.

        Args:
            process_group: ranks whose samples are added. Default: the default group, if one is initialised.

        Returns:
            An empty dictionary: SRL has no diagnostics.

        Raises:
            RuntimeError: no rank collected any sample.
            ValueError: labels that were not finite.
        """
        self._require_fit()
        self._sync_num_features(process_group)
        found = None if self.sums is None else self.sums.reduced(process_group)
        if self.sums is None or found is None or not found.n[:-1].sum() > 0:
            raise RuntimeError("end_epoch() found no samples. Call the regularizer in training mode first.")
        if found.nonfinite > 0:
            advice = "Call srl.sums.clear() to discard the epoch."
            raise ValueError(message("labels", "expected finite values", f"{int(found.nonfinite)} others", advice))
        finite = found.total[:-1].isfinite().all(dim=1)
        now = (found.n[:-1] > 0) & finite
        total = torch.where(finite[:, None], found.total[:-1], 0.0)
        mean = (total / found.n[:-1, None].clamp(min=1)).to(self.centers.dtype)
        keep = torch.where(self.seen, self.momentum, 0.0).to(mean.dtype)
        keep = torch.where(now, keep, 1.0)[:, None]
        self.seen.logical_or_(now)
        moved = keep * self.centers + (1 - keep) * mean
        places = torch.arange(len(moved), device=moved.device)
        known = places[self.seen]
        if len(known) > 0:
            nearest = known[(places[:, None] - known[None, :]).abs().argmin(dim=1)]
            self.centers.copy_(moved[nearest])
            self.live.fill_(1.0)
        self.sums.clear()
        return {}

    def _sync_num_features(self, process_group: dist.ProcessGroup | None) -> None:
        """Send the number of features to ranks that had no batch: the all-reduce of the sums needs equal shapes."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size(process_group) > 1):
            return
        width = torch.tensor([self.centers.shape[1]], device=self.centers.device)
        dist.all_reduce(width, op=dist.ReduceOp.MAX, group=process_group)
        if self.sums is None and int(width) > 0:
            self._allocate(int(width))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(prefix + "centers")
        if self.bins is None:
            raise RuntimeError("SRL is not fitted. Call fit(targets, bins) first.")
        if self.sums is None and saved is not None and saved.shape[1] > 0:
            self._allocate(saved.shape[1])
        super()._load_from_state_dict(state_dict, prefix, *args)
