"""Pearson and Spearman correlation as functions, with the moments and ranks they are made of.

The functions of torchmetrics warn and work in float32. Its Spearman adds 1e-6 to the denominator, gives 0 for
constant predictions, and sums the ranks of tied labels in int32, which overflows for large data sets with
whole-number labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dir.metrics.functional._by_group import ByGroup, GroupStates
from dir.metrics.functional._inputs import flat_pair
from dir.metrics.functional._rows import row_totals

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values

# Columns of a table of moments: count, both means, both sums of squared deviations, sum of their products.
NUM_MOMENTS = 6


def pearson(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return Pearson's correlation of predictions and labels, see :class:`dir.metrics.Pearson`.

    Args:
        preds: predictions.
        target: labels.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a float64
        scalar; NaN with fewer than two samples, and for constant predictions or labels.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> round(pearson([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0]).item(), 4)
        0.9849
    """
    return pearson_from_moments(moments(*flat_pair(preds, target, ignore_nan)))


def spearman(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return Spearman's correlation: Pearson's correlation of the ranks, where ties share their mean rank.

    Args, shapes and errors: see :func:`pearson`. NaN if a prediction or a label is NaN.

    Example:
        >>> round(spearman([1.0, 2.0, 9.0], [10.0, 20.0, 30.0]).item(), 4)
        1.0
    """
    preds, target = flat_pair(preds, target, ignore_nan)
    everyone = torch.ones_like(preds, dtype=torch.bool)
    return spearman_among(everyone, preds, target, ascending(preds), ascending(target))


def moments(preds: Tensor, target: Tensor) -> Tensor:
    """Return the moments of two flat tensors, ``[NUM_MOMENTS]``; zeros without data."""
    count = preds.new_full((), preds.numel())

    def mean_of(values: Tensor) -> Tensor:
        # The distances to the first value are small where the values are large, and exactly 0 for constant values.
        first = values[:1].sum()
        return first + (values - first).sum() / count.clamp_min(1)

    mean_p, mean_t = mean_of(preds), mean_of(target)
    dev_p, dev_t = preds - mean_p, target - mean_t
    return torch.stack([count, mean_p, mean_t, dev_p @ dev_p, dev_t @ dev_t, dev_p @ dev_t])


def binned_moments(preds: Tensor, target: Tensor, index: Tensor, num_rows: int) -> Tensor:
    """Return the moments of the samples of each row, ``[num_rows, NUM_MOMENTS]``.

    Args:
        preds, target: samples, ``[N]`` each.
        index: row of each sample, int64 ``[N]``.
        num_rows: number of rows.
    """

    def total(values: Tensor) -> Tensor:
        return row_totals(index, num_rows, values)

    count = row_totals(index, num_rows).to(preds.dtype)

    def mean_of(values: Tensor) -> Tensor:  # of each row, about the lowest value of the row
        lowest = values.new_zeros(num_rows).scatter_reduce_(0, index, values, "amin", include_self=False)
        return lowest + total(values - lowest.index_select(0, index)) / count.clamp_min(1)

    mean_p, mean_t = mean_of(preds), mean_of(target)
    dev_p, dev_t = preds - mean_p.index_select(0, index), target - mean_t.index_select(0, index)
    product = total(dev_p * dev_t)
    return torch.stack([count, mean_p, mean_t, total(dev_p.square_()), total(dev_t.square_()), product], dim=-1)


def merge_moments(parts: Tensor) -> Tensor:
    """Return the moments of a whole from those of its parts, ``[parts, ..., NUM_MOMENTS] -> [..., NUM_MOMENTS]``.

    Deviations are moved to the common mean (Chan et al.), so that nothing cancels when means are large.
    """
    count = parts[..., 0].sum(0)
    share = parts[..., 0] / count.clamp_min(1)
    empty = parts[..., 0] == 0

    def mean_of(means: Tensor) -> Tensor:  # about the lowest mean, so that parts of one mean keep exactly this mean
        lowest = means.masked_fill(empty, torch.inf).amin(0).masked_fill(count == 0, 0.0)
        return lowest + (share * (means - lowest).masked_fill(empty, 0.0)).sum(0)

    mean_p, mean_t = mean_of(parts[..., 1]), mean_of(parts[..., 2])
    off_p, off_t = parts[..., 1] - mean_p, parts[..., 2] - mean_t
    between = parts[..., :1] * torch.stack([off_p.square(), off_t.square(), off_p * off_t], dim=-1)
    return torch.cat([torch.stack([count, mean_p, mean_t], dim=-1), (parts[..., 3:] + between).sum(0)], -1)


def pearson_from_moments(table: Tensor) -> Tensor:
    """Return the correlation of a row of moments; NaN if one side does not vary beyond rounding."""
    count, mean_p, mean_t, square_p, square_t, product = table.unbind(-1)
    # Constant values have deviations of exactly 0. A relative deviation below this limit is rounding of the values
    # themselves; labels of mean 1e9 and spread 1 have 1e-9.
    rounding = 1e-13 if table.dtype == torch.float64 else 1e-6
    flat = (square_p <= count * (rounding * mean_p) ** 2) | (square_t <= count * (rounding * mean_t) ** 2)
    # Two roots, because the product of two tiny sums would underflow.
    correlation = (product / square_p.sqrt() / square_t.sqrt()).clamp(-1.0, 1.0)
    return correlation.masked_fill(flat, torch.nan)


def spearman_among(
    member: Tensor, preds: Tensor, target: Tensor, order_preds: Tensor, order_target: Tensor
) -> Tensor:
    """Return Spearman's correlation of the samples in the mask ``member``.

    Args:
        member: mask of the samples, bool ``[N]``.
        preds, target: all samples, ``[N]`` each.
        order_preds, order_target: :func:`ascending` of all samples.
    """
    ranks_p, ranks_t = average_ranks(preds, order_preds, member), average_ranks(target, order_target, member)
    count = member.sum()
    middle = (count + 1) / 2
    dev_p, dev_t = (torch.where(member, ranks - middle, 0) for ranks in (ranks_p, ranks_t))
    correlation = (dev_p @ dev_t / (dev_p @ dev_p).sqrt() / (dev_t @ dev_t).sqrt()).clamp(-1.0, 1.0)
    invalid = (member & (preds.isnan() | target.isnan())).any()
    return correlation.masked_fill(invalid, torch.nan)


def ascending(values: Tensor) -> Tensor:
    """Return the order that sorts the values."""
    # On the CPU, NumPy's vectorised sort is several times faster than torch's.
    return torch.from_numpy(np.argsort(values.numpy())) if values.device.type == "cpu" else values.argsort()


def average_ranks(values: Tensor, order: Tensor, member: Tensor) -> Tensor:
    """Return the ranks from 1 among the members, where equal values share their mean rank; 0 for the others."""
    chosen = order[member.index_select(0, order)]
    ordered = values.index_select(0, chosen)
    _, run, length = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    length = length.to(values.dtype)
    rank = length.cumsum(0) - (length - 1) / 2
    return torch.zeros_like(values).scatter_(0, chosen, rank.index_select(0, run))


def _pearson_of_groups(states: GroupStates) -> Tensor:
    assert states.moments is not None
    return pearson_from_moments(merge_moments(states.moments))


def _spearman_of_groups(states: GroupStates) -> Tensor:
    preds, target = states.samples()
    orders = ascending(preds), ascending(target)  # sorted once for all groups
    return torch.stack([spearman_among(mask, preds, target, *orders) for mask in states.sample_masks()])


BY_GROUP = {
    "pearson": ByGroup(("moments",), _pearson_of_groups),
    "spearman": ByGroup(("samples",), _spearman_of_groups),
}
