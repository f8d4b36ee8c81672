"""RankSim: neighbours in the order of their features as they are in the order of their labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir.losses.base import Regularizer, check_positive
from dir.losses.feature_rows import feature_rows, unit_rows


def descending_ranks(values: Tensor) -> Tensor:
    """Rank of every value within its row, 1 for the largest; of equal values the one further right ranks first.

    Shape:
        ``[..., M]`` -> ``[..., M]``, of values' type.

    Example:
        >>> descending_ranks(torch.tensor([0.5, 2.0, 0.5]))
        tensor([3., 1., 2.])
    """
    order = values.argsort(dim=-1, stable=True).flip(-1)
    place = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    return torch.empty_like(values).scatter_(-1, order, place.expand_as(order))


def one_per_label(labels: Tensor) -> Tensor:
    """A mask that keeps one row of each different label, drawn evenly by the device's global generator.

    Its shape does not depend on the number of different labels, so that nothing waits for the device.

    Shape:
        ``[N]`` -> bool ``[N]``.

    Example:
        >>> int(one_per_label(torch.tensor([3.0, 1.0, 3.0])).sum())
        2
    """
    shuffled = torch.rand(labels.shape, device=labels.device).argsort()
    ordered, within = labels[shuffled].sort(stable=True)
    first = torch.cat([torch.ones_like(ordered[:1], dtype=torch.bool), ordered[1:] != ordered[:-1]])
    return torch.empty_like(first).scatter_(0, shuffled[within], first)


class _RankLoss(torch.autograd.Function):
    """The loss on a similarity matrix, with the blackbox gradient computed along.

    The gradient is computed here and not in ``backward``, because its perturbation is a step in units of the loss: a
    gradient scaler's factor, or a loss divided for accumulation, must not change how far that step goes.
    """

    @staticmethod
    def forward(
        ctx: Any, similarity: Tensor, labels: Tensor, kept: Tensor, interpolation: float, weight: float
    ) -> Tensor:
        pairs = kept[:, None] & kept[None, :]
        count = kept.sum().to(similarity.dtype).clamp(min=1)
        # Rows left out rank last everywhere.
        closeness = torch.where(kept[None, :], (labels[:, None] - labels[None, :]).abs().neg_(), -torch.inf)
        similarity = torch.where(kept[None, :], similarity, -torch.inf)
        ranks = descending_ranks(similarity)
        difference = (ranks - descending_ranks(closeness)).mul_(pairs) / count
        slope = difference * (2 * weight / count)
        stepped = descending_ranks(similarity.add_(slope, alpha=interpolation))
        gradient = (stepped - ranks).mul_(pairs) / (count * interpolation)
        ctx.save_for_backward(gradient)
        return difference.square().sum() * (weight / count)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient, None, None, None, None


def ranksim(features: Tensor, labels: Tensor, interpolation: float = 2.0, weight: float = 1.0) -> Tensor:
    r"""Squared difference between the ranks of neighbours by label and by feature, summed over the anchors.

    .. math::
        L = \gamma \sum_i \frac{1}{M} \sum_j \left(
            \tfrac{1}{M} \mathrm{rk}(s_i)_j - \tfrac{1}{M} \mathrm{rk}(-|y_i - y_\cdot|)_j \right)^2, \qquad
        \frac{\partial L}{\partial s_i} = -\frac{1}{\lambda M} \left( \mathrm{rk}(s_i)
            - \mathrm{rk}\big(s_i + \lambda \tfrac{\partial L}{\partial (\mathrm{rk} / M)}\big) \right)

    over M samples, one drawn at random for each different label of the batch; s holds the cosines of the features,
    and rk is :func:`descending_ranks` (so ties are defined by the order of the batch). Ranks are constant almost
    everywhere; the second equation is the blackbox gradient, exact for a piecewise linear interpolation of L whose
    pieces widen with lambda.

    One label or none in the batch gives 0 with gradient 0. O(N^2 log N) time, O(N^2) memory, no loop and no wait for
    the device.

    Args:
        features: encoder features; of two views, one stacked on the other (one row per label is drawn all the same).
        labels: one per row of features, in any unit: only the order of their distances counts.
        interpolation: lambda, above 0.
        weight: gamma, 0 or more. The step of the blackbox gradient grows with it, so it stands inside.

    Shape:
        features ``[N, D]``, labels ``[N]`` -> a scalar, not differentiable twice. Half-precision features give a
        float32 loss.

    Raises:
        ValueError: shapes that do not fit, an interpolation not above 0, a negative weight.

    Example:
        >>> labels = torch.tensor([0.0, 1.0, 5.0])
        >>> angle = torch.tensor([0.0, 0.1, 1.5])
        >>> ranksim(torch.stack([angle.cos(), angle.sin()], dim=1), labels)
        tensor(0.)

    Reference:
        Gong et al., RankSim: Ranking Similarity Regularization for Deep Imbalanced Regression, ICML 2022, Sec. 3; the
        gradient is that of Vlastelica et al., Differentiation of Blackbox Combinatorial Solvers, ICLR 2020, Algorithm
        1. Departures: the published code takes the incoming gradient for the step, scaled by whatever scales the
        loss, and leaves ties to an unstable sort.
    """
    check_positive("interpolation", interpolation)
    if not weight >= 0:
        raise ValueError(f"weight must be 0 or more, got {weight}")
    features, labels = feature_rows(features, labels)
    if len(labels) < 2:
        return features.sum() * 0.0
    unit = unit_rows(features)
    # Autocast would take this product in half precision, and cosines that round to the same number tie.
    with torch.autocast(features.device.type, enabled=False):
        similarity = unit @ unit.T
    loss: Tensor = _RankLoss.apply(similarity, labels, one_per_label(labels), interpolation, weight)
    return loss


class RankSim(Regularizer):
    """Module of :func:`ranksim`. On several processes each ranks the samples of its own batch alone.

    Args:
        weight: gamma, 0 or more. Published for ages: 100.
        interpolation: lambda, above 0. Published: 2.

    Example:
        >>> features, labels = torch.randn(8, 4), torch.arange(8.0)
        >>> RankSim()(features, labels, labels).shape
        torch.Size([])
    """

    def __init__(self, weight: float = 100.0, interpolation: float = 2.0) -> None:
        super().__init__(weight)
        check_positive("interpolation", interpolation)
        self.interpolation = float(interpolation)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """The weighted loss; ``predictions`` play no part."""
        return ranksim(features, labels, self.interpolation, self.weight)
