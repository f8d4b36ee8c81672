"""Reading of a table for training: every column checked, in the role that the settings give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir._checks import message
from dir.data.csv_reading import CsvOptions, read_table, sniff
from dir.data.describe import describe_columns
from dir.data.importance import find_importance
from dir.data.problems import Problems, show_rows, shown
from dir.data.splits import Names, read_split
from dir.data.table_checks import (
    find_bad_dates,
    find_index_columns,
    find_leaks,
    find_letters,
    find_missing,
    find_numbers,
    guess_categories,
    is_text,
    require_columns,
    select_columns,
)
from dir.data.table_times import TimeColumns, decide_times
from dir.data.tables import expand_dates, expand_letters, letter_columns, with_columns

Missing = Literal["refuse", "median", "drop"]
Leaks = Literal["refuse", "allow"]


@dataclass(frozen=True)
class ColumnRoles:
    """Columns that the settings of a table name; see :class:`dir.data.TabularData`."""

    targets: tuple[str, ...]
    categorical: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    split: str | None = None
    time: tuple[str, ...] = ()
    importance: str | None = None

    @property
    def beside(self) -> dict[str, tuple[str, ...]]:
        """Columns that say something about a row besides its features and its target, by config key."""
        return {
            "data.group": self.group,
            "data.time": self.time,
            "data.split_column": as_names(self.split),
            "data.importance": as_names(self.importance),
        }


class Beside(NamedTuple):
    """What is known of each row besides its features and its target; None where no setting asks for it.

    Args:
        group: identity of each row, [N].
        split: split of each row by ``data.split_column``, [N].
        time: time of each row, float64 [N].
        time_columns: how the time is read.
        importance: importance of each row, float64 [N].
    """

    group: NDArray[np.str_] | None = None
    split: Names | None = None
    time: NDArray[np.float64] | None = None
    time_columns: TimeColumns | None = None
    importance: NDArray[np.float64] | None = None


class CheckedTable(NamedTuple):
    """A checked table.

    Args:
        table: features and target, numbers as float64, dates expanded; the index counts the rows of the file from 0.
        beside: group, split, time and importance of the rows.
        categorical: names of the categorical columns, those of letters last.
        raw: columns of features and target in the file.
        letters: length of the texts of each column of ``data.letters``.
        columns: report of each column of the file.
    """

    table: pd.DataFrame
    beside: Beside
    categorical: list[str]
    raw: list[str]
    letters: dict[str, int]
    columns: dict[str, dict[str, Any]]


def read_training_table(
    path: Path, roles: ColumnRoles, options: CsvOptions, missing: Missing, leaks: Leaks, lags: bool | None = None
) -> CheckedTable:
    """Read the file that a model is trained on.

    Args:
        path: the file.
        roles: columns that the settings name.
        options: how the file is written.
        missing, leaks: policies, see :class:`dir.data.TabularData`.
        lags: for windows, whether the target is an input. The target may be missing in windows, and the leaks of
            windows are not looked for here. None (default): no windows.

    Raises:
        ValueError: with all problems of the file.
    """
    raw = read_table(path, "data.path", options, roles.letters)
    problems = Problems(str(path))
    given = {
        "data.target": roles.targets,
        "data.drop": roles.drop,
        "data.categorical": roles.categorical or (),
        "data.dates": roles.dates,
        "data.letters": roles.letters,
        **roles.beside,
    }
    # A time that is text only orders the rows, unless it is among the dates.
    apart = [name for name in roles.time if name in raw and is_text(raw[name]) and name not in roles.dates]
    apart += [*roles.group, *(name for name in (roles.split, roles.importance) if name is not None)]
    table = select_columns(raw, given, roles.targets, apart, sniff(path, options), problems)
    kinds = dict.fromkeys(raw.columns, "dropped")
    kinds |= dict.fromkeys(roles.time, "time") | dict.fromkeys(roles.group, "group")
    named = ((roles.split, "split"), (roles.importance, "importance"))
    kinds |= {name: kind for name, kind in named if name is not None}
    table, categorical = _check(table, roles, None, problems, kinds)
    letters = {name: find_letters(table[name], problems) for name in roles.letters}
    kept = _complete(table, roles.targets, missing, lags, problems)
    beside = _read_beside(raw, kept.index.to_numpy(), roles, path, problems)
    if leaks == "refuse" and lags is None:
        others = {*categorical, *roles.dates, *roles.letters, *roles.targets}
        numeric = [name for name in kept.columns if name not in others and kept[name].dtype == np.float64]
        for target in roles.targets:
            find_leaks(kept, numeric, target, problems)
    problems.raise_all()
    report = describe_columns(raw, kinds)
    positions = [column for name, length in letters.items() for column in letter_columns(name, length)]
    expanded = _expand(kept, roles, letters, path)
    return CheckedTable(expanded, beside, categorical + positions, list(kept.columns), letters, report)


def read_test_table(
    path: Path,
    training: CheckedTable,
    source: Path,
    roles: ColumnRoles,
    options: CsvOptions,
    missing: Missing,
    lags: bool | None = None,
) -> tuple[pd.DataFrame, Beside]:
    """Read a file of test rows, with the columns of the training file; other columns are ignored.

    Args:
        path: the file.
        training: the training table, and ``source`` its file.
        roles, options, missing, lags: as for :func:`read_training_table`.

    Returns:
        features and target; for windows also the time and the group of each row.

    Returns:
        features and target, and the importance of the rows or None.

    Raises:
        ValueError: with all problems of the file.
    """
    raw = read_table(path, "data.test_path", options, roles.letters)
    apart = [] if lags is None else [*roles.time, *roles.group]
    apart += [] if roles.importance is None else [roles.importance]
    require_columns(raw, [*training.raw, *apart], path, f"a column of {source}", sniff(path, options))
    problems = Problems(str(path))
    table, _ = _check(raw[training.raw], roles, training.categorical, problems, {})
    for name, length in training.letters.items():
        find_letters(table[name], problems, length)
    table = _complete(table, roles.targets, missing, lags, problems)
    known = training.beside.time_columns
    # Rows of a test file have their split already. Time and group only matter to windows.
    beside_roles = replace(roles, split=None) if lags is not None else replace(roles, split=None, time=(), group=())
    beside = _read_beside(raw, table.index.to_numpy(), beside_roles, path, problems, known)
    problems.raise_all()
    return _expand(table, roles, training.letters, path), beside


def _complete(
    table: pd.DataFrame, targets: Sequence[str], missing: Missing, lags: bool | None, problems: Problems
) -> pd.DataFrame:
    """Apply the policy for missing values to features and target, or for windows to their inputs."""
    if lags is None:
        return find_missing(table, targets, missing, problems)
    inputs = table if lags else table.drop(columns=list(targets))
    return table.loc[find_missing(inputs, (), missing, problems).index]


def _expand(table: pd.DataFrame, roles: ColumnRoles, letters: dict[str, int], path: Path) -> pd.DataFrame:
    """Return the table with the columns that dates and texts become."""
    if letters:
        taken = [one for name in letters for one in letter_columns(name, letters[name]) if one in table.columns]
        if taken:
            problem = f"the file has a column {taken[0]!r}, the name of a position of data.letters"
            raise ValueError(message(str(path), problem, advice="Rename the column."))
        table = expand_letters(table, letters)
    return expand_dates(table, roles.dates) if roles.dates else table


def _check(
    table: pd.DataFrame, roles: ColumnRoles, categorical: list[str] | None, problems: Problems, kinds: dict[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with numbers as float64, and its categorical columns; fill in the kinds of its columns.

    Args:
        table: features and target.
        roles: columns that the settings name.
        categorical: categorical columns of the training file; None for the training file itself.
        problems: gets the problems.
        kinds: gets the kind of each column.
    """
    features = table.drop(columns=list(roles.targets))
    find_index_columns(features, problems)
    guessed = categorical is None and roles.categorical is None
    if categorical is None:
        others = features.drop(columns=[*roles.dates, *roles.letters])
        categorical = guess_categories(others, problems) if guessed else list(roles.categorical or ())
    texts = {name for name in features.columns if pd.api.types.is_string_dtype(features[name])}
    numeric = [name for name in features.columns if name not in {*categorical, *roles.dates, *roles.letters}]
    # Columns of text that are no categories are among the problems already, if the categories were guessed.
    checked = [name for name in numeric if name not in texts] if guessed else numeric
    numbers = {name: find_numbers(table[name], problems) for name in [*checked, *roles.targets]}
    for name in roles.dates:
        find_bad_dates(table[name], problems)
    kinds |= dict.fromkeys(numeric, "number") | dict.fromkeys(categorical, "category")
    kinds |= dict.fromkeys(roles.dates, "date") | dict.fromkeys(roles.letters, "letters")
    kinds |= dict.fromkeys(roles.targets, "target")
    return with_columns(table, numbers), categorical


