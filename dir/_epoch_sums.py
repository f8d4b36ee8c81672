"""The per-bin sums of an FDS epoch in progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from dir._precision import KeepsPrecision, guarded

_SUMS = ("count", "total", "square", "nonfinite")

# Bytes of widened features held at once. Beyond it (dense maps) temporaries cost more than the sums.
_SCRATCH = 8 << 20


class Sums(NamedTuple):
    """What was collected: samples ``[R]``, total and square ``[R, D]``, and the number of non-finite labels."""

    n: Tensor
    total: Tensor
    square: Tensor
    nonfinite: Tensor


class EpochSums(KeepsPrecision):
    """Count, sum and sum of squares per bin, added up batch by batch, one pass over the data.

    The sums are plain tensors and not buffers: DistributedDataParallel overwrites every buffer with rank 0's at
    each forward, and these are each rank's own until :meth:`reduced` adds them up. They move with the module and
    are saved in its state_dict all the same.

    Args:
        num_rows: rows of the sums; FDS gives the excluded labels a row of their own after the bins.
        num_features: D.

    State:
        count ``[R]``, total ``[R, D]``, square ``[R, D]``, nonfinite ``[]``: float64 (float32 where the device
        has no float64), written by :meth:`add` and :meth:`clear`.

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

    def __init__(self, num_rows: int, num_features: int) -> None:
        super().__init__()
        self.count = torch.zeros(num_rows, dtype=torch.float64)
        self.total = torch.zeros(num_rows, num_features, dtype=torch.float64)
        self.square = torch.zeros(num_rows, num_features, dtype=torch.float64)
        self.nonfinite = torch.zeros((), dtype=torch.float64)
        self._scratch: Tensor | None = None

    @torch.no_grad()
    def add(self, rows: Tensor, labels: Tensor, index: Tensor, pivot: Tensor | None = None) -> None:
        """Add features ``[N, D]`` with labels and their row index ``[N]``.

        ``pivot`` ``[R, D]`` is subtracted first: sums in float32 need it, or cancellation eats the variance.
        """
        rows = rows.detach()
        self.count.index_add_(0, index, self.count.new_ones(index.shape))
        # A product with 0 is 0 for finite labels alone, and NaN counts as nonzero.
        self.nonfinite.add_((labels.detach() * 0).count_nonzero())
        size = max(1, _SCRATCH // (self.total.shape[1] * self.total.element_size()))
        if torch.compiler.is_compiling() or len(rows) <= size:
            self._add(rows, index, pivot)
            return
        for some, where in zip(torch.split(rows, size), torch.split(index, size), strict=True):
            self._add(some, where, pivot)

    def _add(self, rows: Tensor, index: Tensor, pivot: Tensor | None) -> None:
        values = self._widened(rows)
        if pivot is not None:
            values.sub_(pivot.index_select(0, index))
        self.total.index_add_(0, index, values)
        self.square.index_add_(0, index, values.mul_(values))

    def _widened(self, rows: Tensor) -> Tensor:
        """A copy of the rows in the type of the sums; on the CPU in memory that is kept, as fresh pages cost more."""
        if rows.device.type != "cpu" or torch.compiler.is_compiling():
            return rows.to(self.total.dtype, copy=True)
        kept = self._scratch
        if kept is None or len(kept) < len(rows) or kept.dtype != self.total.dtype:
            kept = self._scratch = torch.empty(rows.shape, dtype=self.total.dtype)
        return kept[: len(rows)].copy_(rows)

    def clear(self) -> None:
        """Forget what was collected."""
        for name in _SUMS:
            getattr(self, name).zero_()

    def reduced(self, process_group: dist.ProcessGroup | None = None) -> Sums:
        """The sums over all ranks, by one all-reduce; this rank's own stay as they are (alone, it gets those)."""
        parts = [getattr(self, name) for name in _SUMS]
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size(process_group) > 1):
            return Sums(*parts)
        packed = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(packed, group=process_group)
        pieces = torch.split(packed, [part.numel() for part in parts])
        return Sums(*(piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": None}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> EpochSums:
        super()._apply(fn, recurse)
        self._scratch = None
        for name in _SUMS:
            setattr(self, name, guarded(fn)(getattr(self, name)))
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in _SUMS:
            destination[prefix + name] = getattr(self, name)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in _SUMS:
            key, own = prefix + name, getattr(self, name)
            if key in unexpected_keys:
                unexpected_keys.remove(key)
            if key not in state_dict:
                missing_keys.append(key)
            elif state_dict[key].shape != own.shape:
                error_msgs.append(
                    f"size mismatch for {key}: {tuple(state_dict[key].shape)} against {tuple(own.shape)}"
                )
            else:
                own.copy_(state_dict[key])
