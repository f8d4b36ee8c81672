"""Mean errors as functions: absolute, squared, geometric, and absolute balanced over the label bins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dir._checks import check_not_negative
from dir.metrics.functional._by_group import ByGroup
from dir.metrics.functional._inputs import checked_pair, flat_pair, flatten, sum_dtype

if TYPE_CHECKING:
    from dir.bins import LabelBins
    from dir.metrics.functional._inputs import Values


def mae(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean absolute error, :math:`\frac{1}{n} \sum_i |\hat y_i - y_i|`.

    Args:
        preds: predictions.
        target: labels.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a float64
        scalar, NaN without samples.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> mae([1.0, 4.0], [2.0, 2.0]).item()
        1.5
    """
    preds, target = flat_pair(preds, target, ignore_nan)
    return absolute_error(preds, target).sum() / target.numel()


def mse(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean squared error, :math:`\frac{1}{n} \sum_i (\hat y_i - y_i)^2`.

    Args, shapes and errors: see :func:`mae`.

    Example:
        >>> mse([1.0, 4.0], [2.0, 2.0]).item()
        2.5
    """
    preds, target = flat_pair(preds, target, ignore_nan)
    return squared_error(preds, target).sum() / target.numel()


def rmse(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return the root of the mean squared error, :math:`\sqrt{\frac{1}{n} \sum_i (\hat y_i - y_i)^2}`.

    Args, shapes and errors: see :func:`mae`.

    Example:
        >>> rmse([1.0, 4.0, 2.0, 2.0], [2.0, 2.0, 2.0, 4.0]).item()
        1.5
    """
    return mse(preds, target, ignore_nan).sqrt()


def geometric_mean(preds: Values, target: Values, epsilon: float = 1e-10, ignore_nan: bool = False) -> Tensor:
    r"""Return the geometric mean of the absolute errors, :math:`(\prod_i |\hat y_i - y_i|)^{1/n}`.

    Args:
        preds: predictions.
        target: labels.
        epsilon: value that replaces an error of exactly 0, see :class:`dir.metrics.GM`. Default 1e-10.
        ignore_nan: leave out the samples whose label is NaN.

    Shape and errors: see :func:`mae`. A negative epsilon is a ValueError.

    Example:
        >>> round(geometric_mean([1.0, 6.0], [2.0, 2.0]).item(), 6)
        2.0
    """
    check_not_negative("epsilon", epsilon)
    preds, target = flat_pair(preds, target, ignore_nan)
    log_error, hit = log_errors(absolute_error(preds, target))
    hits = torch.zeros((), dtype=torch.int64, device=target.device) if hit is None else hit.sum()
    return mean_from_logs(log_error.sum(), hits, hits.new_full((), target.numel()), epsilon)


def balanced_mae(preds: Values, target: Values, bins: LabelBins, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean over the label bins of each bin's mean absolute error.

    Args:
        preds: predictions.
        target: labels. Labels in no bin (out of range under "exclude", or not finite) are left out.
        bins: label bins.
        ignore_nan: leave out the samples whose label is NaN.

    Shape and errors: see :func:`mae`.

    Example:
        >>> from dir.bins import LabelBins
        >>> balanced_mae([0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0, 1.0], LabelBins.integers(0, 1)).item()
        2.0
    """
    preds, target = checked_pair(preds, target, ignore_nan)
    sums, counts = add_binned_errors(*empty_bins(bins, target.device), preds, target, bins)
    return balanced_mean(sums[:-1], counts[:-1])


def absolute_error(preds: Tensor, target: Tensor) -> Tensor:
    """Return the absolute error of each sample."""
    return (preds - target).abs()


def squared_error(preds: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of each sample."""
    return (preds - target).square()


def log_errors(error: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the logarithms of absolute errors, 0 for exact hits, and a mask of the exact hits (None without any).

    Hits are counted apart from the logarithms, so that epsilon is applied once, in :func:`mean_from_logs`.
    """
    if error.device.type != "cpu":
        hit = error == 0
        return error.masked_fill(hit, 1.0).log(), hit
    # On the CPU, NumPy's logarithm takes less than half the time of torch's. The check of the minimum saves a mask.
    if error.numel() and error.amin() > 0:
        return torch.from_numpy(np.log(error.numpy())), None
    hit = error == 0
    return torch.from_numpy(np.log(error.masked_fill(hit, 1.0).numpy())), hit


def mean_from_logs(sum_log_error: Tensor, hits: Tensor, count: Tensor, epsilon: float) -> Tensor:
    """Return ``exp(mean(log error))`` with exact hits counted as ``epsilon``; NaN where ``count`` is 0."""
    log_epsilon = math.log(epsilon) if epsilon > 0 else -math.inf
    of_hits = torch.where(hits > 0, hits.to(sum_log_error.dtype) * log_epsilon, 0.0)
    return torch.exp((sum_log_error + of_hits) / count)


def empty_bins(bins: LabelBins, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the sums of :func:`add_binned_errors` before the first batch."""
    sums = torch.zeros(bins.num_bins + 1, dtype=sum_dtype(device), device=device)
    return sums, torch.zeros_like(sums, dtype=torch.int64)


def add_binned_errors(
    sums: Tensor, counts: Tensor, preds: Tensor, target: Tensor, bins: LabelBins
) -> tuple[Tensor, Tensor]:
    """Return the sums of the absolute errors and the counts of each bin with a batch added, ``[num_bins + 1]`` each.

    The last row belongs to the labels in no bin.
    """
    index = bins(target.flatten())
    error = absolute_error(*flatten(preds, target))
    return sums.index_add(0, index, error), counts.index_add(0, index, torch.ones_like(index))


def balanced_mean(bin_sums: Tensor, bin_counts: Tensor) -> Tensor:
    """Return the mean of the bins' means over the bins (last dimension) with data; NaN if no bin has any."""
    return (bin_sums / bin_counts.clamp_min(1)).sum(-1) / (bin_counts > 0).sum(-1)


BY_GROUP = {
    "mae": ByGroup(("abs_error",), lambda states: states.total("abs_error") / states.count),
    "mse": ByGroup(("squared_error",), lambda states: states.total("squared_error") / states.count),
    "rmse": ByGroup(("squared_error",), lambda states: (states.total("squared_error") / states.count).sqrt()),
    "gm": ByGroup(
        ("log_error",),
        lambda states: mean_from_logs(states.total("log_error"), states.hits, states.count, states.epsilon),
    ),
    "balanced_mae": ByGroup(
        ("abs_error",),
        lambda states: balanced_mean(states.bin_sums["abs_error"][:, :-1], states.bin_count[:, :-1]),
    ),
}
