"""Arrays of numbers that come from a file, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir._checks import message
from dir.bundle.fields import BundleError, Fields


def read_array(fields: Fields, key: str, length: int | None = None, lowest: float = -np.inf) -> NDArray[np.float64]:
    """Return a list of finite numbers as an array.

    Raises:
        BundleError: another value; another length than ``length``; a number below ``lowest``.
    """
    found = np.array(fields.numbers(key), dtype=np.float64)
    if length is not None and len(found) != length:
        raise BundleError(message(fields.name(key), f"expected {length} numbers", len(found)))
    if (found < lowest).any():
        raise BundleError(message(fields.name(key), f"expected numbers >= {lowest:g}", float(found.min())))
    return found


def read_increasing(fields: Fields, key: str) -> NDArray[np.float64]:
    """Return a list of increasing numbers as an array."""
    found = read_array(fields, key)
    if (np.diff(found) <= 0).any():
        raise BundleError(message(fields.name(key), "expected increasing numbers", found[:5].tolist()))
    return found


def read_counts(fields: Fields, length: int) -> NDArray[np.float64]:
    """Return the list ``counts`` of numbers >= 0, of which one at least is not 0."""
    found = read_array(fields, "counts", length, lowest=0.0)
    if not found.any():
        raise BundleError(message(fields.name("counts"), "expected a number > 0", 0))
    return found


def read_number(fields: Fields, key: str, lowest: float = 0.0) -> float:
    """Return a finite number >= ``lowest``."""
    found = fields.number(key)
    if found < lowest:
        raise BundleError(message(fields.name(key), f"expected a number >= {lowest:g}", found))
    return found
