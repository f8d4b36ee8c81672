"""Mean cost of predictions as a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dir._checks import check_same_shape, message
from dir.costs import Cost, CostName, as_cost
from dir.metrics.functional._inputs import as_tensor, checked_pair, flatten, sum_dtype

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


def mean_cost(
    preds: Values,
    target: Values,
    cost: Cost | CostName,
    importance: Values | None = None,
    ignore_nan: bool = False,
) -> Tensor:
    """Return the mean cost of the predictions, weighted by importance, see :class:`dir.metrics.MeanCost`.

    Args:
        preds: predictions.
        target: labels.
        cost: ``"mse"``, ``"mae"``, a cost of :mod:`dir.costs`, or a function of predictions and labels.
        importance: importance of each sample, >= 0, of the labels' shape. Default: all samples count equally.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, target, importance: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists.
        Output: a float64 scalar, NaN without samples.

    Raises:
        ValueError: shapes that differ, several targets, or an importance that is negative or not finite.

    Example:
        >>> from dir.costs import LinearCost
        >>> mean_cost([8.0, 12.0], [10.0, 10.0], LinearCost(under=5.0, over=1.0), importance=[1.0, 3.0]).item()
        4.0
    """
    total, mass = cost_sums(preds, target, as_cost(cost), importance, ignore_nan)
    return total / mass


def cost_sums(
    preds: Values,
    target: Values,
    cost: Cost,
    importance: Values | None,
    ignore_nan: bool,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the summed cost times importance, and the summed importance."""
    preds, target = checked_pair(preds, target, device=device)
    if importance is None:
        factor = torch.ones(target.numel(), dtype=sum_dtype(target.device), device=target.device)
    else:
        given = as_tensor("importance", importance, target.device)
        check_same_shape("importance", given, "target", target, "Give one importance per sample.")
        factor = given.flatten().to(target.device, sum_dtype(target.device))
        wrong = ~(factor.isfinite() & (factor >= 0))
        if bool(wrong.any()):
            problem = f"expected finite numbers >= 0, {int(wrong.sum())} of {len(factor)} are not"
            raise ValueError(message("importance", problem, factor[wrong][0].item()))
    holes = target.flatten().isnan()
    preds, target = flatten(preds, target)
    if ignore_nan:
        preds, target, factor = preds[~holes], target[~holes], factor[~holes]
        holes = holes[~holes]
    # A cost that compares its arguments gives a finite value for a NaN label.
    costs = torch.where(holes, torch.nan, cost(preds, target).to(factor.dtype))
    if costs.shape != target.shape:
        raise ValueError(message("cost", f"expected one cost per sample, {list(target.shape)}", list(costs.shape)))
    return (costs * factor).sum(), factor.sum()
