"""The type of raw labels: float32, or float64 where float32 is too coarse for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._checks import message

# Largest spacing of float32 numbers at the labels, in standard deviations of the labels, that float32 is used for.
COARSEST = 1e-4


def needs_float64(labels: NDArray[Any]) -> bool:
    """Return whether float32 is too coarse for the labels, as for seconds since 1970 or for 1e8 +- 30.

    Float32 is used if the spacing of its numbers at the largest label is at most 1e-4 standard deviations of the
    labels. Labels with many digits may then still collide by chance, without any effect on a model.

    Example:
        >>> needs_float64(1e8 + np.arange(60.0)), needs_float64(np.arange(60.0))
        (True, False)
    """
    wide = np.asarray(labels, dtype=np.float64)
    wide = wide[np.isfinite(wide)]
    if not len(wide):
        return False
    with np.errstate(over="ignore"):
        spacing = float(np.spacing(np.abs(wide).max().astype(np.float32)))
    spread = float(wide.std())
    return spread > 0 and not spacing <= COARSEST * spread


def check_float32(labels: NDArray[Any], where: str) -> None:
    """Raise a ValueError if labels that are trained on in float32 collide there.

    Args:
        labels: labels as the file stores them.
        where: file and column, for the message.
    """
    distinct = np.unique(np.asarray(labels, dtype=np.float64))
    with np.errstate(over="ignore"):
        kept = len(np.unique(distinct.astype(np.float32)))
    if kept < len(distinct) and needs_float64(labels):
        advice = "Subtract a constant such as the smallest label, or use a larger unit."
        problem = f"expected labels that differ in float32; {len(distinct)} different labels become"
        raise ValueError(message(where, problem, kept, advice))
