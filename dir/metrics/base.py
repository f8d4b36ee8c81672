"""Base class of the metrics: inputs, float64 states that casts do not narrow, ranks without data, plots."""

from __future__ import annotations

from collections.abc import Callable, KeysView, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from dir._precision import guarded
from dir.metrics.functional._inputs import checked_pair, sum_dtype

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class _OwnNames(KeysView[str]):
    """Names of the states of one metric, equal to no other metric's names."""

    def __init__(self, states: dict[str, Any]) -> None:
        super().__init__(states)
        self._states = states

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _OwnNames) and self._states is other._states

    def __hash__(self) -> int:
        return id(self._states)


class _OwnStates(dict[str, Any]):
    """States of a metric that no compute group of a ``MetricCollection`` merges with another metric's.

    A MetricCollection merges two metrics if their states have the same names and, after the first batch, the same
    values; from then on it updates only one of them. Equal sums are no sign of equal metrics: if all errors of the
    batch are 1, MAE and MSE hold the same sum, and so do balanced errors over different bins.
    """

    def keys(self) -> _OwnNames:  # type: ignore[override]
        return _OwnNames(self)


class RegressionMetric(Metric):
    """A ``torchmetrics.Metric`` of predictions and labels.

    ``update`` and the call take tensors, NumPy arrays, pandas Series and lists. Sums are kept in float64 (float32 on
    a device without float64), so that the errors of millions of predictions add up without loss. Neither ``.half()``
    nor autocast narrows them.

    Args:
        ignore_nan: leave out the samples whose label is NaN, such as the holes of a dense map. On a GPU this waits
            for the device at each update. Default: a NaN label gives NaN.
        **kwargs: arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better: bool | None = False

    def __init__(self, ignore_nan: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_nan = ignore_nan
        self._defaults: dict[str, Any] = _OwnStates(self._defaults)

    def add_sum(self, name: str, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        """Declare a state that starts at zero and adds up over batches and ranks."""
        self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")

    def inputs(self, preds: Values, target: Values) -> tuple[Tensor, Tensor]:
        """Return predictions and labels as tensors of one shape, without the samples to ignore.

        Raises:
            ValueError: shapes that differ, such as [N] against [N, 1]; several targets, [N, K] with K > 1.
            TypeError: values that are not numbers.
        """
        return checked_pair(preds, target, self.ignore_nan, self.device)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot a value of the metric, or a list of values over time; needs matplotlib.

        Args:
            val: result of ``compute()`` or of the call, or a list of such results. Default: ``compute()``.
            ax: matplotlib axes to draw on. Default: new axes.

        Returns:
            The figure (None if ``ax`` was given) and the axes.
        """
        return self._plot(val, ax)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        return super()._apply(guarded(fn), exclude_state)

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., list[Tensor]] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        # torchmetrics lets a rank without data send an empty float32 tensor, and the gather then reads the float64
        # values of the other ranks as float32. An empty tensor of the right type makes the ranks agree.
        for name in self._defaults:
            state = getattr(self, name)
            if isinstance(state, list) and not state:
                state.append(torch.empty(0, dtype=sum_dtype(self.device), device=self.device))
        super()._sync_dist(dist_sync_fn, process_group)


def all_seen(state: Sequence[Tensor] | Tensor, device: torch.device) -> Tensor:
    """Return all values of a gathered state as one tensor; an empty tensor before the first update."""
    if isinstance(state, Tensor):
        return state
    return torch.cat(list(state)) if state else torch.empty(0, dtype=sum_dtype(device), device=device)
