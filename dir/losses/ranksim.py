"""RankSim: a regulariser that ranks neighbours by feature in the same order as by label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir._checks import check_not_negative, check_positive
from dir.losses.base import Regularizer, labelled_rows, nan_unless_finite
from dir.losses.feature_rows import feature_rows, unit_rows


def descending_ranks(values: Tensor) -> Tensor:
    """Return the rank of each value within its row, 1 for the largest; the rightmost of equal values ranks first.

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
    """Return a mask that keeps one row of each different label, drawn by the device's global generator.

    The shape does not depend on the number of different labels, so that no step waits for the device.

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
    """Rank loss of a similarity matrix, with the blackbox gradient.

    ``forward`` computes the gradient, because its perturbation is a step in units of the loss. In ``backward``, the
    factor of a gradient scaler or of gradient accumulation would change the length of that step.
    """

    @staticmethod
    def forward(
        ctx: Any, similarity: Tensor, labels: Tensor, kept: Tensor, interpolation: float, weight: float
    ) -> Tensor:
        pairs = kept[:, None] & kept[None, :]
        count = kept.sum().to(similarity.dtype).clamp(min=1)
        # Rows that are left out rank last in every row.
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
    r"""Return the squared difference between the ranks of neighbours by label and by feature, summed over the
    anchors.

    .. math::
        L = \gamma \sum_i \frac{1}{M} \sum_j \left(
            \tfrac{1}{M} \mathrm{rk}(s_i)_j - \tfrac{1}{M} \mathrm{rk}(-|y_i - y_\cdot|)_j \right)^2, \qquad
        \frac{\partial L}{\partial s_i} = -\frac{1}{\lambda M} \left( \mathrm{rk}(s_i)
            - \mathrm{rk}\big(s_i + \lambda \tfrac{\partial L}{\partial (\mathrm{rk} / M)}\big) \right)

    over M samples, one drawn at random for each different label of the batch; s holds the cosines of the features,
    and rk is :func:`descending_ranks` (so the order of the batch breaks ties). Ranks are constant almost everywhere;
    the second equation is the blackbox gradient, which is exact for a piecewise linear interpolation of L. Its pieces
    widen with lambda.

    A batch with fewer than two different labels gives 0 with gradient 0. O(N^2 log N) time and O(N^2) memory, without
    a loop and without waiting for the device.

    Args:
        features: encoder features. Two views are stacked; one row per label is drawn in this case as well.
        labels: one label per row of features, in any unit: only the order of their distances counts.
        interpolation: lambda, above 0.
        weight: gamma, >= 0. An argument of the function, because the step of the blackbox gradient grows with it.

    Shape:
        features ``[N, D]``, labels ``[N]`` -> a scalar, not differentiable twice; NaN if a label or a feature is
        not finite. Half-precision features give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, an interpolation not above 0, or a negative weight.

    Example:
        >>> labels = torch.tensor([0.0, 1.0, 5.0])
        >>> angle = torch.tensor([0.0, 0.1, 1.5])
        >>> ranksim(torch.stack([angle.cos(), angle.sin()], dim=1), labels)
        tensor(0.)

    Reference:
        Gong et al., RankSim: Ranking Similarity Regularization for Deep Imbalanced Regression, ICML 2022, Sec. 3; the
        gradient is that of Vlastelica et al., Differentiation of Blackbox Combinatorial Solvers, ICLR 2020, Algorithm
        1. Departures: the published code uses the incoming gradient as the step, so that a scaled loss changes the
        step, and leaves ties to an unstable sort.
    """
    check_positive("interpolation", interpolation)
    check_not_negative("weight", weight)
    features, labels = feature_rows(features, labels)
    if len(labels) < 2:
        return nan_unless_finite(features.sum() * 0.0, labels)
    unit = unit_rows(features)
    # Autocast would compute this product in half precision, where cosines round to equal numbers.
    with torch.autocast(features.device.type, enabled=False):
        similarity = unit @ unit.T
    loss: Tensor = _RankLoss.apply(similarity, labels, one_per_label(labels), interpolation, weight)
    # Ranks of NaN are finite numbers.
    return nan_unless_finite(loss, labels, features)


class RankSim(Regularizer):
    """Module of :func:`ranksim`. On several ranks, each rank orders the samples of its own batch.

    Args:
        weight: gamma, >= 0. Published for ages: 100.
        interpolation: lambda, above 0. Published: 2.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Example:
        >>> features, labels = torch.randn(8, 4), torch.arange(8.0)
        >>> RankSim()(features, labels, labels).shape
        torch.Size([])
    """

    def __init__(self, weight: float = 100.0, interpolation: float = 2.0, ignore_nan: bool = False) -> None:
        super().__init__(weight, ignore_nan)
        check_positive("interpolation", interpolation)
        self.interpolation = float(interpolation)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """Return the weighted loss; ``predictions`` are ignored."""
        if self.ignore_nan:
            labels, features, predictions = labelled_rows(labels, features, predictions)
        return ranksim(features, labels, self.interpolation, self.weight)
