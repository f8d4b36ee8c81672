"""Base of the heads that predict a distribution over cells of the label range and correct it by the label density."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from dir._cell_mass import spread
from dir._checks import check_choice, check_not_negative
from dir.bins import LabelBins
from dir.cells import LabelCells, Scale
from dir.distribution import CellDistribution, Point
from dir.models.heads import Head
from dir.prior import LabelPrior, adjust


class DistributionHead(Head):
    r"""A predicted distribution over cells, with a power and a temperature that may change after training.

    .. math:: p_{t, T}(k \mid x) \propto p(k \mid x)^{1 / T} \, \pi_k^{-t}

    with :math:`\pi` the training density of the cells (:class:`dir.prior.LabelPrior`), t the ``power`` and T the
    temperature. ``power`` 0 and temperature 1 give the plain network. Power 1 predicts as if all labels were equally
    frequent. A subclass gives ``log_mass``, the log of :math:`p(k \mid x)`.

    Args:
        bins: label bins in the criterion's units; their range decides the grid.
        num_cells, sigma, reach, scale: see :class:`dir.cells.LabelCells`.
        power: t, >= 0.
        floor: of the density, see :class:`dir.prior.LabelPrior`.
        point: the prediction, ``"mean"`` or ``"median"`` of the distribution (for L1 criteria).
        temperature: whether the head has a temperature that can be fitted after training; without it T is 1.

    State:
        cells.edges ``[K + 1]`` and prior.log_density ``[K]``, written by ``fit``; power, and temperature where the
        head has one: 0-dim buffers.
    """

    power: Tensor
    temperature: Tensor | None

    def __init__(
        self,
        bins: LabelBins,
        num_cells: int = 100,
        sigma: float = 3.0,
        reach: float = 3.0,
        scale: Scale = "auto",
        power: float = 0.0,
        floor: float | None = None,
        point: Point = "mean",
        temperature: bool = False,
    ) -> None:
        super().__init__()
        check_not_negative("power", power)
        check_choice("point", point, get_args(Point))
        self.cells = LabelCells(bins, num_cells, sigma, reach, scale)
        self.prior = LabelPrior(num_cells, floor)
        self.point: Point = point
        self.register_buffer("power", torch.tensor(float(power)))
        # A head without temperature keeps the state of earlier versions.
        self.register_buffer("temperature", torch.tensor(1.0) if temperature else None)

    def fit(self, targets: Tensor, bins: LabelBins) -> DistributionHead:
        """Place the cells and fit the density to the training targets ``[N]``; returns itself."""
        self.cells.fit(targets, bins)
        self.prior.fit(targets, self.cells)
        return self

    def log_mass(self, output: Tensor) -> Tensor:
        """Return the log-probabilities ``[N, K]`` of the cells at power 0 and temperature 1."""
        raise NotImplementedError

    def log_prob(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return log-probabilities of the cells at ``power`` (default: the head's), ``[N, K]``, float32 or wider."""
        mass = self.log_mass(output)
        if self.temperature is not None:
            mass = mass / self.temperature
        return adjust(mass, self.prior.log_density.to(mass.dtype), self.power if power is None else power)

    def distribution(self, output: Tensor, power: float | Tensor | None = None) -> CellDistribution:
        """Return the predicted distributions at ``power`` (default: the head's)."""
        return CellDistribution(self.log_prob(output, power), self.cells.edges)

    def predict(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the mean or the median of the distribution, ``[N]``."""
        return self.distribution(output, power).point(self.point)

    def variance(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the variance of the distribution, ``[N]``; never below that of a single cell."""
        return self.distribution(output, power).variance()

    def quantile(self, output: Tensor, q: float, power: float | Tensor | None = None) -> Tensor:
        """Return the label below which a share ``q`` of the distribution lies, ``[N]``; linear within a cell."""
        return self.distribution(output, power).quantile(q)

    def interval(self, output: Tensor, level: float = 0.9, power: float | Tensor | None = None) -> Tensor:
        """Return the central interval of that level, ``[N, 2]``: the quantiles ``(1 - level) / 2`` on both sides."""
        return self.distribution(output, power).interval(level)

    def nll(self, output: Tensor, target: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the negative log-density of each target, ``[N]``; infinite outside the grid."""
        return self.distribution(output, power).nll(target)

    def crps(self, output: Tensor, target: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return the continuous ranked probability score of each target, ``[N]``, in the target's units."""
        return self.distribution(output, power).crps(target)

    def cell_log_mass(self, output: Tensor, edges: Tensor) -> Tensor:
        """Return the log-mass of other cells under the distribution at the power of the head."""
        return spread(self.log_prob(output).exp(), self.cells.edges, edges)
