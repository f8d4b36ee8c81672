"""Calibration by tables: each row of the features times its bin's scale, plus its bin's shift."""

from __future__ import annotations

import functools
import itertools
import threading
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


@functools.cache
def _kernel() -> ModuleType | None:
    try:
        from dir import _calibrate_kernel
    except ImportError:  # torch comes without Triton on some platforms
        return None
    return _calibrate_kernel


def _in_one_pass(values: Tensor, index: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor | None:
    """``values * scale[index] (+ shift[index])`` by one kernel; None where plain operators have to do it."""
    if not values.is_cuda or torch.compiler.is_compiling():  # compilers fuse the plain operators themselves
        return None
    kernel = _kernel()
    tables = (scale,) if shift is None else (scale, shift)
    if kernel is None or not kernel.fits(values, index, *tables):
        return None
    result: Tensor = kernel.scaled_rows(values, index, scale, shift)
    return result


class _Kept(threading.local):
    """The rows gathered last, in memory that each thread keeps: fresh memory costs more than the arithmetic."""

    memory: Tensor | None = None
    rows: Tensor | None = None
    turn = 0  # which of all gatherings, of whatever thread, they are of

    def room(self, shape: tuple[int, int], dtype: torch.dtype) -> Tensor | None:
        """Memory for rows of this shape; None where they are too many to keep."""
        rows = self.rows
        if rows is not None and rows.shape == shape and rows.dtype == dtype:  # as in most steps
            return rows
        numel = shape[0] * shape[1]
        if numel * dtype.itemsize > _KEPT_BYTES:
            return None
        with torch.inference_mode(False):
            if self.memory is None or self.memory.dtype != dtype or self.memory.numel() < numel:
                self.memory = torch.empty(numel, dtype=dtype)
            return self.memory[:numel].view(shape)


_kept = _Kept()
_turns = itertools.count(1)
_KEPT_BYTES = 8 << 20


def _gathered(table: Tensor, index: Tensor) -> tuple[Tensor, int]:
    """``table[index]``, to be read before this thread's next call overwrites it, and its turn (0: a fresh one)."""
    plain = table.is_cpu and type(table) is Tensor and type(index) is Tensor and not torch.compiler.is_compiling()
    room = _kept.room((index.shape[0], table.shape[1]), table.dtype) if plain else None
    if room is None:
        return table.index_select(0, index), 0
    _kept.turn = 0  # an index that raises leaves rows of two turns
    _kept.rows = torch.index_select(table, 0, index, out=room)
    _kept.turn = next(_turns)
    return room, _kept.turn


def _still_there(turn: int) -> Tensor | None:
    """The rows gathered in this turn, where this thread has gathered no others since."""
    # Under create_graph they would be saved for a second backward, and overwritten before it.
    return None if turn == 0 or turn != _kept.turn or torch.is_grad_enabled() else _kept.rows


class _Calibrate(torch.autograd.Function):
    # Saves only the index and the scale table; autograd on the plain expression would keep the features too.
    @staticmethod
    def forward(ctx: Any, features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(index, scale)
        ctx.turn = 0
        fused = _in_one_pass(features, index, scale, shift)
        if fused is not None:
            return fused
        rows, ctx.turn = _gathered(scale, index)
        # In place on the gathered shifts, which nobody else holds.
        calibrated = shift.index_select(0, index)
        if features.dtype == scale.dtype:
            return calibrated.addcmul_(features, rows)
        dtype = torch.promote_types(features.dtype, scale.dtype)
        return calibrated.to(dtype).addcmul_(features, rows.to(dtype)).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, scale = ctx.saved_tensors
        fused = _in_one_pass(grad, index, scale)
        if fused is not None:
            return fused, None, None, None
        # The usual step runs backward before the next forward and finds its rows where that left them.
        rows = _still_there(ctx.turn)
        if rows is not None:
            product = torch.mul(rows, grad)
            return product if product.dtype == grad.dtype else product.to(grad.dtype), None, None, None
        rows = scale.index_select(0, index).to(torch.promote_types(grad.dtype, scale.dtype))
        return rows.mul_(grad).to(grad.dtype), None, None, None


def calibrate(features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    r"""Calibrate each row with its bin's row of the tables: :math:`\hat z = z \cdot \text{scale}_b + \text{shift}_b`.

    Args:
        features: ``[N, D]``, floating.
        index: int64 ``[N]``, rows of the tables.
        scale, shift: ``[R, D]``; constants, no gradient flows into them.

    Shape:
        ``[N, D]``, a new tensor of the features' dtype.

    Example:
        >>> calibrate(torch.ones(1, 1), torch.tensor([0]), torch.tensor([[2.0]]), torch.tensor([[1.0]])).item()
        3.0

    Reference:
        Yang et al. 2021, Eq. 6, with the whitening and colouring folded into one multiply-add.
    """
    calibrated: Tensor = _Calibrate.apply(features, index, scale, shift)
    return calibrated
