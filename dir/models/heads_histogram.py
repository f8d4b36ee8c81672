"""A head that predicts the whole distribution of the label over a grid of cells."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dir._checks import check_choice, check_interval, check_not_negative, message
from dir.bins import LabelBins
from dir.cells import LabelCells, Scale
from dir.models.heads import Head
from dir.prior import LabelPrior

Point = Literal["mean", "median"]


class HistogramHead(Head):
    r"""One logit per cell of a grid over the label range; within a cell the label is taken as uniform.

    .. math:: p(k \mid x) \propto \exp(z_k + a \log \pi_k) \, \pi_k^{-t}

    with z the logits, :math:`\pi` the training density of the cells (:class:`dir.prior.LabelPrior`), a the
    ``loss_power`` of the loss and t the ``power`` of the correction. ``power`` 0 is the plain network, 1 predicts as
    if all labels were equally frequent. It may be changed after training, which costs nothing: one checkpoint holds
    the whole trade-off between frequent and rare labels. Train with :class:`dir.losses.HistogramLoss` of the same
    arguments.

    Args:
        num_features: D.
        bins: label bins in the criterion's units; their range decides the grid.
        num_cells, sigma, reach, scale: see :class:`dir.cells.LabelCells`.
        power: t, >= 0.
        loss_power: a, that of the loss.
        floor: of the density, see :class:`dir.prior.LabelPrior`.
        point: the prediction, ``"mean"`` or ``"median"`` of the distribution (for L1 criteria).

    Shape:
        features ``[N, D]`` -> logits ``[N, K]``; ``predict`` and ``variance`` of these ``[N]``.

    State:
        cells.edges ``[K + 1]`` and prior.log_density ``[K]``, written by ``fit``; power: a 0-dim buffer.

    Example:
        >>> head = HistogramHead(8, LabelBins.uniform(0, 10, 10), num_cells=40, sigma=1.0)
        >>> logits = head(torch.zeros(5, 8))
        >>> logits.shape, head.predict(torch.zeros(1, 40))
        (torch.Size([5, 40]), tensor([5.]))

    Reference:
        Imani and White, ICML 2018 (the head); Menon et al., ICLR 2021 (the correction of classes). Their combination
        with the effective label density of LDS is ours.
    """

    power: Tensor

    def __init__(
        self,
        num_features: int,
        bins: LabelBins,
        num_cells: int = 100,
        sigma: float = 3.0,
        reach: float = 3.0,
        scale: Scale = "auto",
        power: float = 0.0,
        loss_power: float = 0.0,
        floor: float = 0.1,
        point: Point = "mean",
    ) -> None:
        super().__init__()
        check_not_negative("power", power)
        check_not_negative("loss_power", loss_power)
        check_choice("point", point, get_args(Point))
        self.cells = LabelCells(bins, num_cells, sigma, reach, scale)
        self.prior = LabelPrior(num_cells, floor)
        self.loss_power, self.point = float(loss_power), point
        self.linear = nn.Linear(num_features, num_cells)
        self.register_buffer("power", torch.tensor(float(power)))

    def fit(self, targets: Tensor, bins: LabelBins) -> HistogramHead:
        """Place the cells and fit the density to the training targets ``[N]``; returns itself."""
        self.cells.fit(targets, bins)
        self.prior.fit(targets, self.cells)
        return self

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits

    def log_prob(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return log-probabilities of the cells at ``power`` (default: the head's), ``[N, K]``, float32 or wider."""
        corrected: Tensor = self.prior(output, (self.power if power is None else power) - self.loss_power)
        return corrected

    def predict(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the mean or the median of the distribution, ``[N]``."""
        if self.point == "median":
            return self.quantile(output, 0.5, power)
        return self._mean(self.log_prob(output, power).exp())

    def variance(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the variance of the distribution, ``[N]``; never below that of a single cell."""
        probability = self.log_prob(output, power).exp()
        dtype = probability.dtype
        gap = self.cells.centers.to(dtype) - self._mean(probability)[:, None]
        return (probability * (gap.square() + self.cells.widths.to(dtype).square() / 12)).sum(dim=1)

    def quantile(self, output: Tensor, q: float, power: float | Tensor | None = None) -> Tensor:
        """Return the label below which a share ``q`` of the distribution lies, ``[N]``; linear within a cell."""
        check_interval("q", q, "(0, 1)")
        cdf = self._cdf(output, power)
        cell = torch.searchsorted(cdf, cdf.new_full((len(cdf), 1), q)).sub(1).clamp(0, self.cells.num_cells - 1)
        below, above = cdf.gather(1, cell), cdf.gather(1, cell + 1)
        share = (q - below) / (above - below).clamp(min=torch.finfo(cdf.dtype).tiny)
        edges, cell = self.cells.edges, cell.squeeze(1)
        return (edges[cell] + share.squeeze(1).clamp(0, 1) * self.cells.widths[cell]).to(self._dtype(output))

    def interval(self, output: Tensor, level: float = 0.9, power: float | Tensor | None = None) -> Tensor:
        """Return the central interval of that level, ``[N, 2]``: the quantiles ``(1 - level) / 2`` on both sides."""
        check_interval("level", level, "(0, 1)")
        tail = (1 - level) / 2
        return torch.stack([self.quantile(output, tail, power), self.quantile(output, 1 - tail, power)], dim=1)

    def nll(self, output: Tensor, target: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the negative log-density of each target, ``[N]``; infinite outside the grid."""
        values = self._targets(output, target)
        cell = torch.searchsorted(self.cells.edges, values, right=True).sub(1).clamp(0, self.cells.num_cells - 1)
        log_density = self.log_prob(output, power).double().gather(1, cell[:, None]).squeeze(1)
        inside = (values >= self.cells.edges[0]) & (values <= self.cells.edges[-1])
        nll = self.cells.widths[cell].log() - log_density
        return torch.where(inside, nll, torch.inf).to(self._dtype(output))

    def crps(self, output: Tensor, target: Tensor, power: float | Tensor | None = None) -> Tensor:
        r"""Return the continuous ranked probability score of each target, ``[N]``, in the target's units.

        .. math:: \int \left(F(y) - [y \ge y_i]\right)^2 dy

        The integral is exact for the piecewise linear distribution function.
        """
        values = self._targets(output, target)[:, None]
        cdf = self._cdf(output, power)
        low, high, width = cdf[:, :-1], cdf[:, 1:], self.cells.widths
        share = ((values - self.cells.edges[:-1]) / width).clamp(0, 1)
        middle = low + share * (high - low)

        def squares(first: Tensor, last: Tensor) -> Tensor:
            # Integral of the square of a linear function over a unit interval.
            return (first.square() + first * last + last.square()) / 3

        inside = width * (share * squares(low, middle) + (1 - share) * squares(1 - middle, 1 - high))
        outside = (values - self.cells.edges[-1]).clamp(min=0) + (self.cells.edges[0] - values).clamp(min=0)
        return (inside.sum(dim=1) + outside.squeeze(1)).to(self._dtype(output))

    def _cdf(self, output: Tensor, power: float | Tensor | None) -> Tensor:
        """Distribution function at the edges, float64 ``[N, K + 1]``."""
        inner = self.log_prob(output, power).double().exp().cumsum(dim=1)
        return torch.cat([torch.zeros_like(inner[:, :1]), inner / inner[:, -1:]], dim=1)

    def _mean(self, probability: Tensor) -> Tensor:
        # Autocast would take this product in half precision, where ages of 71.0 and 71.2 are the same.
        with torch.autocast(probability.device.type, enabled=False):
            return probability @ self.cells.centers.to(probability.dtype)

    def _targets(self, output: Tensor, target: Tensor) -> Tensor:
        if target.shape != output.shape[:1]:
            raise ValueError(message("target", f"expected [{len(output)}], one per sample", list(target.shape)))
        return target.double().contiguous()

    @staticmethod
    def _dtype(output: Tensor) -> torch.dtype:
        return torch.promote_types(output.dtype, torch.float32)
