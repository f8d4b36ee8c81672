"""FDS calibration: multiply each row of features by its bin's scale and add its bin's shift."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


@functools.cache
def _triton_kernel() -> ModuleType | None:
    """Return the module of the Triton kernel, or None on platforms where torch comes without Triton."""
    try:
        from dir.fds import _triton
    except ImportError:
        return None
    return _triton


def _fused(values: Tensor, index: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor | None:
    """Return ``values * scale[index] (+ shift[index])`` from one GPU kernel, or None if plain operators must run."""
    # torch.compile fuses the plain operators itself. Check it first: torch 2.6 cannot trace is_cuda in a backward.
    if torch.compiler.is_compiling() or not values.is_cuda:
        return None
    kernel = _triton_kernel()
    tables = (scale,) if shift is None else (scale, shift)
    if kernel is None or not kernel.supports(values, index, *tables):
        return None
    result: Tensor = kernel.scaled_rows(values, index, scale, shift)
    return result


class _Calibrate(torch.autograd.Function):
    """The calibration with a backward that gathers the scales again.

    The graph keeps only the index and the table. Autograd of the plain expression would keep ``[N, D]`` gathered
    scales for each batch.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(index, scale)
        fused = _fused(features, index, scale, shift)
        if fused is not None:
            return fused
        rows, calibrated = scale.index_select(0, index), shift.index_select(0, index)
        # Write into the gathered shifts, which no other tensor shares: new memory costs more than the arithmetic.
        if features.dtype == scale.dtype:
            return calibrated.addcmul_(features, rows)
        dtype = torch.promote_types(features.dtype, scale.dtype)
        return calibrated.to(dtype).addcmul_(features, rows.to(dtype)).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, scale = ctx.saved_tensors
        fused = _fused(grad, index, scale)
        if fused is not None:
            return fused, None, None, None
        rows = scale.index_select(0, index)
        return rows.to(torch.promote_types(grad.dtype, rows.dtype)).mul_(grad).to(grad.dtype), None, None, None


def calibrate(features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    r"""Calibrate each row with its bin's row of the tables: :math:`\hat z = z \cdot \text{scale}_b + \text{shift}_b`.

    Args:
        features: ``[N, D]``, floating.
        index: int64 ``[N]``, rows of the tables.
        scale, shift: ``[R, D]``; constants without gradient.

    Returns:
        A new tensor ``[N, D]`` of the features' dtype.

    Example:
        >>> calibrate(torch.ones(1, 1), torch.tensor([0]), torch.tensor([[2.0]]), torch.tensor([[1.0]])).item()
        3.0

    Reference:
        Yang et al. 2021, Eq. 6, with whitening and re-colouring folded into one multiply-add.
    """
    calibrated: Tensor = _Calibrate.apply(features, index, scale, shift)
    return calibrated
