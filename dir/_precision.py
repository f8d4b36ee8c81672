"""Floating-point precision: wider dtypes for intermediate results, and module state that casts do not narrow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def to_float64(values: Tensor) -> Tensor:
    """Return the values in float64, or unchanged on a device without float64 (MPS)."""
    return values if values.device.type == "mps" else values.double()


def at_least_float32(values: Tensor) -> Tensor:
    """Return float16 and bfloat16 values in float32, and wider values unchanged."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def apply_without_narrowing(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Return ``fn(tensor)``, where ``fn`` moves or casts, in a dtype that is not narrower than that of ``tensor``.

    A device without float64 refuses the move of a float64 tensor with a TypeError. Only then is float32 accepted.
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
    """Return ``fn`` wrapped by :func:`apply_without_narrowing`; a function that is already wrapped stays as it is.

    Nested modules each wrap the function. A second wrapper would take the float32 fallback of the first for a
    narrowing cast.
    """
    if isinstance(fn, partial) and fn.func is apply_without_narrowing:
        return fn
    return partial(apply_without_narrowing, fn)


class KeepsPrecision(nn.Module):
    """Base of modules whose state stays as wide as it is under ``.half()``, ``.bfloat16()`` and ``.float()``.

    Bin edges in bfloat16 would move samples between bins, and sums in half precision would overflow. ``.double()``
    still widens the state, and moves between devices work as usual.

    A buffer or parameter of its own that leaves the meta device takes its initial value, so that no state is
    uninitialised memory after ``to_empty()`` or Hugging Face's ``from_pretrained`` with a checkpoint that lacks it.
    """

    _loading = False

    def _initial_state(self, name: str) -> Tensor | float:
        """Return the value of a buffer or parameter in a new module. Subclasses override the default, 0."""
        return 0.0

    def _initialize(self, name: str) -> None:
        with torch.no_grad():
            value = self._initial_state(name)
            tensor = getattr(self, name)
            tensor.copy_(value) if isinstance(value, Tensor) else tensor.fill_(value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> KeepsPrecision:
        own = {**self._buffers, **self._parameters}
        meta = [name for name, tensor in own.items() if tensor is not None and tensor.is_meta]
        super()._apply(guarded(fn), recurse)  # type: ignore[no-untyped-call]
        for name in meta:
            if not getattr(self, name).is_meta:
                self._initialize(name)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, Tensor):
            super().__setattr__(name, value)
            return
        own = {**self.__dict__.get("_buffers", {}), **self.__dict__.get("_parameters", {})}
        old = own.get(name)
        super().__setattr__(name, value)
        # transformers replaces meta buffers by assignment. It marks the tensors that it read from a checkpoint, and
        # leaves uninitialised memory unmarked.
        leaves_meta = old is not None and old.is_meta and not value.is_meta
        if leaves_meta and not self._loading and not getattr(value, "_is_hf_initialized", False):
            self._initialize(name)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._loading = True  # load_state_dict(assign=True) assigns buffers, too
        try:
            super()._load_from_state_dict(*args, **kwargs)
        finally:
            self._loading = False
