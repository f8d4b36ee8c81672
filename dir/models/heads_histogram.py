"""A head that predicts the whole distribution of the label over a grid of cells."""

from __future__ import annotations

from torch import Tensor, nn

from dir._checks import check_not_negative
from dir.bins import LabelBins
from dir.cells import Scale
from dir.distribution import Point
from dir.models.heads_distribution import DistributionHead


class HistogramHead(DistributionHead):
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
        temperature: whether the head has a temperature, see :class:`dir.models.DistributionHead`.

    Shape:
        features ``[N, D]`` -> logits ``[N, K]``; ``predict`` and ``variance`` of these ``[N]``.

    State:
        See :class:`dir.models.DistributionHead`.

    Example:
        >>> import torch
        >>> head = HistogramHead(8, LabelBins.uniform(0, 10, 10), num_cells=40, sigma=1.0)
        >>> logits = head(torch.zeros(5, 8))
        >>> logits.shape, head.predict(torch.zeros(1, 40)).round(decimals=3)
        (torch.Size([5, 40]), tensor([5.]))

    Reference:
        Imani and White, ICML 2018 (the head); Menon et al., ICLR 2021 (the correction of classes). Their combination
        with the effective label density of LDS is ours.
    """

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
        floor: float | None = None,
        point: Point = "mean",
        temperature: bool = False,
    ) -> None:
        super().__init__(bins, num_cells, sigma, reach, scale, power, floor, point, temperature)
        check_not_negative("loss_power", loss_power)
        self.loss_power = float(loss_power)
        self.linear = nn.Linear(num_features, num_cells)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits

    def log_mass(self, output: Tensor) -> Tensor:
        """Return the log-probabilities ``[N, K]`` that the loss has trained: power 0 and temperature 1."""
        trained: Tensor = self.prior(output, -self.loss_power)
        return trained

    def log_prob(self, output: Tensor, power: float | Tensor | None = None) -> Tensor:
        """Return log-probabilities of the cells at ``power`` (default: the head's), ``[N, K]``, float32 or wider."""
        if self.temperature is not None:
            return super().log_prob(output, power)
        # One correction instead of two keeps the results of earlier versions to the last bit.
        corrected: Tensor = self.prior(output, (self.power if power is None else power) - self.loss_power)
        return corrected
