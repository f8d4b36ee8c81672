"""Inputs of the metrics: conversion to tensors, shape checks, holes, and the type that sums are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from dir._checks import check_same_shape, message

if TYPE_CHECKING:
    import pandas as pd

    # A tensor, a NumPy array, a pandas Series or a list of numbers.
    Values: TypeAlias = Tensor | np.ndarray | pd.Series[Any] | Sequence[float]

_SEVERAL = (
    "For several targets, use one metric per target: metrics[k].update(preds[:, k], target[:, k]). "
    "For a single dense map [H, W], add dimensions: map[None, None]."
)


def sum_dtype(device: torch.device) -> torch.dtype:
    """Return the type that sums are kept in: float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def as_tensor(name: str, values: Values, device: torch.device | None = None) -> Tensor:
    """Return ``values`` as a tensor. A tensor is returned as it is, anything else is copied to ``device``.

    Raises:
        TypeError: values that are not numbers.

    Example:
        >>> as_tensor("preds", [1.0, 2.5])
        tensor([1.0000, 2.5000], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        return values
    array = np.array(values, order="C")  # a copy: from_numpy() warns about read-only arrays such as those of pandas
    if array.dtype.kind not in "iufb":
        raise TypeError(
            message(name, "expected numbers", f"dtype {array.dtype}", "Convert it with numpy.asarray(values, float).")
        )
    return torch.from_numpy(array).to(device)


def checked_pair(
    preds: Values, target: Values, ignore_nan: bool = False, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return predictions and labels as tensors of one shape, without the samples to ignore.

    Args:
        preds, target: predictions and labels.
        ignore_nan: leave out the samples whose label is NaN; both outputs are then flat.
        device: device of values that are not tensors. Default: that of the other input, or the CPU.

    Raises:
        ValueError: shapes that differ, such as [N] against [N, 1]; several targets, [N, K] with K > 1.
        TypeError: values that are not numbers.
    """
    if not (isinstance(preds, Tensor) and isinstance(target, Tensor)):
        given = [values.device for values in (preds, target) if isinstance(values, Tensor)]
        device = given[0] if given else device
        preds, target = as_tensor("preds", preds, device), as_tensor("target", target, device)
    check_same_shape("preds", preds, "target", target, "Reshape one of them, for example with preds.squeeze(-1).")
    if target.ndim == 2 and target.shape[1] > 1:
        raise ValueError(message("target", "expected [N], [N, 1] or maps [N, 1, H, W]", list(target.shape), _SEVERAL))
    if ignore_nan:
        keep = ~target.isnan()
        preds, target = preds[keep], target[keep]
    return preds, target


def flatten(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return flat copies of both tensors, widened to :func:`sum_dtype`."""
    dtype = sum_dtype(preds.device)
    return preds.detach().flatten().to(dtype, copy=True), target.detach().flatten().to(dtype, copy=True)


def flat_pair(
    preds: Values, target: Values, ignore_nan: bool = False, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return :func:`flatten` of :func:`checked_pair`."""
    return flatten(*checked_pair(preds, target, ignore_nan, device))
