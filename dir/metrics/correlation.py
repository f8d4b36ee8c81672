"""Pearson and Spearman correlation that are exact over batches and ranks, and NaN where undefined.

torchmetrics' own warn and work in float32, and its Spearman adds 1e-6 to the denominator, gives 0 for
constant predictions and sums the ranks of tied labels in int32, which overflows for large data sets with
whole-number labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dir.metrics.base import RegressionMetric, all_seen, flat_pair, row_totals

# Columns of a table of moments: count, both means, both sums of squared deviations, sum of their products.
NUM_MOMENTS = 6


def moments(preds: Tensor, target: Tensor) -> Tensor:
    """Moments of two flat tensors, ``[NUM_MOMENTS]``; zeros without data."""
    count = preds.new_full((), preds.numel())
    mean_p, mean_t = preds.sum() / count.clamp_min(1), target.sum() / count.clamp_min(1)
    dev_p, dev_t = preds - mean_p, target - mean_t
    return torch.stack([count, mean_p, mean_t, dev_p @ dev_p, dev_t @ dev_t, dev_p @ dev_t])


def binned_moments(preds: Tensor, target: Tensor, index: Tensor, num_rows: int) -> Tensor:
    """Moments of the samples of every row, ``[num_rows, NUM_MOMENTS]``; ``index`` gives each sample's row."""

    def total(values: Tensor) -> Tensor:
        return row_totals(index, num_rows, values)

    count = row_totals(index, num_rows).to(preds.dtype)
    mean_p, mean_t = total(preds) / count.clamp_min(1), total(target) / count.clamp_min(1)
    dev_p, dev_t = preds - mean_p.index_select(0, index), target - mean_t.index_select(0, index)
    product = total(dev_p * dev_t)
    return torch.stack([count, mean_p, mean_t, total(dev_p.square_()), total(dev_t.square_()), product], dim=-1)


def merge_moments(parts: Tensor) -> Tensor:
    """Moments of a whole from those of its parts, ``[parts, ..., NUM_MOMENTS] -> [..., NUM_MOMENTS]``.

    Deviations are moved to the common mean (Chan et al.), so that nothing cancels when means are large.
    """
    count = parts[..., 0].sum(0)
    share = parts[..., 0] / count.clamp_min(1)
    mean_p, mean_t = (share * parts[..., 1]).sum(0), (share * parts[..., 2]).sum(0)
    off_p, off_t = parts[..., 1] - mean_p, parts[..., 2] - mean_t
    between = parts[..., :1] * torch.stack([off_p.square(), off_t.square(), off_p * off_t], dim=-1)
    return torch.cat([torch.stack([count, mean_p, mean_t], dim=-1), (parts[..., 3:] + between).sum(0)], -1)


def pearson(table: Tensor) -> Tensor:
    """Correlation from a row of moments; NaN if one side does not vary beyond rounding."""
    count, mean_p, mean_t, square_p, square_t, product = table.unbind(-1)
    # By how much of itself the mean of millions of equal values may be off; no float32 data varies less.
    rounding = 1e-9 if table.dtype == torch.float64 else 1e-5
    flat = (square_p <= count * (rounding * mean_p) ** 2) | (square_t <= count * (rounding * mean_t) ** 2)
    # Two roots, because the product of two tiny sums would underflow.
    correlation = (product / square_p.sqrt() / square_t.sqrt()).clamp(-1.0, 1.0)
    return correlation.masked_fill(flat, torch.nan)


def spearman(preds: Tensor, target: Tensor) -> Tensor:
    """Correlation of the ranks of two flat tensors; NaN for constants, under two samples, or NaN among them."""
    everyone = torch.ones_like(preds, dtype=torch.bool)
    return spearman_among(everyone, preds, target, ascending(preds), ascending(target))


def spearman_among(
    member: Tensor, preds: Tensor, target: Tensor, order_preds: Tensor, order_target: Tensor
) -> Tensor:
    """:func:`spearman` of the samples that ``member`` (bool) marks, given what sorts all of them."""
    ranks_p, ranks_t = average_ranks(preds, order_preds, member), average_ranks(target, order_target, member)
    count = member.sum()
    middle = (count + 1) / 2
    dev_p, dev_t = (torch.where(member, ranks - middle, 0) for ranks in (ranks_p, ranks_t))
    correlation = (dev_p @ dev_t / (dev_p @ dev_p).sqrt() / (dev_t @ dev_t).sqrt()).clamp(-1.0, 1.0)
    invalid = (member & (preds.isnan() | target.isnan())).any()
    return correlation.masked_fill(invalid, torch.nan)


def ascending(values: Tensor) -> Tensor:
    """The order that sorts the values."""
    # NumPy's vectorised sort is several times faster than torch's on the processor.
    return torch.from_numpy(np.argsort(values.numpy())) if values.device.type == "cpu" else values.argsort()


def average_ranks(values: Tensor, order: Tensor, member: Tensor) -> Tensor:
    """Ranks from 1 among the members, in the order given; equal values share the mean of their ranks."""
    chosen = order[member.index_select(0, order)]
    ordered = values.index_select(0, chosen)
    _, run, length = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    length = length.to(values.dtype)
    rank = length.cumsum(0) - (length - 1) / 2
    return torch.zeros_like(values).scatter_(0, chosen, rank.index_select(0, run))


class Pearson(RegressionMetric):
    r"""Pearson's correlation of predictions and labels.

    .. math:: r = \frac{\sum_i (\hat y_i - \bar{\hat y})(y_i - \bar y)}
        {\sqrt{\sum_i (\hat y_i - \bar{\hat y})^2 \sum_i (y_i - \bar y)^2}}

    NaN, without a warning, where it is undefined: fewer than two samples, constant predictions or labels.

    Args:
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        moments: [6], count, means and centred sums; merged over batches and ranks, which need not be even.

    Raises:
        ValueError: shapes that differ.

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

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        self.moments = merge_moments(torch.stack([self.moments, moments(*flat_pair(preds, target))]))

    def compute(self) -> Tensor:
        """Correlation over everything seen since the last reset, on all ranks."""
        return pearson(self.moments)


class Spearman(RegressionMetric):
    r"""Spearman's correlation: Pearson's correlation of the ranks, where ties share their mean rank.

    NaN, without a warning, where it is undefined: fewer than two samples, constant predictions or labels.

    Args:
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        preds, target: everything seen, 16 bytes per sample; gathered from all ranks by ``compute()``.

    Raises:
        ValueError: shapes that differ.

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

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        flat_preds, flat_target = flat_pair(preds, target)
        self.preds.append(flat_preds)
        self.target.append(flat_target)

    def compute(self) -> Tensor:
        """Correlation over everything seen since the last reset, on all ranks."""
        return spearman(all_seen(self.preds, self.device), all_seen(self.target, self.device))
