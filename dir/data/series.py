"""Windows of a time series: rows sorted by series and time, and the runs of rows at equal steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dir._checks import message

# Share of rows at the time of another row of their series, above which the file probably holds several series.
MOST_SHARED = 0.05


class Series(NamedTuple):
    """Rows in the order of their series and their time.

    Args:
        order: number of each row, sorted by series and time, [N].
        run: for each sorted row the number of rows before it at equal steps, without a gap, [N].
        step: the most frequent difference of time between neighbouring rows.
        irregular: number of other differences; each ends a run.
        series: number of series.
    """

    order: NDArray[np.int64]
    run: NDArray[np.int64]
    step: float
    irregular: int
    series: int

    def windows(self, length: int, horizon: int = 0) -> NDArray[np.int64]:
        """Return the rows of each window of ``length`` rows that ``horizon`` rows follow, all at equal steps.

        Returns:
            ``[M, length + horizon]`` row numbers, in the order of time within a series; the last column is the row
            of the label.

        Example:
            >>> find_series(np.array([0.0, 1, 2, 3, 7, 8]), np.zeros(6)).windows(2, horizon=1).tolist()
            [[0, 1, 2], [1, 2, 3]]
        """
        total = length + horizon
        ends = np.flatnonzero(self.run >= total - 1)
        rows: NDArray[np.int64] = self.order[ends[:, None] + np.arange(1 - total, 1)]
        return rows


def find_series(times: NDArray[np.float64], keys: NDArray[Any], step: float | None = None) -> Series:
    """Return the rows of each series in the order of time, and their runs at equal steps.

    Args:
        times: time of each row, finite, [N].
        keys: series of each row, numbers or texts, [N].
        step: the step. None (default): the most frequent difference of time within a series.

    Raises:
        ValueError: if no series has two rows of different times, or many rows have the time of another row of
            their series.

    Example:
        >>> found = find_series(np.array([3.0, 1, 2, 9, 10]), np.array(["a", "a", "a", "b", "b"]))
        >>> found.order.tolist(), found.run.tolist(), found.step
        ([1, 2, 0, 3, 4], [0, 1, 2, 0, 1], 1.0)
    """
    codes, key = np.unique(keys, return_inverse=True)
    order = np.lexsort((times, key))
    same = np.diff(key[order]) == 0
    difference = np.diff(times[order])
    within = difference[same]
    shared = int((within == 0).sum())
    if shared > MOST_SHARED * len(times):
        problem = f"{shared} of {len(times)} rows have the time of another row of their series"
        advice = "Set data.group to the columns that tell the series apart, or name all columns of the time."
        raise ValueError(message("data.time", problem, advice=advice))
    if step is None:
        step = _most_frequent(within[within > 0])
    regular = same & (np.abs(difference - step) <= 1e-6 * step)
    breaks = np.flatnonzero(~np.concatenate([[False], regular])) if len(times) else np.zeros(0, dtype=np.int64)
    first = np.zeros(len(times), dtype=np.int64)
    first[breaks] = breaks
    run = np.arange(len(times)) - np.maximum.accumulate(first)
    return Series(order, run, step, int((same & ~regular).sum()), len(codes))


def _most_frequent(differences: NDArray[np.float64]) -> float:
    if not len(differences):
        problem = "no series has two rows of different times"
        advice = "Check data.time, and that data.group names series of several rows."
        raise ValueError(message("data.window", problem, advice=advice))
    # Differences of decimal times such as 0.1 are equal only up to rounding.
    unit = float(np.median(differences)) * 1e-6
    _, place, counts = np.unique(np.round(differences / unit), return_index=True, return_counts=True)
    return float(differences[place[counts.argmax()]])
