"""Errors relative to the label, as papers on depth report them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dir.metrics.functional._by_group import from_samples
from dir.metrics.functional._inputs import flat_pair

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


def abs_rel(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean of :math:`|\hat y_i - y_i| / y_i` over the labels above 0.

    Labels of 0 and below have no relative error and are left out.

    Args:
        preds: predictions.
        target: labels.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a float64
        scalar, NaN without labels above 0.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> abs_rel([1.0, 4.0, 3.0], [2.0, 4.0, 0.0]).item()
        0.25
    """
    preds, target = _with_ratio(preds, target, ignore_nan)
    return ((preds - target).abs() / target).sum() / target.numel()


def delta1(preds: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return the share of :math:`\max(\hat y_i / y_i, y_i / \hat y_i) \le 1.25` over the labels above 0.

    Labels of 0 and below are left out. A prediction of 0 or below is outside. A ratio of exactly 1.25 is inside;
    Eigen et al. (NeurIPS 2014), who introduced the measure, write < 1.25.

    Args, shapes and errors: see :func:`abs_rel`.

    Example:
        >>> delta1([5.0, 5.1, 3.2, 0.0, 1.0], [4.0, 4.0, 4.0, 4.0, 0.0]).item()
        0.5
    """
    preds, target = _with_ratio(preds, target, ignore_nan)
    inside = (preds <= 1.25 * target) & (target <= 1.25 * preds)
    # A NaN label or prediction compares as False, and must not look like a wrong prediction.
    unknown = torch.where((preds + target).isnan(), torch.nan, 0.0)
    return (inside.to(target.dtype) + unknown).sum() / target.numel()


def _with_ratio(preds: Values, target: Values, ignore_nan: bool) -> tuple[Tensor, Tensor]:
    """Return predictions and labels, flat, without labels of 0 and below; NaN labels stay."""
    flat_preds, flat_target = flat_pair(preds, target, ignore_nan)
    kept = ~(flat_target <= 0)
    return flat_preds[kept], flat_target[kept]


BY_GROUP = {"abs_rel": from_samples(abs_rel), "delta1": from_samples(delta1)}