def _read_beside(
    raw: pd.DataFrame,
    kept: NDArray[np.int64],
    roles: ColumnRoles,
    path: Path,
    problems: Problems,
    known: TimeColumns | None = None,
) -> Beside:
    """Return group, split, time and importance of the kept rows; ``known`` is the form of the training times."""
    group = split = time = columns = importance = None
    rows = raw.loc[kept]
    for name in roles.group:
        gone = rows[name].isna().to_numpy()
        if gone.any():
            problems.add(f"column {shown(name)}: missing values in rows {show_rows(kept[gone])}")
    if roles.group:
        parts = [rows[name].to_numpy(dtype="U") for name in roles.group]
        # The unit separator keeps ("a", "bc") and ("ab", "c") apart.
        group = parts[0] if len(parts) == 1 else np.array(["\x1f".join(row) for row in zip(*parts, strict=True)])
    if roles.split is not None:
        values = raw[roles.split].astype("str").to_numpy(dtype="U")
        split = read_split(values, f"{path}: column {roles.split!r}", first_row=1)[kept]
    if roles.time:
        columns = decide_times(rows, roles.time, problems, known)
        time = None if columns is None else columns.values(rows)
    if roles.importance is not None:
        importance = find_importance(rows[roles.importance], problems)
    return Beside(group, split, time, columns, importance)


def as_names(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a setting that takes one column, several, or none."""
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)
