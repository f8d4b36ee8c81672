"""FDS's calibration as one kernel, for NVIDIA and AMD devices where Triton is there.

Eagerly it takes two gathers and a multiply-add: about three times the memory traffic of reading the features and
writing the result, which is all that this kernel does (the tables stay in the cache).
"""

from __future__ import annotations

import functools
import warnings

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

# Elements of one program: four warps with sixteen each.
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
    """out[i, j] = values[i, j] * scale[index[i], j] (+ shift[index[i], j]) for a tile of ``rows x columns``."""
    # 64 bits: a batch of dense maps has more elements than 32 bits count.
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
    """``values * scale[index] (+ shift[index])`` in the wider of the two types, rounded to that of the values.

    Args:
        values: ``[N, D]`` with at least one row, any strides.
        index: int64 ``[N]``, contiguous; rows of the tables, not checked.
        scale, shift: ``[R, D]``, contiguous. None: only multiply.

    Shape:
        ``[N, D]``, new and contiguous, of the values' dtype.
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


def fits(values: Tensor, index: Tensor, *tables: Tensor) -> bool:
    """Whether the kernel can take these: plain tensors on one device, where autograd has nothing to record."""
    return (
        type(values) in (Tensor, nn.Parameter)
        and not (torch.is_grad_enabled() and values.requires_grad)
        and values.ndim == 2
        and values.numel() > 0
        and all(torch.promote_types(values.dtype, table.dtype) in _COMPUTE for table in tables)
        and all(other.is_contiguous() and other.device == values.device for other in (index, *tables))
        and _works(values.device)
    )


@functools.cache
def _works(device: torch.device) -> bool:
    """One launch on the device: Triton needs a C compiler and a device it knows, and says so only then."""
    try:
        ones = torch.ones(1, 1, device=device)
        scaled_rows(ones, torch.zeros(1, dtype=torch.int64, device=device), ones, ones)
    except Exception as error:  # whatever Triton, its compiler or its driver raise
        warnings.warn(f"FDS calibrates with plain operators, Triton does not run here: {error}", stacklevel=2)
        return False
    return True
