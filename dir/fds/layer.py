"""FDS, the layer for feature distribution smoothing: it collects statistics per label bin and calibrates features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from dir._checks import as_integer, check_choice, check_interval, check_not_negative, message
from dir._epoch_sums import EpochSums, Sums
from dir._labels import as_mask
from dir.bins import LabelBins
from dir.fds import statistics as fs
from dir.fds._given import GivenLabels
from dir.fds._inputs import check_features, eval_features
from dir.fds._reminder import EpochReminder
from dir.fds._tables import BinTables
from dir.fds.calibration import calibrate
from dir.kernels import Kernel, kernel_window


class FDS(BinTables):
    r"""Calibrate features toward the smoothed statistics of neighbouring label bins, in training.

    .. math:: \hat z = \sqrt{\mathrm{clip}(\tilde v_b / v_b)}\,(z - m_b) + \tilde m_b

    with :math:`m_b, v_b` the running mean and variance of the features of bin :math:`b` and
    :math:`\tilde m_b, \tilde v_b` their kernel average over the neighbouring bins that have been seen.

    **This module is stateful.** ``fds(features, labels)``

    * collects (count, sum and sum of squares per bin, of the raw detached features) if the module is in training
      mode, labels are given and gradients are enabled;
    * calibrates in training mode, with the tables of the last closed epoch;
    * returns a copy of the features in eval mode or without labels.

    ``fds.end_epoch()`` after each pass over the data closes the epoch. Only this method updates the statistics and
    the tables. A layer that collects much longer than an epoch without ``end_epoch()`` warns once (not under
    ``torch.compile``). Keep the layer out of checkpointed segments, which run twice.

    Args:
        num_features: D.
        bins: the label bins.
        kernel, kernel_size, sigma: see :func:`dir.kernels.kernel_window`; normalised over the seen bins.
        momentum: weight of the *old* running value, in [0, 1). None: the cumulative average by counts.
        start_update: epochs before this one are discarded.
        start_smooth: first epoch that is calibrated; must be greater than ``start_update``. None: only collect.
        ratio_clip: bounds of the variance ratio. Published: (0.1, 10) ages, (0.5, 2) STS-B, (0.2, 5) depth.
        min_count: with fewer samples than this in an epoch, a bin updates its mean but not its variance. A variance
            that was never updated is left out of the smoothing, and its bin is calibrated with scale 1.
        count_weighted: weight the kernel by the samples of each bin.
        shrinkage: tau. The target becomes ``a * own + (1 - a) * smoothed`` with ``a = n / (n + tau)``, n the samples
            of the bin's last epoch, so that bins with many samples keep their statistics. None: off.
        statistics: ``"mean_var"``, or ``"mean"`` to only shift features and ignore variances.

    Shape:
        - features: ``[N, D]``, or dense ``[N, D, H, W]``.
        - labels: ``[N]`` or ``[N, 1]``, or dense ``[N, 1, H, W]``.
        - mask: bool, of the labels' shape, True for labels that count. Default: all. Where the mask is False,
          features are not collected and not changed, and the label may be NaN.
        - Output: a new tensor of the features' shape and dtype.

    State:
        scale, shift: ``[B + 1, D]``, the tables, written by ``end_epoch``; the last row is the identity, for
        excluded, masked and non-finite labels.
        running_mean, running_var: float64 ``[B, D]``; num_samples, num_samples_var: float64 ``[B]``, the number of
        samples that they rest on; last_count: float64 ``[B]``, samples of the last epoch that saw the bin; epoch:
        float64, closed epochs. All written by ``end_epoch``.
        sums: the sums of the unfinished epoch (:class:`dir._epoch_sums.EpochSums`), which are no buffers.

    Raises:
        ValueError: wrong shapes or arguments; in ``end_epoch``, labels that were not finite.
        TypeError: labels in half precision, features that are not floating.
        RuntimeError: ``end_epoch`` after no rank collected anything.

    Example:
        >>> fds = FDS(num_features=2, bins=LabelBins.integers(0, 9))
        >>> z, y = torch.randn(32, 2, requires_grad=True), torch.randint(0, 10, (32,))
        >>> torch.equal(fds(z, y), z)  # first epoch: collects
        True
        >>> diagnostics = fds.end_epoch()
        >>> torch.equal(fds(z, y), z)  # second epoch: calibrates
        False

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.2, Eq. 2 to 6. The last three
        arguments are ours. Departures from the published code: whitening and re-colouring use the same epoch,
        features are not changed in place, bins that were never seen are ignored, the kernel is renormalised at the
        borders, and out-of-range labels get the same bin in every batch.
    """

    def __init__(
        self,
        num_features: int,
        bins: LabelBins,
        kernel: Kernel = "gaussian",
        kernel_size: int = 5,
        sigma: float = 2.0,
        momentum: float | None = 0.9,
        start_update: int = 0,
        start_smooth: int | None = 1,
        ratio_clip: tuple[float, float] = (0.1, 10.0),
        min_count: int = 2,
        count_weighted: bool = False,
        shrinkage: float | None = None,
        statistics: fs.Statistics = "mean_var",
    ) -> None:
        super().__init__()
        self.num_features = as_integer("num_features", num_features)
        if momentum is not None:
            check_interval("momentum", momentum, "[0, 1)", "It is the weight of the old value.")
        as_integer("start_update", start_update, minimum=0)
        if start_smooth is not None and start_smooth <= start_update:
            raise ValueError(
                message("start_smooth", f"expected an epoch > start_update={start_update} or None", start_smooth)
            )
        if not (len(ratio_clip) == 2 and 0 < ratio_clip[0] <= 1 <= ratio_clip[1]):
            raise ValueError(message("ratio_clip", "expected (low, high) with 0 < low <= 1 <= high", ratio_clip))
        as_integer("min_count", min_count, minimum=2, advice="One sample has no variance.")
        if shrinkage is not None:
            check_not_negative("shrinkage", shrinkage)
        check_choice("statistics", statistics, get_args(fs.Statistics))
        kernel_window(kernel, kernel_size, sigma, "sum")  # checks the three arguments
        self.bins = bins
        self.kernel, self.kernel_size, self.sigma = kernel, kernel_size, sigma
        self.momentum, self.min_count = momentum, min_count
        self.start_update, self.start_smooth = start_update, start_smooth
        self.ratio_clip = (float(ratio_clip[0]), float(ratio_clip[1]))
        self.count_weighted, self.shrinkage, self.statistics = count_weighted, shrinkage, statistics
        self._register_tables()
        self.sums = EpochSums(bins.num_bins + 1, self.num_features)
        self.reset()

    def reset(self) -> None:
        """Discard all statistics and make the tables the identity."""
        for name in self._buffers:
            self._initialize(name)
        self.sums.clear()
        self._reminder = EpochReminder()
        self._warned = False

    def forward(self, features: Tensor, labels: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Collect and calibrate features; see the class."""
        if labels is None or not self.training:
            return features.clone()
        check_features(features, labels, self.num_features)
        labels, index = self._index(labels, mask)
        rows = self._rows(features)
        if torch.is_grad_enabled():
            self.sums.add(rows, labels, index, self._pivot())
            if not torch.compiler.is_compiling():  # counters in Python would recompile the graph
                self._reminder.collected(rows.shape[0])
        if self.start_smooth is None:
            return features.clone()
        calibrated = calibrate(rows, index, self.scale, self.shift)
        if features.ndim == 2:
            return calibrated
        shape = (features.shape[0], *features.shape[2:], self.num_features)
        return calibrated.view(shape).movedim(-1, 1)

    def labels(self, labels: Tensor | None, mask: Tensor | None = None) -> GivenLabels:
        """Return a context in which a model with this FDS attached uses the labels: ``with fds.labels(y): model(x)``.

        See :func:`dir.fds.attach_fds`. ``None`` lets the features pass unchanged.
        """
        return GivenLabels(self, labels, mask)

    def _index(self, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the labels, finite where masked, and the row of the tables of each label, ``[N]``."""
        if mask is None:
            return labels, self.bins(labels).flatten()
        mask = as_mask(mask, labels)
        labels = labels.masked_fill(~mask, 0)
        index: Tensor = self.bins(labels).masked_fill(~mask, self.bins.num_bins)
        return labels, index.flatten()

    def _rows(self, features: Tensor) -> Tensor:
        return features if features.ndim == 2 else features.movedim(1, -1).reshape(-1, self.num_features)

    def _pivot(self) -> Tensor | None:
        # Only sums in float32, on a device without float64, need a pivot.
        if self.sums.total.dtype != torch.float32:
            return None
        return torch.cat([self.running_mean, self.running_mean.new_zeros(1, self.num_features)])

    @torch.no_grad()
    def end_epoch(self, process_group: dist.ProcessGroup | None = None) -> dict[str, float]:
        """Close an epoch: update statistics and tables with the samples collected on all ranks since the last call.

        Args:
            process_group: ranks whose sums are added. Default: the default group, if one is initialised.

        Returns:
            Diagnostics: ``bins_seen``, ``bins_empty``, ``bins_trusted`` (with a variance), ``bins_nonfinite`` (the
            sums are not finite and the bin keeps its old statistics), ``labels_excluded`` (or masked),
            ``mean_gap`` (root mean square of smoothed minus own mean, in own standard deviations), ``var_gap`` (mean
            absolute log ratio of smoothed and own variance) and ``clipped`` (share of ratios at the clip).

        Raises:
            RuntimeError: no rank collected anything; the state is unchanged.
            ValueError: labels that were not finite, with their number; the state is unchanged.
        """
        with self.sums.lock:
            sums = self.sums.reduced(process_group)
            self._check_sums(sums)
            closed, excluded = int(self.epoch.round()), float(sums.n[-1])
            try:
                nonfinite = self._update(sums) if closed >= self.start_update else 0
            finally:
                self.sums.clear()  # _update has overwritten the sums
            live = self.start_smooth is not None and closed + 1 >= self.start_smooth
            diagnostics = self._write_tables(live)
        diagnostics |= {"bins_nonfinite": float(nonfinite), "labels_excluded": excluded}
        self.epoch.add_(1)
        self._reminder.ended()
        warning = fs.calibration_warning(diagnostics, self.bins.num_bins)
        if warning and closed >= self.start_update and not self._warned:
            self._warned = True
            warnings.warn(f"FDS: {warning} ({diagnostics})", stacklevel=3)  # 2 would be the frame of no_grad
        return diagnostics

    @staticmethod
    def _check_sums(sums: Sums) -> None:
        if sums.nonfinite > 0:
            raise ValueError(
                message(
                    "labels",
                    "expected finite values",
                    f"{int(sums.nonfinite)} labels that are NaN or infinite",
                    "Pass mask=~labels.isnan() to leave labels out. fds.sums.clear() discards the epoch.",
                )
            )
        if not sums.n[:-1].sum() > 0:
            raise RuntimeError(
                "FDS.end_epoch: nothing was collected in any bin. Call fds(features, labels) in training mode with "
                "gradients enabled, or fds.collect(), before end_epoch(), and end_epoch() once per epoch."
            )

    @torch.no_grad()
    def collect(self, loader: Iterable[Any], encoder: Callable[..., Tensor]) -> None:
        """Collect a whole epoch in one pass in eval mode, without gradients: the protocol of the paper.

        The pass replaces all samples collected since the last ``end_epoch``. Call ``end_epoch`` afterwards as usual.

        Args:
            loader: yields (inputs, labels).
            encoder: maps inputs to features. If it is a Module, the mode of every submodule is restored.
        """
        self.sums.clear()
        try:
            for features, labels in eval_features(loader, encoder, self.scale.device):
                check_features(features, labels, self.num_features)
                self.sums.add(self._rows(features), labels, self.bins(labels).flatten(), self._pivot())
        except BaseException:
            self.sums.clear()
            raise

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in signature(FDS).parameters if name != "bins")
