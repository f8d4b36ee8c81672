"""Mean errors as metrics: absolute, squared, geometric, and absolute balanced over the label bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dir._checks import check_not_negative
from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric
from dir.metrics.functional._inputs import flatten
from dir.metrics.functional.errors import (
    absolute_error,
    add_binned_errors,
    balanced_mean,
    log_errors,
    mean_from_logs,
    squared_error,
)

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class MAE(RegressionMetric):
    r"""Mean absolute error, :math:`\frac{1}{n} \sum_i |\hat y_i - y_i|`; NaN without data.

    Args:
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        sum_abs_error, count: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> metric = MAE()
        >>> metric.update(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
        >>> metric.compute().item()
        1.5
    """

    sum_abs_error: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_sum("sum_abs_error")
        self.add_sum("count", dtype=torch.int64)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        error = absolute_error(*flatten(*self.inputs(preds, target)))
        self.sum_abs_error = self.sum_abs_error + error.sum()
        self.count = self.count + error.numel()

    def compute(self) -> Tensor:
        """Return the mean over all batches since the last reset, on all ranks."""
        return self.sum_abs_error / self.count


class MSE(RegressionMetric):
    r"""Mean squared error, :math:`\frac{1}{n} \sum_i (\hat y_i - y_i)^2`; NaN without data.

    Args:
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        sum_squared_error, count: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> metric = MSE()
        >>> metric.update(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
        >>> metric.compute().item()
        2.5
    """

    sum_squared_error: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_sum("sum_squared_error")
        self.add_sum("count", dtype=torch.int64)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        error = squared_error(*flatten(*self.inputs(preds, target)))
        self.sum_squared_error = self.sum_squared_error + error.sum()
        self.count = self.count + error.numel()

    def compute(self) -> Tensor:
        """Return the mean over all batches since the last reset, on all ranks."""
        return self.sum_squared_error / self.count


class GM(RegressionMetric):
    r"""Geometric mean of the absolute errors, :math:`(\prod_i |\hat y_i - y_i|)^{1/n}`; NaN without data.

    A single error of exactly 0 would make the product 0, so ``epsilon`` replaces such errors. All other errors count
    as they are.

    Args:
        epsilon: value that replaces an error of exactly 0, >= 0, in the unit of the labels. The default 1e-10 is the
            one of the published STS-B-DIR numbers; 0 gives the plain geometric mean (the published age numbers).
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        sum_log_error (without exact hits), hits, count: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, several targets, or a negative epsilon.

    Example:
        >>> metric = GM()
        >>> metric.update(torch.tensor([1.0, 6.0]), torch.tensor([2.0, 2.0]))
        >>> round(metric.compute().item(), 6)
        2.0

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021.
    """

    sum_log_error: Tensor
    hits: Tensor
    count: Tensor

    def __init__(self, epsilon: float = 1e-10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_not_negative("epsilon", epsilon)
        self.epsilon = epsilon
        self.add_sum("sum_log_error")
        self.add_sum("hits", dtype=torch.int64)
        self.add_sum("count", dtype=torch.int64)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        error = absolute_error(*flatten(*self.inputs(preds, target)))
        log_error, hit = log_errors(error)
        self.sum_log_error = self.sum_log_error + log_error.sum()
        self.hits = self.hits if hit is None else self.hits + hit.sum()
        self.count = self.count + error.numel()

    def compute(self) -> Tensor:
        """Return the geometric mean over all batches since the last reset, on all ranks."""
        return mean_from_logs(self.sum_log_error, self.hits, self.count, self.epsilon)


class BalancedMAE(RegressionMetric):
    r"""Mean over the label bins of each bin's mean absolute error, so that rare labels count as much as frequent
    ones.

    .. math:: \frac{1}{|B|} \sum_{b \in B} \frac{1}{n_b} \sum_{i \in b} |\hat y_i - y_i|

    where B holds the bins with at least one evaluated sample; NaN if there is none.

    Args:
        bins: label bins. Labels in no bin (out of range under "exclude", or not finite) are left out.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        bin_abs_error, bin_count: [num_bins + 1], summed over batches and ranks. The last row holds the labels in no
        bin.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> metric = BalancedMAE(LabelBins.integers(0, 1))
        >>> metric.update(torch.tensor([0.0, 0.0, 0.0, 5.0]), torch.tensor([0.0, 0.0, 0.0, 1.0]))
        >>> metric.compute().item()
        2.0

    Reference:
        Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022 (bMAE).
    """

    bin_abs_error: Tensor
    bin_count: Tensor

    def __init__(self, bins: LabelBins, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.add_sum("bin_abs_error", (bins.num_bins + 1,))
        self.add_sum("bin_count", (bins.num_bins + 1,), dtype=torch.int64)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        batch = self.inputs(preds, target)
        self.bin_abs_error, self.bin_count = add_binned_errors(self.bin_abs_error, self.bin_count, *batch, self.bins)

    def compute(self) -> Tensor:
        """Return the mean over the bins seen since the last reset, on all ranks."""
        return balanced_mean(self.bin_abs_error[:-1], self.bin_count[:-1])
