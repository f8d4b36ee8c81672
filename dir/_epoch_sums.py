"""Count, sum and sum of squares per bin of an unfinished epoch, as FDS and SRL collect them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from dir._plain_state import PlainState

# Bytes of widened features held at once. Beyond this size (dense maps) the temporaries cost more than the sums.
_SCRATCH = 8 << 20


class Sums(NamedTuple):
    """Sums of an epoch: samples ``[R]``, total and square ``[R, D]``, and the number of non-finite labels."""

    n: Tensor
    total: Tensor
    square: Tensor
    nonfinite: Tensor


class EpochSums(PlainState):
    """Sums per bin, updated batch by batch in one pass over the data.

    The sums are plain tensors and no buffers: DistributedDataParallel overwrites every buffer with that of rank 0 at
    each forward, and each rank has its own sums until :meth:`reduced` adds them. They move with the module and are
    saved in its state_dict. Several threads may call :meth:`add` at the same time.

    Args:
        num_rows: rows of the sums. FDS uses one row per bin and a last row for excluded labels.
        num_features: D.

    State:
        count ``[R]``, total ``[R, D]``, square ``[R, D]``, nonfinite ``[]``: float64 (float32 on a device without
        float64), written by :meth:`add` and :meth:`clear`.

    Example:
        >>> sums = EpochSums(num_rows=2, num_features=1)
        >>> sums.add(torch.tensor([[3.0]]), torch.tensor([5.0]), torch.tensor([1]))
        >>> sums.square.tolist()
        [[0.0], [9.0]]
    """

    count: Tensor
    total: Tensor
    square: Tensor
    nonfinite: Tensor
    plain_state = ("count", "total", "square", "nonfinite")

    def __init__(self, num_rows: int, num_features: int) -> None:
        super().__init__()
        self.count = torch.zeros(num_rows, dtype=torch.float64)
        self.total = torch.zeros(num_rows, num_features, dtype=torch.float64)
        self.square = torch.zeros(num_rows, num_features, dtype=torch.float64)
        self.nonfinite = torch.zeros((), dtype=torch.float64)
        self._scratch: Tensor | None = None
        self.lock = threading.RLock()

    @torch.no_grad()
    def add(self, rows: Tensor, labels: Tensor, index: Tensor, pivot: Tensor | None = None) -> None:
        """Add features ``[N, D]`` with their labels and row indices ``[N]``.

        Args:
            rows: features ``[N, D]``.
            labels: ``[N]`` or any shape of N elements; only used to count labels that are not finite.
            index: int64 ``[N]``, rows of the sums.
            pivot: ``[R, D]``, subtracted from the features first. Sums in float32 need a pivot near the mean, because
                the variance is a small difference of large sums.
        """
        if torch.compiler.is_compiling():  # a lock would break the graph
            self._add_all(rows.detach(), labels, index, pivot)
        else:
            with self.lock:
                self._add_all(rows.detach(), labels, index, pivot)

    def _add_all(self, rows: Tensor, labels: Tensor, index: Tensor, pivot: Tensor | None) -> None:
        self.count.index_add_(0, index, self.count.new_ones(index.shape))
        # The product with 0 is NaN for labels that are not finite, and NaN counts as nonzero.
        self.nonfinite.add_((labels.detach() * 0).count_nonzero())
        size = max(1, _SCRATCH // (self.total.shape[1] * self.total.element_size()))
        if torch.compiler.is_compiling() or len(rows) <= size:
            self._add_block(rows, index, pivot)
            return
        for some_rows, some_index in zip(torch.split(rows, size), torch.split(index, size), strict=True):
            self._add_block(some_rows, some_index, pivot)

    def _add_block(self, rows: Tensor, index: Tensor, pivot: Tensor | None) -> None:
        values = self._wide_copy(rows)
        if pivot is not None:
            values.sub_(pivot.index_select(0, index))
        self.total.index_add_(0, index, values)
        self.square.index_add_(0, index, values.mul_(values))

    def _wide_copy(self, rows: Tensor) -> Tensor:
        """Return a copy of the rows in the dtype of the sums. On the CPU, reuse memory: new pages cost more."""
        if rows.device.type != "cpu" or torch.compiler.is_compiling():
            return rows.to(self.total.dtype, copy=True)
        kept = self._scratch
        if kept is None or len(kept) < len(rows) or kept.dtype != self.total.dtype:
            kept = self._scratch = torch.empty(rows.shape, dtype=self.total.dtype, device=rows.device)
        return kept[: len(rows)].copy_(rows)

    def clear(self) -> None:
        """Set all sums to zero."""
        for name in self.plain_state:
            getattr(self, name).zero_()

    def reduced(self, process_group: dist.ProcessGroup | None = None) -> Sums:
        """Return the sums over all ranks, added by one all-reduce. On a single process, return its own tensors."""
        parts = [getattr(self, name) for name in self.plain_state]
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size(process_group) > 1):
            return Sums(*parts)
        packed = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(packed, group=process_group)
        unpacked = torch.split(packed, [part.numel() for part in parts])
        return Sums(*(flat.view(part.shape) for flat, part in zip(unpacked, parts, strict=True)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": None, "lock": None}  # locks can be neither copied nor pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.lock = threading.RLock()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> EpochSums:
        super()._apply(fn, recurse)
        self._scratch = None
        return self
