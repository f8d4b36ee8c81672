"""CellDistribution: mean, quantiles and scores of predicted distributions over cells of the label range."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dir._checks import check_interval, message

Point = Literal["mean", "median"]


class CellDistribution:
    """Predicted distributions of N labels over the same K cells; a label is uniform within its cell.

    Args:
        log_prob: log-probabilities of the cells, normalised over the last dimension.
        edges: increasing edges of the cells.

    Shape:
        log_prob ``[N, K]``, edges ``[K + 1]``. Results have the type of ``log_prob``.

    Example:
        >>> found = CellDistribution(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([0.0, 2.0, 6.0]))
        >>> found.mean(), found.quantile(0.75)
        (tensor([2.5000]), tensor([4.]))
    """

    def __init__(self, log_prob: Tensor, edges: Tensor) -> None:
        self.log_prob = log_prob
        self.edges = edges
        self.widths = edges.diff()

    def point(self, point: Point) -> Tensor:
        """Return the mean or the median of each distribution, ``[N]``."""
        return self.quantile(0.5) if point == "median" else self.mean()

    def mean(self) -> Tensor:
        """Return the mean of each distribution, ``[N]``."""
        return self._mean(self.log_prob.exp())

    def variance(self) -> Tensor:
        """Return the variance of each distribution, ``[N]``; never below that of a single cell."""
        probability = self.log_prob.exp()
        gap = self._centers(probability) - self._mean(probability)[:, None]
        return (probability * (gap.square() + self.widths.to(probability.dtype).square() / 12)).sum(dim=1)

    def quantile(self, q: float) -> Tensor:
        """Return the label below which a share ``q`` of the distribution lies, ``[N]``; linear within a cell."""
        check_interval("q", q, "(0, 1)")
        cdf = self.cdf()
        cell = torch.searchsorted(cdf, cdf.new_full((len(cdf), 1), q)).sub(1).clamp(0, len(self.widths) - 1)
        below, above = cdf.gather(1, cell), cdf.gather(1, cell + 1)
        share = (q - below) / (above - below).clamp(min=torch.finfo(cdf.dtype).tiny)
        cell = cell.squeeze(1)
        return (self.edges[cell] + share.squeeze(1).clamp(0, 1) * self.widths[cell]).to(self.log_prob.dtype)

    def interval(self, level: float = 0.9) -> Tensor:
        """Return the central interval of that level, ``[N, 2]``: the quantiles ``(1 - level) / 2`` on both sides."""
        check_interval("level", level, "(0, 1)")
        tail = (1 - level) / 2
        return torch.stack([self.quantile(tail), self.quantile(1 - tail)], dim=1)

    def nll(self, target: Tensor) -> Tensor:
        """Return the negative log-density of each target, ``[N]``; infinite outside the grid."""
        values = self._targets(target)
        cell = torch.searchsorted(self.edges, values, right=True).sub(1).clamp(0, len(self.widths) - 1)
        log_density = self.log_prob.double().gather(1, cell[:, None]).squeeze(1)
        inside = (values >= self.edges[0]) & (values <= self.edges[-1])
        nll = self.widths[cell].log() - log_density
        return torch.where(inside, nll, torch.inf).to(self.log_prob.dtype)

    def crps(self, target: Tensor) -> Tensor:
        r"""Return the continuous ranked probability score of each target, ``[N]``, in the target's units.

        .. math:: \int \left(F(y) - [y \ge y_i]\right)^2 dy

        The integral is exact for the piecewise linear distribution function.
        """
        values = self._targets(target)[:, None]
        cdf = self.cdf()
        low, high = cdf[:, :-1], cdf[:, 1:]
        share = ((values - self.edges[:-1]) / self.widths).clamp(0, 1)
        middle = low + share * (high - low)

        def squares(first: Tensor, last: Tensor) -> Tensor:
            # Integral of the square of a linear function over a unit interval.
            return (first.square() + first * last + last.square()) / 3

        inside = self.widths * (share * squares(low, middle) + (1 - share) * squares(1 - middle, 1 - high))
        outside = (values - self.edges[-1]).clamp(min=0) + (self.edges[0] - values).clamp(min=0)
        return (inside.sum(dim=1) + outside.squeeze(1)).to(self.log_prob.dtype)

    def cdf(self) -> Tensor:
        """Return the distribution function at the edges, float64 ``[N, K + 1]``."""
        inner = self.log_prob.double().exp().cumsum(dim=1)
        return torch.cat([torch.zeros_like(inner[:, :1]), inner / inner[:, -1:]], dim=1)

    def _centers(self, probability: Tensor) -> Tensor:
        return ((self.edges[1:] + self.edges[:-1]) / 2).to(probability.dtype)

    def _mean(self, probability: Tensor) -> Tensor:
        # Autocast would compute this product in half precision, where ages of 71.0 and 71.2 are equal.
        with torch.autocast(probability.device.type, enabled=False):
            return probability @ self._centers(probability)

    def _targets(self, target: Tensor) -> Tensor:
        if target.shape != self.log_prob.shape[:1]:
            problem = f"expected [{len(self.log_prob)}], one per sample"
            raise ValueError(message("target", problem, list(target.shape)))
        return target.double().contiguous()
