"""What the metrics share: input check, float64 states that casts do not narrow, ranks without data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from dir._precision import guarded


class RegressionMetric(Metric):
    """A torchmetrics.Metric over pairs of predictions and labels.

    Sums are kept in float64 (float32 on a device that has no float64), so that a million predictions add up
    without loss, and neither ``.half()`` nor autocast narrows them.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better: bool | None = False

    def add_sum(self, name: str, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        """Declare a state that starts at zero and adds up over batches and ranks."""
        self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        return super()._apply(guarded(fn), exclude_state)

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., list[Tensor]] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        # torchmetrics lets a rank without data send an empty float32 tensor, whatever the others send; the
        # gather then reads float64 as float32. An empty tensor of the right type makes the ranks agree.
        for name in self._defaults:
            state = getattr(self, name)
            if isinstance(state, list) and not state:
                state.append(torch.empty(0, dtype=sum_dtype(self.device), device=self.device))
        super()._sync_dist(dist_sync_fn, process_group)


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type that sums are kept in: float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def check_shapes(preds: Tensor, target: Tensor) -> None:
    """Raise a ValueError for shapes that differ, such as [N] against [N, 1]."""
    if preds.shape != target.shape:
        raise ValueError(
            f"preds and target must have the same shape, got preds {list(preds.shape)} and target "
            f"{list(target.shape)}; reshape one of them, for example with preds.squeeze(-1)"
        )


def flat_pair(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check that the shapes agree; return copies of both, flat and widened to :func:`sum_dtype`.

    Raises:
        ValueError: shapes that differ, such as [N] against [N, 1].
    """
    check_shapes(preds, target)
    dtype = sum_dtype(preds.device)
    return preds.detach().flatten().to(dtype, copy=True), target.detach().flatten().to(dtype, copy=True)


def add_rows(sums: Tensor, index: Tensor, values: Tensor | None = None) -> None:
    """Add to ``sums`` (one per row, in place) the values of a row's samples, or their number where none are given.

    ``index`` is each sample's row, int64; int32 will do for the number.
    """
    if values is not None:
        sums.scatter_add_(0, index, values.to(sums.dtype))  # float32 after a visit to a device without float64
    elif index.device.type == "cpu":
        sums += torch.bincount(index, minlength=len(sums))
    else:  # there bincount would wait for the device
        sums.scatter_add_(0, index.to(torch.int64), torch.ones_like(index, dtype=sums.dtype))


def row_totals(index: Tensor, num_rows: int, values: Tensor | None = None) -> Tensor:
    """Sum of the values (or number of samples) per row, ``[num_rows]``; ``index`` (int64) is each sample's row."""
    dtype = torch.int64 if values is None else values.dtype
    totals = torch.zeros(num_rows, dtype=dtype, device=index.device)
    add_rows(totals, index, values)
    return totals


def all_seen(state: Sequence[Tensor] | Tensor, device: torch.device) -> Tensor:
    """All values of a gathered state as one tensor; an empty one before the first update."""
    if isinstance(state, Tensor):
        return state
    return torch.cat(list(state)) if state else torch.empty(0, dtype=sum_dtype(device), device=device)
