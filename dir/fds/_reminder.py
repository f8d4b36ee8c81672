"""Warning for an FDS layer that collects samples without a call of end_epoch()."""

from __future__ import annotations

import warnings

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
