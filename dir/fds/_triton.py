"""Triton kernel of the FDS calibration for NVIDIA and AMD GPUs.

Plain operators need two gathers and a multiply-add, which move about three times the memory that reading the features
and writing the result takes. The kernel moves only the latter, because the tables stay in the GPU's cache.
"""

from __future__ import annotations

import functools
import warnings

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

# Elements per program: four warps with sixteen elements per thread.
_TILE = 2048
_COMPUTE = {torch.float32: tl.float32, torch.float64: tl.float64}


@triton.jit  # type: ignore[untyped-decorator]
def _scaled_rows(  # type: ignore[no-untyped-def]
    values,
    index,
    scale,
    shift,
    out,
    n,
    d,
    stride_row,
    stride_column,
    shifted: tl.constexpr,
    compute: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
):
    """Write ``values[i, j] * scale[index[i], j] (+ shift[index[i], j])`` to ``out`` for one tile."""
    # Use 64-bit offsets: a batch of dense maps has more elements than 32 bits can count.
    row = (tl.program_id(0) * rows + tl.arange(0, rows)).to(tl.int64)
    column = (tl.program_id(1) * columns + tl.arange(0, columns)).to(tl.int64)
    bin_ = tl.load(index + row, mask=row < n, other=0)
    inside = (row < n)[:, None] & (column < d)[None, :]
    entry = bin_[:, None] * d + column[None, :]
    value = tl.load(values + row[:, None] * stride_row + column[None, :] * stride_column, mask=inside, other=0.0)
    result = value.to(compute) * tl.load(scale + entry, mask=inside, other=0.0).to(compute)
    if shifted:
        result += tl.load(shift + entry, mask=inside, other=0.0).to(compute)
    tl.store(out + row[:, None] * d + column[None, :], result.to(out.dtype.element_ty), mask=inside)


def scaled_rows(values: Tensor, index: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    """Return ``values * scale[index] (+ shift[index])``, computed in the wider of the two dtypes.

    Args:
        values: ``[N, D]`` with at least one row, any strides.
        index: int64 ``[N]``, contiguous; rows of the tables. The kernel does not check the range.
        scale, shift: ``[R, D]``, contiguous. ``shift=None`` skips the addition.

    Returns:
        A new contiguous tensor ``[N, D]`` of the dtype of ``values``.
    """
    n, d = values.shape
    out = values.new_empty(n, d)
    columns = min(triton.next_power_of_2(d), 512)
    rows = _TILE // columns
    grid = (triton.cdiv(n, rows), triton.cdiv(d, columns))
    compute = _COMPUTE[torch.promote_types(values.dtype, scale.dtype)]
    with torch.cuda.device_of(values):  # type: ignore[no-untyped-call]  # Triton launches on the current device
        _scaled_rows[grid](
            values, index, scale, scale if shift is None else shift, out, n, d, *values.stride(),
            shifted=shift is not None, compute=compute, rows=rows, columns=columns,
        )  # fmt: skip
    return out


def supports(values: Tensor, index: Tensor, *tables: Tensor) -> bool:
    """Return True if the kernel accepts these tensors: plain tensors on one device, with nothing for autograd."""
    return (
        type(values) in (Tensor, nn.Parameter)
        and not (torch.is_grad_enabled() and values.requires_grad)
        and values.ndim == 2
        and values.numel() > 0
        and all(torch.promote_types(values.dtype, table.dtype) in _COMPUTE for table in tables)
        and all(other.is_contiguous() and other.device == values.device for other in (index, *tables))
        and _runs_on(values.device)
    )


@functools.cache
def _runs_on(device: torch.device) -> bool:
    """Launch the kernel once on the device: a missing C compiler or an unknown device shows only at the launch."""
    try:
        ones = torch.ones(1, 1, device=device)
        scaled_rows(ones, torch.zeros(1, dtype=torch.int64, device=device), ones, ones)
    except Exception as error:  # Triton, its compiler and its driver each raise errors of their own
        warnings.warn(
            f"FDS: Triton does not run on {device}, so the calibration uses plain PyTorch operators ({error})",
            stacklevel=2,
        )
        return False
    return True
