"""State that a cast of the model must not narrow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


def apply_without_narrowing(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """``fn(tensor)``, where ``fn`` moves or casts, but never to a narrower floating type.

    A device without float64 refuses the move with a TypeError; only there float32 is accepted.
    """
    try:
        moved = fn(tensor)
    except TypeError:
        if tensor.dtype != torch.float64:
            raise
        tensor = tensor.float()
        moved = fn(tensor)
    if tensor.is_floating_point() and torch.promote_types(tensor.dtype, moved.dtype) != moved.dtype:
        return tensor.to(moved.device)
    return moved


def guarded(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """``fn`` without narrowing. Guarding a guarded one changes nothing: modules inside one another each ask for it,
    and a second guard would take the float32 fallback of the first for a narrowing."""
    if isinstance(fn, partial) and fn.func is apply_without_narrowing:
        return fn
    return partial(apply_without_narrowing, fn)


class KeepsPrecision(nn.Module):
    """Base of the modules whose state survives ``.half()``, ``.bfloat16()`` and ``.float()`` unnarrowed.

    Bin edges in bfloat16 would move samples between bins, and sums in half precision overflow.
    ``.double()`` still widens, and device moves are unaffected.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> KeepsPrecision:
        super()._apply(guarded(fn), recurse)  # type: ignore[no-untyped-call]
        return self
