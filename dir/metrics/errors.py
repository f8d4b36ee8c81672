"""Mean errors: absolute, squared, geometric, and absolute balanced over the label range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric, flat_pair


class MAE(RegressionMetric):
    r"""Mean absolute error, :math:`\frac{1}{n} \sum_i |\hat y_i - y_i|`; NaN without data.

    Args:
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        sum_abs_error, count: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ.

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

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        preds, target = flat_pair(preds, target)
        self.sum_abs_error = self.sum_abs_error + (preds - target).abs().sum()
        self.count = self.count + target.numel()

    def compute(self) -> Tensor:
        """Mean over everything seen since the last reset, on all ranks."""
        return self.sum_abs_error / self.count


class MSE(RegressionMetric):
    r"""Mean squared error, :math:`\frac{1}{n} \sum_i (\hat y_i - y_i)^2`; NaN without data.

    Args:
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        sum_squared_error, count: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ.

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

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        preds, target = flat_pair(preds, target)
        self.sum_squared_error = self.sum_squared_error + (preds - target).square().sum()
        self.count = self.count + target.numel()

    def compute(self) -> Tensor:
        """Mean over everything seen since the last reset, on all ranks."""
        return self.sum_squared_error / self.count


class GM(RegressionMetric):
    r"""Geometric mean of the absolute errors, :math:`(\prod_i |\hat y_i - y_i|)^{1/n}`; NaN without data.

    One exact hit would make the product 0 whatever the other errors are, so an error of exactly 0 counts as
    ``epsilon``; every other error counts as it is.

    Args:
        epsilon: what an exact hit counts as, 0 or more, in the unit of the labels. The default 1e-10 is that
            of the published STS-B-DIR numbers; 0 gives the plain geometric mean (the published age numbers).
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        sum_log_error (exact hits left out), hits, count: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, an epsilon below 0.

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
        check_epsilon(epsilon)
        self.epsilon = epsilon
        self.add_sum("sum_log_error")
        self.add_sum("hits", dtype=torch.int64)
        self.add_sum("count", dtype=torch.int64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        preds, target = flat_pair(preds, target)
        log_error, hit = log_errors((preds - target).abs())
        self.sum_log_error = self.sum_log_error + log_error.sum()
        self.hits = self.hits if hit is None else self.hits + hit.sum()
        self.count = self.count + target.numel()

    def compute(self) -> Tensor:
        """Geometric mean over everything seen since the last reset, on all ranks."""
        return geometric_mean(self.sum_log_error, self.hits, self.count, self.epsilon)


def check_epsilon(epsilon: float) -> None:
    """Raise a ValueError unless ``epsilon`` is 0 or more."""
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}")


def log_errors(error: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logarithms of absolute errors, 0 for exact hits, and a mask of the exact hits (None: there are none).

    Hits are counted apart from the logarithms, so that epsilon enters once, at the end.
    """
    if error.device.type != "cpu":
        hit = error == 0
        return error.masked_fill(hit, 1.0).log(), hit
    # NumPy's logarithm is more than twice as fast as torch's on the processor, and looking first saves a mask.
    if error.numel() and error.amin() > 0:
        return torch.from_numpy(np.log(error.numpy())), None
    hit = error == 0
    return torch.from_numpy(np.log(error.masked_fill(hit, 1.0).numpy())), hit


def geometric_mean(sum_log_error: Tensor, hits: Tensor, count: Tensor, epsilon: float) -> Tensor:
    """``exp(mean(log error))`` with exact hits as ``epsilon``; NaN where count is 0."""
    log_epsilon = math.log(epsilon) if epsilon > 0 else -math.inf
    of_hits = torch.where(hits > 0, hits.to(sum_log_error.dtype) * log_epsilon, 0.0)
    return torch.exp((sum_log_error + of_hits) / count)


class BalancedMAE(RegressionMetric):
    r"""Mean over the label bins of each bin's mean absolute error, so that rare labels count as much.

    .. math:: \frac{1}{|B|} \sum_{b \in B} \frac{1}{n_b} \sum_{i \in b} |\hat y_i - y_i|

    where B holds the bins with at least one evaluated sample; NaN if there is none.

    Args:
        bins: the label bins. Labels in none of them (out of range under "exclude", not finite) are left out.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        bin_abs_error, bin_count: [num_bins + 1], summed over batches and ranks; the last row takes labels
        that are in no bin.

    Raises:
        ValueError: shapes that differ.

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

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        flat_preds, flat_target = flat_pair(preds, target)
        index = self.bins(target.flatten())
        self.bin_abs_error = self.bin_abs_error.index_add(0, index, (flat_preds - flat_target).abs())
        self.bin_count = self.bin_count.index_add(0, index, torch.ones_like(index))

    def compute(self) -> Tensor:
        """Mean over the bins seen since the last reset, on all ranks."""
        return balanced_mean(self.bin_abs_error[:-1], self.bin_count[:-1])


def balanced_mean(bin_sums: Tensor, bin_counts: Tensor) -> Tensor:
    """Mean of the bins' means over the bins (last dimension) with data; NaN if no bin has any."""
    return (bin_sums / bin_counts.clamp_min(1)).sum(-1) / (bin_counts > 0).sum(-1)
