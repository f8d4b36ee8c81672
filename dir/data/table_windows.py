"""Windows of the rows of a table: the last rows of a time series as the features of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir._checks import check_integer, message
from dir.data.problems import Problems, list_setting, shown
from dir.data.series import Series, find_series
from dir.data.splits import Names
from dir.data.table_checks import leak_of
from dir.data.table_reading import Beside
from dir.data.table_times import TimeColumns
from dir.data.tables import with_columns
from dir.data.window_encoder import lagged, widen


class Windowed(NamedTuple):
    """Windows of a table.

    Args:
        table: one row per window, its features and its label; the index is the row of the label in the file.
        names: split of each window.
        inputs: features of single rows, and ``rows`` the positions of the rows of each window in it, [M, length].
        step: difference of time between the rows of a window.
        notes: lines for the report of the data.
    """

    table: pd.DataFrame
    names: Names
    inputs: pd.DataFrame
    rows: NDArray[np.int64]
    step: float
    notes: list[str]


@dataclass(frozen=True)
class WindowSettings:
    """Settings of windows; see :class:`dir.data.TabularData`."""

    length: int
    horizon: int
    lags: bool

    def check(self, time: Sequence[str]) -> None:
        """Raise a ValueError for settings out of range, and for windows that would hold their own label."""
        check_integer("data.window", self.length)
        check_integer("data.horizon", self.horizon, minimum=0)
        if self.lags and self.horizon == 0:
            problem = "the last row of a window holds its own label if data.lags=true"
            raise ValueError(message("data.horizon", problem, 0, "Set data.horizon=1 or data.lags=false."))
        if not time:
            advice = "Set data.time=COLUMN, or data.time=[year,month,day,hour]."
            raise ValueError(message("data.window", "needs data.time, which orders the rows", self.length, advice))

    def make(
        self,
        table: pd.DataFrame,
        beside: Beside,
        names: Names,
        target: str,
        problems: Problems,
        step: float | None = None,
    ) -> Windowed:
        """Return the windows of a table.

        Args:
            table: features and target, which may be missing; the index is the row in the file.
            beside: time and group of each row.
            names: split of each row. No window crosses the border of a split or of a group.
            target: column of the labels.
            problems: gets features that leak the label, and splits without a window.
            step: difference of time between the rows. None (default): the most frequent one.
        """
        assert beside.time is not None
        assert beside.time_columns is not None
        groups = np.zeros(len(table), dtype="U1") if beside.group is None else beside.group
        found = find_series(beside.time, np.char.add(np.char.add(names, "\x1f"), groups), step)
        rows = found.windows(self.length, self.horizon)
        labels = table[target].to_numpy(np.float64)[rows[:, -1]]
        labelled = np.isfinite(labels)
        rows, labels = rows[labelled], labels[labelled]
        inputs = table if self.lags else table.drop(columns=target)
        ends = rows[:, -1]
        rows = rows[:, : self.length]
        wide = with_columns(widen(inputs, rows), {target: labels})
        wide.index = table.index[ends]
        missing = int((~labelled).sum())
        count = 1 if beside.group is None else len(np.unique(groups))
        notes = [self._note(found, beside.time_columns, count, len(wide), missing)]
        for name in np.unique(names):
            if not (names[ends] == name).any():
                problem = f"no window of {self.length} rows and a label {self.horizon} steps later for {name}"
                problems.add(problem, f"{notes[0][0].upper()}{notes[0][1:]}. Set a smaller data.window.")
        return Windowed(wide, names[ends], inputs, rows, found.step, notes)

    def find_leaks(self, windows: Windowed, target: str, problems: Problems) -> None:
        """Add the numeric features that equal the label, or rise or fall with it, at any row of the windows.

        Earlier values of the target itself are no leak.
        """
        labels = windows.table[target].to_numpy(np.float64)
        for name in windows.inputs.columns:
            if name == target or windows.inputs[name].dtype != np.float64:
                continue
            for lag in range(self.length):
                kind = leak_of(windows.table[lagged(name, lag)].to_numpy(np.float64), labels)
                if kind:
                    place = f"{lag} rows before the end of a window" if lag else "at the end of a window"
                    advice = f"Set {list_setting('data.drop', [name])}, or data.leaks=allow if this is intended."
                    problems.add(f"column {shown(name)} {place} {kind} {shown(target)}: it leaks the label", advice)
                    break

    def _note(self, found: Series, times: TimeColumns, groups: int, count: int, missing: int) -> str:
        step = f"{found.step:g} {times.unit}".rstrip()
        if times.unit == "second":
            step = str(pd.Timedelta(seconds=found.step))
        past = "with" if self.lags else "without"
        return (
            f"{count} windows of {self.length} rows at steps of {step}, {past} the target's past, label "
            f"{self.horizon} steps later; {groups} series; {found.irregular} irregular steps, which end windows; "
            f"{missing} windows left out because their label is missing"
        )


def window_settings(window: int | None, horizon: int, lags: bool, time: Sequence[str]) -> WindowSettings | None:
    """Return the checked settings of windows, or None without ``data.window``.

    Raises:
        ValueError: see :meth:`WindowSettings.check`; or settings of windows without ``data.window``.
    """
    if window is not None:
        found = WindowSettings(window, horizon, lags)
        found.check(time)
        return found
    for key, value, default in (("data.horizon", horizon, 1), ("data.lags", lags, True)):
        if value != default:
            raise ValueError(message(key, "only applies to windows", value, "Set data.window=N."))
    return None


def check_not_with_windows(importance: str | None, categories: str, targets: Sequence[str]) -> None:
    """Raise a ValueError for settings of :class:`dir.data.TabularData` that windows do not have."""
    remove = "Remove it, or remove data.window."
    if importance is not None:
        raise ValueError(message("data.importance", "rows have an importance, windows have none", importance, remove))
    if categories == "embed":
        raise ValueError(message("data.categories", "categories in windows are one-hot", categories, remove))
    if len(targets) > 1:
        advice = "Train one run for each target, or remove data.window."
        raise ValueError(message("data.target", "windows have one target", list(targets), advice))
