"""A user's cost as a training loss with one weight per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from dir._checks import message
from dir.costs import Cost, CostName, as_cost
from dir.losses.base import Reduction, WeightedLoss, checked_pair, reduce


def cost_loss(
    pred: Tensor,
    target: Tensor,
    cost: Cost | CostName,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_nan: bool = False,
) -> Tensor:
    r"""Return the cost of each prediction times the importance of its sample.

    .. math:: \ell_i = w_i \, c(\hat y_i, y_i)

    Args:
        pred: predictions.
        target: labels, of pred's shape.
        cost: ``"mse"``, ``"mae"``, a cost of :mod:`dir.costs`, or a differentiable function of both tensors.
        weight: weight or importance of each sample, of pred's shape; None means 1.
        reduction: "mean" is ``(weight * cost).mean()``; "sum"; "none" returns one value per element.
        ignore_nan: ignore NaN labels (value and gradient 0, not counted in the mean). Default: a NaN label gives NaN.

    Shape:
        pred, target, weight: the same shape, [N], [N, 1] or dense maps. Output: a scalar, or pred's shape for "none".

    Raises:
        ValueError: shapes that differ, several targets, an unknown name or reduction, or a cost of another shape.

    Example:
        >>> from dir.costs import LinearCost
        >>> cost_loss(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]), LinearCost(under=5.0, over=1.0))
        tensor(3.5000)

    Reference:
        Koenker and Bassett, Regression Quantiles, Econometrica 1978, for :class:`dir.costs.LinearCost`.
    """
    pred, target, kept = checked_pair(pred, target, weight, ignore_nan)
    costs = as_cost(cost)(pred, target)
    if costs.shape != pred.shape:
        raise ValueError(
            message("cost", f"expected one cost per element, shape {list(pred.shape)}", list(costs.shape))
        )
    # A cost that compares its arguments gives a finite value for a NaN label.
    if kept is None:
        costs = costs * torch.where(target.isnan(), torch.nan, 1.0)
    return reduce(costs, weight, reduction, kept)


class CostLoss(WeightedLoss):
    """Module of :func:`cost_loss`: train for the cost that wrong predictions have.

    Args:
        cost: ``"mse"`` (default), ``"mae"``, a cost of :mod:`dir.costs`, or a differentiable function of two tensors.
        reduction: "mean", "sum" or "none".
        ignore_nan: ignore NaN labels, such as the holes of a dense map.

    Example:
        >>> from dir.costs import LinearCost
        >>> CostLoss(LinearCost(under=5.0))(torch.tensor([1.0]), torch.tensor([2.0]), weight=torch.tensor([2.0]))
        tensor(10.)
    """

    def __init__(
        self, cost: Cost | CostName = "mse", reduction: Reduction = "mean", ignore_nan: bool = False
    ) -> None:
        super().__init__(reduction, ignore_nan)
        self.cost = as_cost(cost)

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`cost_loss`."""
        return cost_loss(pred, target, self.cost, weight, self.reduction, self.ignore_nan)
