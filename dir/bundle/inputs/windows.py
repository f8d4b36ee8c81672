"""Windows of the rows of a table: one prediction for each window that the rows form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dir._checks import message
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs.rows import Inputs, Rows
from dir.bundle.inputs.tables import TableInputs, TableRows
from dir.data.problems import Problems, show_rows, shown
from dir.data.series import find_series
from dir.data.table_times import FORMS, TimeColumns, decide_times
from dir.data.tables import TableEncoder
from dir.data.window_encoder import WindowEncoder, widen

_MOST_REASONS = 3


class Found(NamedTuple):
    """Windows of a frame: ``rows`` [M, length], and the row of each label [M], -1 where the frame has none."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]


class WindowRows(Rows):
    """Windows of checked rows, in the order of their last rows.

    Args:
        table: the rows.
        encoder: encoder of one row.
        windows: positions of the rows of each window, oldest first, [M, length].
    """

    def __init__(self, table: TableRows, encoder: TableEncoder, windows: NDArray[np.int64]) -> None:
        super().__init__(len(windows))
        self.numbers = windows[:, -1].tolist()
        self._rows = windows
        self._table = table.table
        self._encoder = encoder
        self._encoded: Tensor | None = None
        bad = np.zeros(table.count, dtype=bool)
        bad[list(table.problems)] = True
        for window in np.flatnonzero(bad[windows].any(axis=1)).tolist():
            rows = [row for row in windows[window].tolist() if bad[row]]
            reasons = [f"row {row + 1}: {table.problems[row]}" for row in rows[:_MOST_REASONS]]
            more = [f"and {len(rows) - _MOST_REASONS} more rows"] if len(rows) > _MOST_REASONS else []
            self.problems[window] = "; ".join(reasons + more)

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        if self._encoded is None:
            self._encoded = self._encoder(self._table)
        return indices, self._encoded[self._rows[indices]].flatten(1)

    def frame(self, indices: list[int]) -> pd.DataFrame:
        windows = self._rows[indices]
        return WindowEncoder(self._encoder, windows.shape[1]).complete(widen(self._table, windows))


class WindowInputs(TableInputs):
    """A frame with the columns of the training table, and those of its time and its groups.

    Attributes:
        length: rows of a window.
        horizon: steps from the last row of a window to the row of its label.
    """

    kind = "windows"

    def __init__(self, fields: Fields) -> None:
        super().__init__(fields)
        if self.codes:
            raise BundleError(message(fields.name("encoder.codes"), "categories in windows are one-hot", True))
        windows = fields.section("windows")
        self.length = windows.integer("length", 1, 2**16)
        self.horizon = windows.integer("horizon", 0, 2**31)
        self.step = windows.positive("step")
        columns, form = windows.texts("time"), windows.choice("form", FORMS)
        if not columns or (form != "calendar" and len(columns) > 1):
            raise BundleError(message(windows.name("time"), f"not the columns of the form {form!r}", columns))
        self.time = TimeColumns(tuple(columns), next(known for known in FORMS if known == form))
        self.group = windows.texts("group")

    @property
    def needed(self) -> list[str]:
        return list(dict.fromkeys([*self.raw, *self.time.columns, *self.group]))

    def open(self, inputs: Any, **options: Any) -> WindowRows:  # type: ignore[override]
        """Return the windows that the rows form; options as for :meth:`TableInputs.open`.

        Raises:
            ValueError: if the rows form no window, or lack a time or a group.
        """
        frame = self._frame(inputs)
        table = super().open(frame, **options)
        windows = self.find(frame).rows
        if not len(windows):
            problem = f"{len(frame)} rows form no window of {self.length} rows at equal steps"
            advice = "Give at least as many rows of one series, without gaps."
            raise ValueError(message("inputs", problem, advice=advice))
        return WindowRows(table, self.encoder, windows)

    def find(self, inputs: Any) -> Found:
        """Return the windows that the rows form, in the order of their last rows."""
        frame = self._frame(inputs)
        problems = Problems("inputs")
        decide_times(frame, self.time.columns, problems, self.time)
        for name in self.group:
            gone = np.flatnonzero(frame[name].isna().to_numpy())
            if len(gone):
                problems.add(f"column {shown(name)}: missing values in rows {show_rows(gone)}")
        problems.raise_all()
        keys = np.zeros(len(frame), dtype="U1")
        for name in self.group:
            keys = np.char.add(np.char.add(keys, "\x1f"), frame[name].to_numpy(dtype="U"))
        series = find_series(self.time.values(frame), keys, self.step)
        windows = series.windows(self.length)
        labelled = series.windows(self.length, self.horizon)
        label_of = np.full(len(frame), -1, dtype=np.int64)
        label_of[labelled[:, self.length - 1]] = labelled[:, -1]
        windows = windows[np.argsort(windows[:, -1])]
        return Found(windows, label_of[windows[:, -1]])
