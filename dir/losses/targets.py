"""TargetLosses: one criterion for each of several targets, and their mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.losses.base import Criterion


class TargetLosses(nn.ModuleList):
    r"""Mean of one criterion for each target.

    .. math:: \frac{1}{K} \sum_k \mathrm{loss}_k(\hat y_{:, k}, y_{:, k}, w_{:, k})

    Standardise each target first, so that no target outweighs the others. :class:`dir.losses.BMC` and
    :class:`dir.losses.GAI` take several targets themselves.

    Args:
        criteria: K criteria, see :class:`dir.losses.base.Criterion`.

    Shape:
        output ``[N, K]`` or ``[N, K, ...]``, target and weight ``[N, K]`` -> a scalar.

    Example:
        >>> from dir.losses import WeightedL1
        >>> loss = TargetLosses([WeightedL1(), WeightedL1()])
        >>> loss(torch.tensor([[1.0, 5.0]]), torch.tensor([[0.0, 2.0]]))  # (1 + 3) / 2
        tensor(2.)
    """

    def __init__(self, criteria: Iterable[Any]) -> None:
        super().__init__(criteria)

    @property
    def corrects_imbalance(self) -> bool:
        """Whether the criteria correct the imbalance by themselves."""
        return any(one.corrects_imbalance for one in self)

    def fit(self, targets: Tensor, bins: Sequence[LabelBins]) -> TargetLosses:
        """Fit each criterion that needs them to its training targets, columns of ``[N, K]``; returns itself."""
        for criterion, column, own in zip(self, targets.unbind(1), bins, strict=True):
            if callable(fit := getattr(criterion, "fit", None)):
                fit(column, own)
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean of the losses of the targets."""
        weights = [None] * len(self) if weight is None else weight.unbind(1)
        columns = zip(self, output.unbind(1), target.unbind(1), weights, strict=True)
        losses: list[Tensor] = [criterion(out, own, weight=by) for criterion, out, own, by in columns]
        return torch.stack(losses).mean()


def for_targets(criteria: Sequence[Criterion]) -> Criterion | TargetLosses:
    """Return the criterion of K targets, given K criteria with the same settings.

    One criterion of K = 1 target is returned as it is. A criterion that takes all targets at once
    (``takes_targets``) is the first one alone, and others are joined by :class:`TargetLosses`.
    """
    alone = len(criteria) == 1 or getattr(criteria[0], "takes_targets", False)
    return criteria[0] if alone else TargetLosses(criteria)
