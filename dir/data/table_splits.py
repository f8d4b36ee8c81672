"""Splits of the rows of a table: random, balanced, by group, by time, or given by a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dir._checks import check_choice, check_integer, message
from dir.data.arrays import automatic_bins
from dir.data.label_types import needs_float64
from dir.data.splits import (
    SPLITS,
    Names,
    balanced_split,
    cap_for_share,
    check_share,
    group_split,
    random_split,
    rarest_bins,
)
from dir.data.table_reading import Beside
from dir.data.table_times import TimeColumns
from dir.data.target_names import varied_target_values

SplitKind = Literal["balanced", "random", "time"]


@dataclass(frozen=True)
class SplitSettings:
    """Settings of :class:`dir.data.TabularData` that decide the split of a row; their meaning stands there."""

    split: SplitKind
    share: float
    split_bins: int
    split_column: str | None
    val_from: Any
    test_from: Any
    seed: int

    def check(self, group: Sequence[str], time: Sequence[str], windows: bool, test_path: str | None) -> None:
        """Raise a ValueError for settings that contradict each other, or that nothing would read."""
        check_choice("data.split", self.split, ("balanced", "random", "time"))
        check_share(self.share)
        check_integer("data.split_bins", self.split_bins)
        by_time, column = self.split == "time", self.split_column
        if by_time and not time:
            advice = "Set data.time=COLUMN, or data.time=[year,month,day]."
            raise ValueError(message("data.split", "needs data.time, the column of the time", self.split, advice))
        if time and not by_time and not windows:
            advice = "Set data.split=time or data.window=N, or remove data.time."
            raise ValueError(
                message("data.time", "orders the rows for data.split=time and data.window", list(time), advice)
            )
        if column is not None and (self.split != "balanced" or test_path is not None):
            other, value = ("data.test_path", test_path) if self.split == "balanced" else ("data.split", self.split)
            problem = f"not possible together with {other}={value}"
            raise ValueError(message("data.split_column", problem, column, "Remove one."))
        given = {"data.val_from": self.val_from, "data.test_from": self.test_from}
        for key, value in given.items():
            if value is not None and not by_time:
                raise ValueError(message(key, "only applies to data.split=time", value, "Set data.split=time."))
        if test_path is not None and self.test_from is not None:
            problem = "not possible together with data.test_path, which holds all test rows"
            raise ValueError(message("data.test_from", problem, self.test_from, "Remove one."))
        if test_path is None and (self.val_from is None) != (self.test_from is None):
            missing = "data.val_from" if self.val_from is None else "data.test_from"
            raise ValueError(
                message(missing, "not set, and the other border of the split is", advice="Set both, or none.")
            )
        if windows and not by_time and column is None and not group:
            problem = "windows of one series overlap, and a random split would train on the rows of test windows"
            advice = "Set data.split=time, data.split_column=COLUMN, or data.group=COLUMN, which draws whole series."
            raise ValueError(message("data.split", problem, self.split, advice))


def draw_split(
    table: pd.DataFrame,
    targets: Sequence[str],
    settings: SplitSettings,
    path: str,
    beside: Beside,
    has_test: bool = False,
) -> tuple[Names, list[str]]:
    """Return the split of each row, and lines about it for the report of the data.

    Args:
        table: rows with features and target.
        targets: columns of the labels.
        settings: how rows are split.
        path: the file, for messages.
        beside: group, time and given split of each row. Whole groups are drawn, unless the split is by time or given.
        has_test: whether the test rows are in another file. Rows that would be test rows are training rows then.
    """
    groups = beside.group
    if beside.split is not None:
        names, by = beside.split, f"column {settings.split_column!r}"
    elif settings.split == "time":
        assert beside.time is not None
        assert beside.time_columns is not None
        names = split_by_time(beside.time_columns, beside.time, settings, path, has_test)
        by = f"time, {_borders(settings)}"
    else:
        drawn = (settings.split, settings.share, settings.split_bins, settings.seed)
        names = split_table(table, targets, *drawn, groups)
        return np.where(names == "val", "val", "train") if has_test else names, []
    counts = ", ".join(f"{int((names == name).sum())} {name}" for name in SPLITS[: 2 if has_test else 3])
    lines = [f"split by {by}: {counts} rows"]
    if groups is not None:
        spread = pd.Series(names).groupby(groups).nunique()
        lines.append(f"groups: {int((spread > 1).sum())} of {len(spread)} have rows in more than one split")
    return names, lines


def split_by_time(
    columns: TimeColumns, times: NDArray[np.float64], settings: SplitSettings, path: str, has_test: bool = False
) -> Names:
    """Return the split of each row: the earliest rows train, then val, then test. Equal times stay together.

    Without borders the latest rows of ``settings.share`` are test rows, and as many before them val rows.

    Raises:
        ValueError: borders of another form or in the wrong order, or a split without rows.
    """
    if settings.val_from is not None:
        val = columns.bound(settings.val_from, "data.val_from")
        test = np.inf if has_test else columns.bound(settings.test_from, "data.test_from")
        if not val < test:
            problem = f"expected a time after data.val_from={settings.val_from}"
            raise ValueError(message("data.test_from", problem, settings.test_from))
    else:
        order = np.sort(times)
        held = round(settings.share * len(times))
        ends = (len(order) - held, len(order)) if has_test else (len(order) - 2 * held, len(order) - held)
        val, test = (order[end] if end < len(order) else np.inf for end in ends)
    names = np.where(times >= test, "test", np.where(times >= val, "val", "train"))
    for name in SPLITS[: 2 if has_test else 3]:
        if not (names == name).any():
            problem = f"data.split=time leaves no row for {name}"
            advice = "Change data.val_from and data.test_from, or data.share."
            raise ValueError(message(path, problem, advice=advice))
    return names


def _borders(settings: SplitSettings) -> str:
    if settings.val_from is not None:
        test = "" if settings.test_from is None else f", test from {settings.test_from}"
        return f"val from {settings.val_from}{test}"
    return f"the latest {settings.share:g} of the rows each"


def split_table(
    table: pd.DataFrame,
    targets: Sequence[str],
    split: Literal["balanced", "random", "time"],
    share: float,
    num_bins: int,
    seed: int,
    groups: NDArray[np.str_] | None = None,
) -> Names:
    """Return a drawn split of each row, the same for all copies of a row.

    Args:
        table: rows with features and target.
        targets: columns of the labels.
        split: ``"random"``, or ``"balanced"`` for about equally many val and test rows in each label bin.
        share: share of the rows for val and for test.
        num_bins: label bins of the balanced split, unless labels are whole numbers.
        seed: seed of the split.
        groups: identity of each row; no identity is in two splits. ``split`` is ignored then.
    """
    # Rows are numbered in the order of their first appearance, and NaN equals NaN.
    copies = table.groupby(list(table.columns), sort=False, dropna=False).ngroup().to_numpy().astype(np.int64)
    return split_copies(copies, varied_target_values(table, targets), split, share, num_bins, seed, groups)


def split_copies(
    copies: NDArray[np.int64],
    labels: NDArray[np.float64],
    split: Literal["balanced", "random", "time"],
    share: float,
    num_bins: int,
    seed: int,
    groups: NDArray[np.str_] | None = None,
) -> Names:
    """Return the split of each row, the same for all rows with the same number in ``copies``.

    Args:
        copies: number of the distinct input of each row, from 0, in the order of their first appearance.
        labels: label of each row, [N], or of several targets, [N, K]; the first copy decides the bin of a balanced
            split. A row with several labels belongs to the bin of its rarest label, so that the rare labels of every
            target reach val and test. At most a third of the rows of such a group does; a bin with rows in several
            groups may lose more.
        split, share, num_bins, seed, groups: see :func:`split_table`.

    Example:
        >>> names = split_copies(np.array([0, 1, 0, 2, 3]), np.array([0.0, 1.0, 5.0, 2.0, 3.0]), "random", 0.25, 9, 0)
        >>> bool(names[0] == names[2])
        True
    """
    if groups is not None:
        return group_split(groups, share, seed)
    first = np.unique(copies, return_index=True)[1]
    if split == "random":
        return random_split(len(first), share, seed)[copies]
    bins = rarest_bins([_bin_numbers(column, first, num_bins) for column in labels.reshape(len(labels), -1).T])
    return balanced_split(bins, cap_for_share(bins, share), seed)[copies]


def _bin_numbers(labels: NDArray[np.float64], rows: NDArray[np.int64], num_bins: int) -> NDArray[np.int64]:
    """Return the bin of some rows of a target, [len(rows)]."""
    kept = torch.from_numpy((labels if needs_float64(labels) else labels.astype(np.float32))[rows])
    numbers: NDArray[np.int64] = automatic_bins(kept, num_bins)(kept).numpy()
    return numbers
