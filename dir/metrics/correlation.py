"""Pearson and Spearman correlation that are exact over batches and ranks, and NaN where undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dir.metrics.base import RegressionMetric, all_seen
from dir.metrics.functional._inputs import flatten
from dir.metrics.functional.correlation import (
    NUM_MOMENTS,
    merge_moments,
    moments,
    pearson_from_moments,
    spearman,
)

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class Pearson(RegressionMetric):
    r"""Pearson's correlation of predictions and labels.

    .. math:: r = \frac{\sum_i (\hat y_i - \bar{\hat y})(y_i - \bar y)}
        {\sqrt{\sum_i (\hat y_i - \bar{\hat y})^2 \sum_i (y_i - \bar y)^2}}

    NaN, without a warning, where it is undefined: fewer than two samples, constant predictions or labels.

    Args:
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        moments: [6], count, means and centred sums; merged over batches and ranks, which may be uneven.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> metric = Pearson()
        >>> metric.update(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
        >>> round(metric.compute().item(), 4)
        0.9849
    """

    higher_is_better = True
    moments: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(NUM_MOMENTS, dtype=torch.float64)
        self.add_state("moments", zeros, dist_reduce_fx=merge_moments)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        batch = moments(*flatten(*self.inputs(preds, target)))
        self.moments = merge_moments(torch.stack([self.moments, batch]))

    def compute(self) -> Tensor:
        """Return the correlation over all batches since the last reset, on all ranks."""
        return pearson_from_moments(self.moments)


class Spearman(RegressionMetric):
    r"""Spearman's correlation: Pearson's correlation of the ranks, where ties share their mean rank.

    NaN, without a warning, where it is undefined: fewer than two samples, constant predictions or labels.

    Args:
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        preds, target: all samples, 16 bytes per sample; ``compute()`` gathers them from all ranks.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> metric = Spearman()
        >>> metric.update(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([10.0, 20.0, 30.0]))
        >>> round(metric.compute().item(), 4)
        1.0
    """

    higher_is_better = True
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        flat_preds, flat_target = flatten(*self.inputs(preds, target))
        self.preds.append(flat_preds)
        self.target.append(flat_target)

    def compute(self) -> Tensor:
        """Return the correlation over all batches since the last reset, on all ranks."""
        return spearman(all_seen(self.preds, self.device), all_seen(self.target, self.device))
