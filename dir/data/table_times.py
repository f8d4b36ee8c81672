"""Columns of time as numbers that can be compared: one column of numbers or dates, or year, month, day, hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir._checks import message
from dir.data.dates import parse_dates
from dir.data.problems import Problems, listed, show_rows, shown
from dir.data.tables import parse_numbers

CALENDAR = ("year", "month", "day", "hour", "minute", "second")
_SECONDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
Form = Literal["number", "date", "month", "calendar"]
FORMS: tuple[Form, ...] = ("number", "date", "month", "calendar")


class TimeColumns(NamedTuple):
    """Columns that hold the time of a row, and how they are read.

    Args:
        columns: one column, or the calendar columns from the year to the finest one.
        form: "number" (one column of numbers), "date" (one column of dates, in seconds), "month" (one column of
            dates that are the same day of each month, in months) or "calendar" (several columns, in the unit of the
            finest one).
    """

    columns: tuple[str, ...]
    form: Form

    @property
    def unit(self) -> str:
        """Unit of the values; empty for numbers."""
        return {"number": "", "date": "second", "month": "month", "calendar": self.columns[-1].lower()}[self.form]

    def values(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the time of each row, float64 [N], NaN where it is missing or cannot be read.

        Example:
            >>> frame = pd.DataFrame({"year": [2013, 2014], "month": [12, 1]})
            >>> np.diff(TimeColumns(("year", "month"), "calendar").values(frame)).tolist()
            [1.0]
        """
        if self.form == "number":
            numbers: NDArray[np.float64] = parse_numbers(table[self.columns[0]]).to_numpy(np.float64)
            return numbers
        if self.form == "calendar":
            parts = {name.lower(): parse_numbers(table[name]).to_numpy(np.float64) for name in self.columns}
            return _calendar(parts, self.unit)
        at = parse_dates(table[self.columns[0]])
        if self.form == "month":
            months: NDArray[np.float64] = (at.dt.year * 12 + at.dt.month - 1).to_numpy(np.float64)
            return months
        return _seconds(at)

    def bound(self, value: Any, option: str) -> float:
        """Return a border such as 2014, [2014, 6] or "2014-06-01" in the unit of the values.

        Args:
            value: a number or a date; for calendar columns the value of the first column, or a list of the first
                values.
            option: config key of the border, for messages.

        Raises:
            ValueError: for a value of another form.
        """
        parts = list(value) if isinstance(value, list | tuple) else [value]
        columns = self.columns if self.form == "calendar" else self.columns[:1]
        kind = "a date" if self.form in ("date", "month") else "a number"
        expected = f"expected {kind}" if len(columns) == 1 else f"expected {kind}, or a list for {listed(columns)}"
        found = np.array([np.nan])
        if 1 <= len(parts) <= len(columns):
            if self.form == "calendar":
                first = dict.fromkeys((name.lower() for name in self.columns), 1)
                first |= {name: 0 for name in CALENDAR[3:] if name in first}
                first |= dict(zip(first, parts, strict=False))
                row = pd.DataFrame({name: [first[name.lower()]] for name in self.columns})
            else:
                row = pd.DataFrame({self.columns[0]: parts})
            found = self.values(row)
        if not np.isfinite(found[0]):
            raise ValueError(message(option, expected, value))
        return float(found[0])


def decide_times(
    table: pd.DataFrame, columns: Sequence[str], problems: Problems, known: TimeColumns | None = None
) -> TimeColumns | None:
    """Return how the columns of ``data.time`` are read; missing values and values that are no times are problems.

    Args:
        table: rows with the columns.
        columns: one column of numbers or dates, or calendar columns (year, month, day, ...) in this order.
        problems: gets the problems.
        known: how the same columns of the training file were read. Default: None, the values decide.

    Returns:
        None if there is a problem.
    """
    names = tuple(columns)
    kind = "times"
    if known is not None:
        times = known
    elif len(names) > 1:
        if tuple(name.lower() for name in names) != CALENDAR[: len(names)]:
            problem = f"data.time={listed(names)}: several columns must be {', '.join(CALENDAR)}, from the year on"
            problems.add(problem, "Name one column of numbers or dates, or rename the columns.")
            return None
        times = TimeColumns(names, "calendar")
    elif pd.api.types.is_numeric_dtype(table[names[0]]):
        times, kind = TimeColumns(names, "number"), "finite numbers"
    else:
        at, kind = parse_dates(table[names[0]]), "dates"
        same_day = at.nunique() > 2 and (at.dt.strftime("%d %H:%M:%S").dropna().nunique() == 1)
        times = TimeColumns(names, "month" if same_day else "date")
    wrong = np.flatnonzero(~np.isfinite(times.values(table)))
    if len(wrong):
        first = [table[name].iloc[wrong[0]] for name in names]
        problem = f"data.time={listed(names)}: {len(wrong)} rows have no {kind} there, the first is"
        example = shown(first if names[1:] else first[0])
        rows = show_rows(table.index.to_numpy()[wrong])
        problems.add(f"{problem} {example}; rows {rows}", "Correct or remove these rows.")
        return None
    return times


def _calendar(parts: dict[str, NDArray[np.float64]], unit: str) -> NDArray[np.float64]:
    """Return calendar columns as one number per row, in units of the finest column, NaN for impossible dates."""
    whole = np.all([np.isfinite(part) & (part == np.round(part)) for part in parts.values()], axis=0)
    if unit == "month":
        months = parts["year"] * 12 + parts["month"] - 1
        return np.where(whole & (parts["month"] >= 1) & (parts["month"] <= 12), months, np.nan)
    given = {name: pd.Series(np.where(whole, part, 0)).astype("int64") for name, part in parts.items()}
    values = _seconds(pd.to_datetime(pd.DataFrame(given)[[*parts]], errors="coerce", utc=True)) / _SECONDS[unit]
    return np.where(whole, values, np.nan)


def _seconds(at: pd.Series[Any]) -> NDArray[np.float64]:
    return np.asarray((at - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1), dtype=np.float64)
