"""A head around another head with a predicted distribution: it corrects this distribution by the label density."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dir._checks import message
from dir.bins import LabelBins
from dir.cells import Scale
from dir.distribution import Point
from dir.models.heads import Head
from dir.models.heads_distribution import DistributionHead


class PriorHead(DistributionHead):
    r"""The predicted distribution of another head, on a grid of cells, corrected by a power of the label density.

    .. math:: p_{t, T}(k \mid x) \propto \left(\int_{e_k}^{e_{k+1}} p(y \mid x) \, dy\right)^{1 / T} \pi_k^{-t}

    The other head and its loss stay as they are: train with the loss of the other head. The distribution is that of
    ``head.cell_log_mass``: the bins of a ``ClassificationHead``, the Student distribution of an ``EvidentialHead``,
    the mixture of all experts of an ``ExpertsHead``, or a normal distribution for another head with a variance.
    Predictions at power 0 differ from those of the head alone by the width of the cells; for an ``ExpertsHead`` they
    are those of the mixture, not of the surest expert.

    Args:
        num_features: D.
        bins: label bins in the criterion's units.
        head: makes the other head, called as ``head(num_features=D, bins=bins)``: a class, or a partial of one.
        num_cells, sigma, reach, scale, power, floor, point, temperature: see
            :class:`dir.models.DistributionHead`.

    Shape:
        features ``[N, D]`` -> the output of the other head; ``predict`` and ``variance`` of it ``[N]``.

    State:
        See :class:`dir.models.DistributionHead`; the state of the other head below ``head``.

    Raises:
        ValueError: a head that predicts no distribution, or already corrects it.

    Example:
        >>> import torch
        >>> from dir.models import EvidentialHead
        >>> head = PriorHead(8, LabelBins.uniform(0, 10, 10), head=EvidentialHead)
        >>> output = head(torch.zeros(5, 8))
        >>> output.shape, head.predict(output, power=0.5).shape
        (torch.Size([5, 3]), torch.Size([5]))

    Reference:
        Saerens et al., 2002, and Menon et al., ICLR 2021, for classes; see :func:`dir.prior.adjust`.
    """

    def __init__(
        self,
        num_features: int,
        bins: LabelBins,
        head: Callable[..., Head],
        num_cells: int = 100,
        sigma: float = 3.0,
        reach: float = 3.0,
        scale: Scale = "auto",
        power: float = 0.0,
        floor: float | None = None,
        point: Point = "mean",
        temperature: bool = False,
    ) -> None:
        super().__init__(bins, num_cells, sigma, reach, scale, power, floor, point, temperature)
        inner = head(num_features=num_features, bins=bins)
        kind = type(inner)
        if isinstance(inner, DistributionHead):
            problem = "the head already corrects its distribution by the label density"
            raise ValueError(message("head", problem, kind.__name__, "Use the head itself."))
        if not isinstance(inner, Head) or (
            kind.variance is Head.variance and kind.cell_log_mass is Head.cell_log_mass
        ):
            problem = "expected a head that predicts a distribution of the label"
            advice = "Choose ClassificationHead, EvidentialHead, ExpertsHead or another head with a variance."
            raise ValueError(message("head", problem, kind.__name__, advice))
        self.head = inner

    def fit(self, targets: Tensor, bins: LabelBins) -> PriorHead:
        """Place the cells, fit the density to the training targets ``[N]``, and fit the other head if it can be."""
        super().fit(targets, bins)
        fit = getattr(self.head, "fit", None)
        if callable(fit):
            fit(targets, bins)
        return self

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.head(features)
        return output

    def log_mass(self, output: Tensor) -> Tensor:
        """Return the log-probabilities ``[N, K]`` of the cells at power 0 and temperature 1."""
        return self.head.cell_log_mass(output, self.cells.edges).log_softmax(dim=-1).float()
