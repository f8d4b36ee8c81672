"""Gaussian histogram loss: the cross-entropy between a predicted distribution and the soft histogram of the label."""

from __future__ import annotations

import torch
from torch import Tensor

from dir._checks import check_not_negative, message
from dir._precision import KeepsPrecision
from dir.bins import LabelBins
from dir.cells import LabelCells, Scale
from dir.losses.base import labelled_rows, mean_or_zero
from dir.prior import LabelPrior

# Rows of soft histograms that are computed at a time.
_CHUNK = 4096


def histogram_loss(logits: Tensor, log_target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return the mean cross-entropy of soft histograms.

    .. math:: \frac1N \sum_i w_i \sum_k -q_{ik} \log \mathrm{softmax}(z_i)_k

    Args:
        logits: one logit per cell.
        log_target: log of the soft histogram of each label, from :func:`dir.cells.log_cell_mass`.
        weight: one weight per sample (such as ``lds(labels)``); None means 1.

    Shape:
        logits ``[N, K]``, log_target ``[N, K]``, weight ``[N]`` -> a scalar, float32 or wider; 0 for no samples.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> from dir.cells import log_cell_mass
        >>> histogram_loss(torch.zeros(1, 4), log_cell_mass(torch.tensor([1.5]), 4, 0.01))
        tensor(1.3863)

    Reference:
        Imani and White, Improving Regression Performance with Distributional Losses, ICML 2018, Eq. 4; Farebrother et
        al., Stop Regressing: Training Value Functions via Classification for Scalable Deep RL, ICML 2024 (HL-Gauss).
    """
    if logits.ndim != 2 or logits.shape != log_target.shape:
        raise ValueError(
            message("logits", f"expected [N, K] as log_target {list(log_target.shape)}", list(logits.shape))
        )
    return _mean(logits, log_target.exp(), weight)


def _mean(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean cross-entropy of probabilities ``[N, K]``."""
    if weight is not None and weight.shape != logits.shape[:1]:
        raise ValueError(
            message("weight", f"expected one weight per sample, {list(logits.shape[:1])}", list(weight.shape))
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    loss = -(target.to(dtype) * logits.to(dtype).log_softmax(dim=1)).sum(dim=1)
    return mean_or_zero(loss if weight is None else weight * loss)


class _SoftHistograms:
    """The soft histograms of the distinct training labels, so that no epoch computes them again.

    On a CPU they cost as much as the step of a small network. They are kept as float32, which is what the loss makes
    of them for logits of float32, float16 and bfloat16.
    """

    # 64 MiB: 160,000 distinct labels over 100 cells.
    MAX_NUMBERS = 2**24

    def __init__(self, labels: Tensor, cells: LabelCells) -> None:
        distinct = torch.unique(labels.detach().double().flatten().cpu())
        self.labels = distinct if len(distinct) * cells.num_cells <= self.MAX_NUMBERS else distinct[:0]
        self.edges = cells.edges.detach().clone()
        self.masses = torch.empty(len(self.labels), cells.num_cells)
        for start in range(0, len(self.labels), _CHUNK):
            rows = slice(start, start + _CHUNK)
            self.masses[rows] = cells(self.labels[rows]).exp().float()

    def of(self, target: Tensor, cells: LabelCells) -> Tensor | None:
        """Return the rows of the targets ``[N, K]``; None if a target is no training label, or the cells changed."""
        # A comparison of values would break a compiled graph, and make a GPU wait.
        if target.device.type != "cpu" or torch.compiler.is_compiling():
            return None
        if not len(self.labels) or not torch.equal(self.edges, cells.edges):
            return None
        values = target.double()
        row = torch.searchsorted(self.labels, values.contiguous()).clamp(max=len(self.labels) - 1)
        return self.masses[row] if torch.equal(self.labels[row], values) else None


class HistogramLoss(KeepsPrecision):
    r""":func:`histogram_loss` of targets, for a :class:`dir.models.HistogramHead` with the same cells.

    With ``loss_power`` a above 0 the label density stands in the loss as well: the softmax is taken of
    ``logits + a * log(density)``, so that the network has to learn the rest of the distribution alone. The head needs
    the same ``loss_power`` to undo this in its predictions.

    On a CPU the soft histograms of the training labels are computed once, by ``fit``, and kept in up to 64 MiB. Other
    labels (mixed ones, or those of more distinct values) get theirs in each call.

    Args:
        num_cells, sigma, reach, scale: see :class:`dir.cells.LabelCells`.
        loss_power: a, >= 0. 0 (default) leaves the density out of the loss.
        floor: of the density, see :class:`dir.prior.LabelPrior`.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        output (logits) ``[N, K]``, target ``[N]``, weight ``[N]`` or None -> a scalar.

    State:
        cells.edges ``[K + 1]`` and prior.log_density ``[K]``, written by ``fit``, which comes before
        ``load_state_dict``.

    Raises:
        ValueError: shapes that do not fit; bad arguments.
        RuntimeError: a call before ``fit``.

    Example:
        >>> bins = LabelBins.uniform(0, 1, 10)
        >>> loss = HistogramLoss(num_cells=20, sigma=1.0).fit(torch.rand(50), bins)
        >>> loss(torch.zeros(2, 20), torch.tensor([0.2, 0.4]))
        tensor(2.9957)

    Reference:
        See :func:`histogram_loss`. The density in the loss follows Menon et al., ICLR 2021, Eq. 10.
    """

    def __init__(
        self,
        num_cells: int = 100,
        sigma: float = 3.0,
        reach: float = 3.0,
        scale: Scale = "auto",
        loss_power: float = 0.0,
        floor: float | None = None,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__()
        check_not_negative("loss_power", loss_power)
        self.num_cells, self.sigma, self.reach, self.scale = num_cells, sigma, reach, scale
        self.loss_power, self.floor = float(loss_power), floor
        self.ignore_nan = ignore_nan
        self.cells: LabelCells | None = None
        self.prior = LabelPrior(num_cells, floor)
        self._known: _SoftHistograms | None = None

    @property
    def corrects_imbalance(self) -> bool:
        """Whether the loss corrects the imbalance by itself: only with the full density in the loss."""
        return self.loss_power >= 1

    def fit(self, targets: Tensor, bins: LabelBins) -> HistogramLoss:
        """Place the cells and fit the density to the training targets ``[N]``; returns itself."""
        cells = LabelCells(bins, self.num_cells, self.sigma, self.reach, self.scale)
        self.cells = cells.fit(targets, bins)
        self.prior.fit(targets, self.cells)
        self._known = _SoftHistograms(targets, self.cells)
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted mean over the samples."""
        if self.cells is None:
            raise RuntimeError("HistogramLoss is not fitted. Call fit(targets, bins) first.")
        if self.ignore_nan:
            target, output, weight = labelled_rows(target, output, weight)
        if output.ndim != 2 or output.shape[1] != self.num_cells or target.shape != output.shape[:1]:
            raise ValueError(
                message(
                    "output",
                    f"expected [N, {self.num_cells}], one logit per cell, with target [N]",
                    [list(output.shape), list(target.shape)],
                )
            )
        logits = output
        if self.loss_power > 0:
            dtype = torch.promote_types(output.dtype, torch.float32)
            logits = output.to(dtype) + self.loss_power * self.prior.log_density.to(dtype)
        # Mixed or jittered labels are no training labels; theirs are computed.
        kept = None if logits.dtype == torch.float64 or self._known is None else self._known.of(target, self.cells)
        return histogram_loss(logits, self.cells(target), weight) if kept is None else _mean(logits, kept, weight)

    def extra_repr(self) -> str:
        return f"loss_power={self.loss_power}, ignore_nan={self.ignore_nan}"
