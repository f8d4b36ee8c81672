"""Mean cost of predictions as a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from dir.costs import Cost, CostName, as_cost
from dir.metrics.base import RegressionMetric
from dir.metrics.functional.cost import cost_sums

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class MeanCost(RegressionMetric):
    r"""Mean cost of the predictions in the user's units (money, hours), weighted by importance; NaN without data.

    .. math:: \sum_i w_i\, c(\hat y_i, y_i) \Big/ \sum_i w_i

    Args:
        cost: ``"mse"``, ``"mae"``, a cost of :mod:`dir.costs`, or a function of predictions and labels.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target and the optional importance w: the same shape, [N], [N, 1] or dense maps; tensors, arrays,
        Series or lists. ``compute()``: a float64 scalar.

    State:
        sum_cost, sum_importance: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, several targets, an unknown name of a cost, or an importance that is negative
            or not finite.

    Example:
        >>> from dir.costs import LinearCost
        >>> metric = MeanCost(LinearCost(under=5.0, over=1.0))
        >>> metric.update([8.0, 12.0], [10.0, 10.0], importance=[1.0, 3.0])
        >>> metric.compute().item()
        4.0
    """

    sum_cost: Tensor
    sum_importance: Tensor

    def __init__(self, cost: Cost | CostName = "mae", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cost = as_cost(cost)
        self.add_sum("sum_cost")
        self.add_sum("sum_importance")

    def update(self, preds: Values, target: Values, importance: Values | None = None) -> None:
        """Add a batch."""
        total, mass = cost_sums(preds, target, self.cost, importance, self.ignore_nan, self.device)
        self.sum_cost = self.sum_cost + total
        self.sum_importance = self.sum_importance + mass

    def compute(self) -> Tensor:
        """Return the mean over all batches since the last reset, on all ranks."""
        return self.sum_cost / self.sum_importance
