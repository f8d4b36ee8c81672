"""Heads of an ensemble whose members share one encoder, and its loss: the mean of the members' losses.

The features of a sample are those of its k members, one after the other, ``[N, k * D]``. FDS and the regularisers
see them as one vector, so that FDS keeps statistics of each member.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.cells import LabelCells
from dir.distribution import Point
from dir.losses.base import Criterion, WeightedLoss
from dir.losses.histogram import HistogramLoss
from dir.models.heads import Head
from dir.models.heads_distribution import DistributionHead
from dir.prior import LabelPrior


class MemberHead(Head):
    """Apply one head to the features of each member, after factors that belong to the member.

    A linear head of one output then has weights for each member: the product of its weights and the factors. The
    factors start as random signs.

    Args:
        head: head of ``D`` features.
        members: number of members k.

    Shape:
        features ``[N, k * D]`` -> outputs of the head ``[N, k, ...]``. ``predict``: the mean of the members'
        predictions, ``[N]``. ``variance``: the mean of their variances and the variance of their predictions.

    Example:
        >>> from dir.models import LinearHead
        >>> head = MemberHead(LinearHead(8), num_features=8, members=4)
        >>> output = head(torch.zeros(5, 32))
        >>> output.shape, head.predict(output).shape
        (torch.Size([5, 4]), torch.Size([5]))
    """

    def __init__(self, head: Head, num_features: int, members: int) -> None:
        # A subclass is also a DistributionHead, whose arguments are those of `head`.
        nn.Module.__init__(self)
        self.head = head
        self.members = members
        signs = torch.randint(0, 2, (members, num_features), dtype=torch.get_default_dtype()) * 2 - 1
        self.factors = nn.Parameter(signs)

    def fit(self, targets: Tensor, bins: LabelBins) -> MemberHead:
        """Fit the head, if it needs the training targets ``[N]``; returns itself."""
        fit = getattr(self.head, "fit", None)
        if callable(fit):
            fit(targets, bins)
        return self

    def forward(self, features: Tensor) -> Tensor:
        scaled = features.reshape(-1, *self.factors.shape) * self.factors
        output: Tensor = self.head(scaled.flatten(0, 1))
        return self._by_member(output)

    def predict(self, output: Tensor) -> Tensor:
        return self.predict_members(output).mean(dim=1)

    def predict_members(self, output: Tensor) -> Tensor:
        """Return the prediction of each member, ``[N, k]``, from the output ``[N, k, ...]``."""
        return self._by_member(self.head.predict(output.flatten(0, 1)))

    def variance(self, output: Tensor) -> Tensor | None:
        flat = output.flatten(0, 1)
        variance = self.head.variance(flat)
        if variance is None:
            return None
        spread = self._by_member(self.head.predict(flat)).var(dim=1, correction=0)
        return self._by_member(variance).mean(dim=1) + spread

    def _by_member(self, values: Tensor) -> Tensor:
        return values.reshape(-1, self.members, *values.shape[1:])


class MemberDistributionHead(DistributionHead, MemberHead):
    """A distribution for each member; the predicted distribution is the mean of the members' distributions.

    The head corrects the mean by power and temperature, so that all members share them. Cells, density, power,
    temperature and point are those of the members' head.

    Args:
        head: head of ``D`` features that predicts a distribution.
        num_features: D.
        members: number of members k.

    Shape:
        features ``[N, k * D]`` -> outputs of the head ``[N, k, ...]``; ``predict`` and ``variance``: ``[N]``.
    """

    head: DistributionHead

    def __init__(self, head: DistributionHead, num_features: int, members: int) -> None:
        # A DistributionHead would make cells of its own.
        MemberHead.__init__(self, head, num_features, members)

    @property
    def cells(self) -> LabelCells:  # type: ignore[override]
        """Return the cells of the head."""
        return self.head.cells

    @property
    def prior(self) -> LabelPrior:  # type: ignore[override]
        """Return the label density of the head."""
        return self.head.prior

    @property
    def power(self) -> Tensor:  # type: ignore[override]
        """Return the power of the head, a buffer."""
        return self.head.power

    @property
    def temperature(self) -> Tensor | None:  # type: ignore[override]
        """Return the temperature of the head, a buffer, or None."""
        return self.head.temperature

    @property
    def point(self) -> Point:  # type: ignore[override]
        """Return the kind of prediction of the head."""
        return self.head.point

    def fit(self, targets: Tensor, bins: LabelBins) -> MemberDistributionHead:
        """Fit the head to the training targets ``[N]``; returns itself."""
        self.head.fit(targets, bins)
        return self

    def log_mass(self, output: Tensor) -> Tensor:
        """Return the log-probabilities ``[N, K]`` of the cells at power 0 and temperature 1."""
        members = self._by_member(self.head.log_mass(output.flatten(0, 1)))
        return members.logsumexp(dim=1) - math.log(self.members)


def attach_head(encoder: nn.Module, make_head: Callable[..., Head]) -> Head:
    """Return the head of an encoder; that of each member where the encoder has ``members``.

    Args:
        encoder: has an int ``num_features``, and an int ``members`` where it is an ensemble.
        make_head: called with ``num_features``.
    """
    features, members = cast("int", encoder.num_features), cast("int", getattr(encoder, "members", 1))
    if members == 1:
        return make_head(num_features=features)
    head = make_head(num_features=features // members)
    if isinstance(head, DistributionHead):
        return MemberDistributionHead(head, features // members, members)
    return MemberHead(head, features // members, members)


class MemberLoss(nn.Module):
    """Mean of a criterion over the members of an ensemble.

    Args:
        criterion: see :class:`dir.losses.base.Criterion`.

    Shape:
        output ``[N, k, ...]``, target and weight ``[N]`` -> a scalar.
    """

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    @property
    def corrects_imbalance(self) -> bool:
        """Whether the criterion corrects the imbalance by itself."""
        return self.criterion.corrects_imbalance

    def fit(self, targets: Tensor, bins: LabelBins) -> MemberLoss:
        """Fit the criterion, if it needs the training targets ``[N]``; returns itself."""
        if hasattr(self.criterion, "fit"):
            self.criterion.fit(targets, bins)
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean of the members' losses."""
        members = output.shape[1]
        if isinstance(self.criterion, WeightedLoss | HistogramLoss):
            # A mean over samples: one call with all members is faster, and gives the same.
            repeated = None if weight is None else weight.repeat_interleave(members)
            loss: Tensor = self.criterion(output.flatten(0, 1), target.repeat_interleave(members), weight=repeated)
            return loss
        losses = [self.criterion(output[:, member], target, weight=weight) for member in range(members)]
        return torch.stack(losses).mean()
