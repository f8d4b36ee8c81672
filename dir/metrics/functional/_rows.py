"""Sums by row: values or counts of the samples that share a label bin."""

from __future__ import annotations

import torch
from torch import Tensor


def add_rows(sums: Tensor, index: Tensor, values: Tensor | None = None) -> None:
    """Add each sample's value (or 1 without values) to its row of ``sums``, in place.

    Args:
        sums: one sum per row, ``[R]``.
        index: row of each sample, int64 ``[N]``; int32 is enough to count.
        values: value of each sample, ``[N]``. Default: count the samples.
    """
    if values is not None:
        # The sums are float32 after a move to a device without float64.
        sums.scatter_add_(0, index, values.to(sums.dtype))
    elif index.device.type == "cpu":
        sums += torch.bincount(index, minlength=len(sums))
    else:  # bincount would wait for the device
        sums.scatter_add_(0, index.to(torch.int64), torch.ones_like(index, dtype=sums.dtype))


def row_totals(index: Tensor, num_rows: int, values: Tensor | None = None) -> Tensor:
    """Return the sum of the values (or the number of samples) of each row, ``[num_rows]``."""
    dtype = torch.int64 if values is None else values.dtype
    totals = torch.zeros(num_rows, dtype=dtype, device=index.device)
    add_rows(totals, index, values)
    return totals
