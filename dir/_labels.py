"""Labels as users have them: tensors, NumPy arrays, pandas Series and lists become tensors, or are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dir._checks import message

# Any: pandas is no dependency of the core, so its Series has no name here.
Labels: TypeAlias = Tensor | np.ndarray | Sequence[float] | Any

USE_MASK = "Pass mask=~labels.isnan() (or ~numpy.isnan(labels)) to leave labels out."
_SEVERAL_TARGETS = (
    "Use one LabelBins, LDS, FDS and head per target, and give each its own column, labels[:, k]. "
    "Dense maps have the shape [N, 1, H, W]."
)


def as_tensor(labels: Labels, name: str = "labels") -> Tensor:
    """Return labels as a tensor after checking dtype and shape. A tensor is returned as it is.

    Args:
        labels: tensor, NumPy array, pandas Series (nullable dtypes included: a missing value becomes NaN), or list.
        name: name of the argument in error messages.

    Raises:
        TypeError: labels in half precision, bool, complex, text, dates or objects.
        ValueError: labels ``[N, K]`` of several targets.

    Example:
        >>> as_tensor([1.0, 2.0])
        tensor([1., 2.], dtype=torch.float64)
    """
    tensor = labels if isinstance(labels, Tensor) else _from_array(labels, name)
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(
            message(
                name,
                "expected float32, float64 or integers, because half precision moves samples between bins",
                tensor.dtype,
                "Keep labels in float32 and let autocast convert only the features.",
            )
        )
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise TypeError(message(name, "expected a floating or integer dtype", tensor.dtype))
    if tensor.ndim == 2 and tensor.shape[1] > 1:
        raise ValueError(
            message(name, "expected one target, shape [N] or [N, 1]", list(tensor.shape), _SEVERAL_TARGETS)
        )
    return tensor


def as_mask(mask: Any, labels: Tensor) -> Tensor:
    """Return a bool mask on the device of the labels, after checking dtype and shape.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: a mask of another shape than the labels.
    """
    given = mask if isinstance(mask, Tensor) else torch.as_tensor(np.asarray(mask))
    if given.dtype != torch.bool:
        raise TypeError(
            message("mask", "expected bool, True for labels that count", given.dtype, "Pass mask=~labels.isnan().")
        )
    if given.shape != labels.shape:
        raise ValueError(message("mask", f"expected the shape of the labels {list(labels.shape)}", list(given.shape)))
    return given.to(labels.device)


def like_input(values: Tensor, labels: Labels) -> Any:
    """Return values as a tensor if the labels were one, otherwise as a NumPy array."""
    return values if isinstance(labels, Tensor) else values.cpu().numpy()


def check_finite(values: Labels, name: str, advice: str = "") -> None:
    """Raise a ValueError that names the first rows with NaN or infinity, or says that there are no values.

    Example:
        >>> check_finite([1.0, float("nan")], "labels")
        Traceback (most recent call last):
        ValueError: labels: expected finite values, got nan in row 1 (1 bad value; rows 1).
    """
    array = to_numpy64(values)
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one value, got none.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        rows = ", ".join(str(position[0]) for position in bad[:10])
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        count = f"{len(bad)} bad value{'s' if len(bad) > 1 else ''}"
        found = f"got {array[tuple(bad[0])]} in row {bad[0][0]} ({count}; rows {rows}{more})."
        raise ValueError(f"{name}: expected finite values, {found}" + (f" {advice}" if advice else ""))


def to_numpy64(values: ArrayLike | Tensor) -> np.ndarray:
    """Return values as a float64 array on the CPU."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def _from_array(labels: Any, name: str) -> Tensor:
    dtype = getattr(labels, "dtype", None)
    if hasattr(labels, "to_numpy") and hasattr(dtype, "na_value"):  # a nullable dtype of pandas
        if getattr(dtype, "kind", "") not in "iuf":
            raise TypeError(message(name, "expected numbers", str(dtype), "Convert the column to numbers first."))
        array = labels.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        array = np.asarray(labels)
    if array.dtype.kind not in "iufbc" or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        raise TypeError(
            message(name, "expected numbers", str(array.dtype), "Convert dates, text and objects to numbers first.")
        )
    if array.dtype.kind == "u":  # PyTorch has few operators for unsigned integers
        array = array.astype(np.float64 if array.dtype.itemsize == 8 else np.int64)
    # A copy, because arrays may be read-only, strided backwards or of foreign byte order.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
