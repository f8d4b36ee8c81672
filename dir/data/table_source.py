"""The samples of a table: its files read and checked, the split of each sample, and windows of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir._checks import message
from dir.data.category_codes import CodeEncoder
from dir.data.csv_reading import CsvOptions, csv_row_ids
from dir.data.problems import Problems
from dir.data.splits import Names
from dir.data.table_reading import (
    Beside,
    CheckedTable,
    ColumnRoles,
    Leaks,
    Missing,
    read_test_table,
    read_training_table,
)
from dir.data.table_splits import SplitSettings, draw_split
from dir.data.table_windows import Windowed, WindowSettings
from dir.data.tables import MAX_ONE_HOT, TableEncoder, letter_columns
from dir.data.window_encoder import WindowEncoder

Encoder = TableEncoder | CodeEncoder | WindowEncoder


@dataclass
class TableSource:
    """Samples of one or two csv files; a sample is a row, or a window of rows.

    Args:
        path: training file.
        test_path: second file with the test rows, or None.
        roles, options, missing, leaks, splitting: see :class:`dir.data.TabularData`.
        windows: settings of windows; None: a sample is a row.
        embed: whether categories are codes, which a network embeds, rather than one-hot columns.
    """

    path: Path
    test_path: Path | None
    roles: ColumnRoles
    options: CsvOptions
    missing: Missing
    leaks: Leaks
    splitting: SplitSettings
    windows: WindowSettings | None
    embed: bool = False
    notes: list[str] = field(default_factory=list)
    checked: CheckedTable = field(init=False)
    windowed: Windowed | None = None
    parts: list[tuple[Path, pd.DataFrame]] = field(default_factory=list)
    test_importance: NDArray[np.float64] | None = None  # of the rows of the last read_test

    @property
    def lags(self) -> bool | None:
        """Whether the target is an input of windows; None without windows."""
        return None if self.windows is None else self.windows.lags

    def read(self) -> pd.DataFrame:
        """Read the files and return all samples, features and target, those of the test file last.

        Raises:
            FileNotFoundError: if a file is not there.
            ValueError: with all problems of a file.
        """
        self.checked = read_training_table(self.path, self.roles, self.options, self.missing, self.leaks, self.lags)
        self.windowed = None
        table = self.checked.table
        if self.windows is not None:
            # No window crosses the border of a split, so that the rows are split before windows are made.
            self.windowed = self._windows(self.windows, self.path, table, self.checked.beside, self._draw())
            self.notes += self.windowed.notes
            table = self.windowed.table
        self.parts = [(self.path, table)]
        if self.test_path is not None:
            self.parts.append((self.test_path, self.read_test(self.test_path)))
        return pd.concat([part for _, part in self.parts]) if len(self.parts) > 1 else table

    def names(self) -> Names:
        """Return the split of each sample."""
        own = self._draw() if self.windowed is None else self.windowed.names
        return np.concatenate([own, *(np.full(len(part), "test") for _, part in self.parts[1:])])

    def read_test(self, path: Path) -> pd.DataFrame:
        """Return the samples of a file of test rows, features and target, in the form of the training samples."""
        known = self.checked
        args = (path, known, self.path, self.roles, self.options, self.missing, self.lags)
        table, beside = read_test_table(*args)
        self.test_importance = beside.importance
        if self.windows is None or self.windowed is None:
            return table
        names = np.full(len(table), "test")
        return self._windows(self.windows, path, table, beside, names, self.windowed.step).table

    def importance(self) -> NDArray[np.float64]:
        """Return the importance of each sample, those of the test file last; only with ``roles.importance``."""
        known = [self.checked.beside.importance, self.test_importance if len(self.parts) > 1 else None]
        return np.concatenate([part for part in known if part is not None])

    def fit_encoder(self, samples: pd.DataFrame, train: NDArray[np.int64]) -> Encoder:
        """Return an encoder fitted on the training samples; for windows on their rows, each row once.

        Args:
            samples: all samples without the target.
            train: positions of the training samples.

        Raises:
            ValueError: a column has more categories than can be one-hot, or there are no categories to embed.
        """
        alike = [letter_columns(name, length) for name, length in self.checked.letters.items()]
        if self.embed and not self.checked.categorical:
            problem = "the table has no column of categories to embed"
            advice = "Name the columns in data.categorical, or remove data.categories."
            raise ValueError(message("data.categories", problem, "embed", advice))
        encoder = TableEncoder(self.checked.categorical, alike, None if self.embed else MAX_ONE_HOT)
        if self.windowed is None:
            fitted = encoder.fit(samples.iloc[train])
            return CodeEncoder(fitted) if self.embed else fitted
        rows = np.unique(self.windowed.rows[train])
        return WindowEncoder(encoder.fit(self.windowed.inputs.iloc[rows]), self.windowed.rows.shape[1])

    def kept_encoder(self, saved: dict[str, Any]) -> Encoder:
        """Return the encoder of a saved :meth:`encoding`."""
        encoder = TableEncoder.from_dict(saved["encoder"])
        if saved["encoder"].get("codes", False):
            return CodeEncoder(encoder)
        return encoder if self.windows is None else WindowEncoder(encoder, self.windows.length)

    def encoding(self, columns: Sequence[str], encoder: Encoder) -> dict[str, Any]:
        """Return how samples are made and encoded, as plain values for the model bundle.

        Args:
            columns: features of a row.
            encoder: the fitted encoder.
        """
        found = {
            "kind": "table",
            "columns": list(columns),
            "target": self.roles.targets[0],
            "missing": self.missing,
            "encoder": encoder.to_dict(),
            "dates": list(self.roles.dates),
            "csv": self.options.to_dict(),
        }
        if self.checked.letters:
            found["letters"] = self.checked.letters
        times = self.checked.beside.time_columns
        if self.windows is not None and self.windowed is not None and times is not None:
            found |= {"kind": "windows", "columns": list(self.windowed.inputs.columns)}
            found["windows"] = {
                "length": self.windows.length,
                "horizon": self.windows.horizon,
                "step": self.windowed.step,
                "time": list(times.columns),
                "form": times.form,
                "group": list(self.roles.group),
            }
        return found

    def row_ids(self) -> list[str]:
        """Return the id of each sample: that of its row, or for a window that of the row of its label."""
        ids = []
        for path, table in self.parts:
            own = csv_row_ids(path, self.roles.targets, self.options)
            ids += [own[row] for row in table.index.tolist()]
        return ids

    def _draw(self) -> Names:
        drawn, self.notes = draw_split(
            self.checked.table,
            self.roles.targets,
            self.splitting,
            str(self.path),
            self.checked.beside,
            self.test_path is not None,
        )
        return drawn

    def _windows(
        self,
        windows: WindowSettings,
        path: Path,
        table: pd.DataFrame,
        beside: Beside,
        names: Names,
        step: float | None = None,
    ) -> Windowed:
        problems = Problems(str(path))
        (target,) = self.roles.targets  # several targets of windows are refused
        made = windows.make(table, beside, names, target, problems, step)
        if self.leaks == "refuse" and step is None:
            windows.find_leaks(made, target, problems)
        problems.raise_all()
        return made
