"""Warning for an FDS layer that collects samples without a call of end_epoch()."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable
from types import FrameType, FunctionType
from typing import Any

# Batches without end_epoch() after which a layer that has never ended an epoch warns.
_BATCHES = 1_000
# The same in units of the longest epoch that the layer has ended, and the least number of batches.
_EPOCHS = 1.5
_FEW_BATCHES = 5


class EpochReminder:
    """Count the samples since the last ``end_epoch()`` and warn once if there are too many.

    The counters are Python numbers, so that counting neither waits for a device nor changes the state_dict.
    """

    def __init__(self) -> None:
        self._batches = 0
        self._samples = 0
        self._longest: int | None = None
        self._warned = False

    def collected(self, samples: int) -> None:
        """Count a batch, and warn if the epoch is longer than any that was ended."""
        self._batches += 1
        self._samples += samples
        if self._warned:
            return
        if self._batches == 1 and self._longest is None and _never_ended_by_lightning():
            self._warned = True
            warnings.warn(
                "The Trainer has no EndEpoch callback, and no callback or method of the LightningModule calls "
                "end_epoch(), so that FDS would never calibrate. Add dir.callbacks.lightning.EndEpoch() to the "
                "callbacks of the Trainer. Ignore this warning if other code calls fds.end_epoch() in each epoch.",
                stacklevel=5,
            )
            return
        if self._longest is None:
            late = self._batches > _BATCHES
        else:
            late = self._samples > _EPOCHS * self._longest and self._batches >= _FEW_BATCHES
        if late:
            self._warned = True
            warnings.warn(
                f"FDS has collected {self._samples} samples in {self._batches} batches since its last end_epoch(). "
                "Its statistics and tables only change in end_epoch(): call fds.end_epoch() after each pass over the "
                "training data, or add dir.callbacks.lightning.EndEpoch to the Trainer. Ignore this warning if your "
                "epochs are that long.",
                stacklevel=5,  # past forward() and the two frames of Module.__call__
            )

    def ended(self) -> None:
        """Start to count the next epoch."""
        if self._samples > 0:
            self._longest = max(self._samples, self._longest or 0)
        self._batches = self._samples = 0


def _never_ended_by_lightning() -> bool:
    """Return whether a Lightning Trainer runs this layer, and neither its callbacks nor its module call end_epoch().

    A layer does not know its trainer, so that the trainer is looked up among the callers, once in the first batch.
    """
    if not {"lightning", "pytorch_lightning"} & sys.modules.keys():
        return False
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if type(owner).__name__ == "Trainer" and type(owner).__module__.endswith("trainer.trainer"):
            trainer: Any = owner
            return not any(_calls_end_epoch(part) for part in (trainer.lightning_module, *trainer.callbacks))
        frame = frame.f_back
    return False


def _calls_end_epoch(part: object) -> bool:
    """Return whether a method of the object's class names ``end_epoch``."""
    methods: Iterable[Any] = (inspect.unwrap(value) for cls in type(part).__mro__ for value in vars(cls).values())
    return any(isinstance(method, FunctionType) and "end_epoch" in method.__code__.co_names for method in methods)
