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
        from dir.fds import _triton
    except ImportError:  # torch comes without Triton on some platforms
        return None
    return _triton


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
    """The scales that a thread's last forward gathered, until its backward takes them or another forward comes.

    One batch at most, and not a large one.
    """

    rows: Tensor | None = None
    turn = 0  # which of all gatherings, of whatever thread, they are of


_kept = _Kept()
_turns = itertools.count(1)
_KEPT_BYTES = 8 << 20


def _keep(rows: Tensor) -> int:
    """The turn by which :func:`_taken` gives the rows back; 0: not kept."""
    if torch.compiler.is_compiling() or not rows.is_cpu or type(rows) is not Tensor or rows.nbytes > _KEPT_BYTES:
        return 0
    _kept.rows, _kept.turn = rows, next(_turns)
    return _kept.turn


def _taken(turn: int) -> Tensor | None:
    """The rows kept in this turn, which are then the caller's; None where they are gone."""
    # Under create_graph a second backward may need them as they are; a compiler would make a graph for each turn.
    if torch.compiler.is_compiling() or turn == 0 or turn != _kept.turn or torch.is_grad_enabled():
        return None
    rows, _kept.rows, _kept.turn = _kept.rows, None, 0
    return rows


class _Calibrate(torch.autograd.Function):
    # The graph holds only the index and the scale table; that of the plain expression would hold all rows.
    @staticmethod
    def forward(ctx: Any, features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(index, scale)
        ctx.turn = 0
        fused = _in_one_pass(features, index, scale, shift)
        if fused is not None:
            return fused
        rows, calibrated = scale.index_select(0, index), shift.index_select(0, index)
        if ctx.needs_input_grad[0]:
            ctx.turn = _keep(rows)
        # In place on the gathered shifts, which nobody else holds: fresh memory costs more than the arithmetic.
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
        # The usual step runs backward before the next forward, and its rows are at hand.
        rows = _taken(ctx.turn)
        if rows is None:
            rows = scale.index_select(0, index)
        return rows.to(torch.promote_types(grad.dtype, rows.dtype)).mul_(grad).to(grad.dtype), None, None, None


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
