"""Regression on any table of numbers and categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir.data.arrays import ArrayDataset, automatic_bins
from dir.data.base import SPLITS, RegressionData, Split
from dir.data.csv_rows import csv_row_ids
from dir.data.rows import check_labels
from dir.data.splits import Names, balanced_split, cap_for_share, group_split, random_split
from dir.data.tables import (
    TableEncoder,
    as_numbers,
    guess_categories,
    handle_missing,
    read_table,
    require_columns,
    show_rows,
)


class TabularData(RegressionData):
    """Regression on the columns of a csv file.

    The splits are drawn over the file's *distinct* rows, and copies of a row follow it: no copy of a test
    row is trained on. With ``group`` they are drawn over groups, and copies of a row in two groups may be parted.

    Args:
        path: the csv file, with a header.
        target: the column to predict.
        test_path: a second file with the test rows; then only val is taken from the first. Default None.
        categorical: columns to encode one-hot. None (default): the columns of text with at most 20 values.
        drop: columns to leave out.
        missing: "refuse" (default) missing values; "median" fills numbers in with the training rows' median
            and encodes a missing category as zeros; "drop" leaves out rows with a missing value.
        split: "balanced" (default): val and test are balanced over the label range, at most a third of a bin
            each, as in the paper; or "random".
        share: of the distinct rows, at most, for val and for test; in (0, 0.33]. Default 0.13, AgeDB-DIR's. A
            balanced split takes one row of every bin that holds three, even where that is more.
        group: a column of identities (people, patients, sites), which is no feature. Whole groups are then drawn by
            the seed, whatever ``split`` says, and no group is in two splits. None (default): rows are drawn.
        split_bins: bins of the balanced split where labels are no whole numbers. Default 50.
        batch_size, eval_batch_size, num_workers: see :class:`~dir.data.base.RegressionData`.
        seed: draws the split, and the training order.

    Shape:
        A batch is (float32 [N, columns], float32 [N]).

    Raises:
        FileNotFoundError: no file at ``path`` or ``test_path``.
        ValueError: columns that are not there; text that is neither categorical nor a number; missing values
            while ``missing="refuse"``. Columns and rows are named, rows counted from 1 below the header.
    """

    def __init__(
        self,
        path: str,
        target: str,
        test_path: str | None = None,
        categorical: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        missing: Literal["refuse", "median", "drop"] = "refuse",
        split: Literal["balanced", "random"] = "balanced",
        share: float = 0.13,
        group: str | None = None,
        split_bins: int = 50,
        batch_size: int = 128,
        eval_batch_size: int = 4096,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if missing not in ("refuse", "median", "drop"):
            raise ValueError(f'missing must be "refuse", "median" or "drop"; got {missing!r}')
        if split not in ("balanced", "random"):
            raise ValueError(f'split must be "balanced" or "random"; got {split!r}')
        if target in drop or target in (categorical or ()):
            raise ValueError(f"target {target!r} must be a number to predict: not in drop, not in categorical")
        if group is not None and (test_path is not None or group in {target, *drop, *(categorical or ())}):
            raise ValueError(
                f"group {group!r} must be a column beside target, drop and categorical, and goes without test_path"
            )
        self.path = Path(path)
        self.test_path = None if test_path is None else Path(test_path)
        self.target = target
        self.categorical = None if categorical is None else list(categorical)
        self.drop = list(drop)
        self.missing = missing
        self.split = split
        self.share = share
        self.group = group
        self.split_bins = split_bins
        self._tables: dict[str, pd.DataFrame] = {}

    def build(self) -> dict[str, Dataset[Any]]:
        table = self._load(self.path, "data.path")
        read = len(table)
        identities = None if self.group is None else table.pop(self.group)
        categorical = self.categorical
        if categorical is None:
            categorical = guess_categories(table.drop(columns=self.target), self.path)
        table = self._clean(table, categorical, self.path)
        pool = [(self.path, read, table)]
        if self.test_path is not None:
            test = self._load(self.test_path, "data.test_path")
            require_columns(test, list(table.columns), self.test_path, f"those of {self.path}")
            pool.append((self.test_path, len(test), self._clean(test[table.columns], categorical, self.test_path)))

        def names() -> Names:
            drawn = self._split_rows(table) if identities is None else self._split_groups(identities[table.index])
            if self.test_path is None:
                return drawn
            return np.concatenate([np.where(drawn == "val", "val", "train"), np.full(len(pool[1][2]), "test")])

        rows = self.place_rows(lambda: self._row_ids(pool), names)
        whole = pd.concat([part for _, _, part in pool]) if len(pool) > 1 else table
        tables: dict[str, pd.DataFrame] = {name: whole.iloc[rows[name]] for name in SPLITS}
        for name, part in tables.items():
            if part.empty:
                raise ValueError(
                    f"{self.path}: {len(table)} rows leave none for {name} (data.split={self.split}, "
                    f"data.share={self.share}); give more rows, a larger share, or data.split=random"
                )
        features = [name for name in table.columns if name != self.target]
        self.encode = TableEncoder(categorical).fit(tables["train"][features])
        self._tables = tables
        return {name: self._encoded(part) for name, part in tables.items()}

    def files(self) -> dict[str, Path]:
        paths = {"data.path": self.path, "data.test_path": self.test_path}
        return {key: path for key, path in paths.items() if path is not None}

    def settings(self) -> dict[str, Any]:
        names = ("target", "categorical", "drop", "missing", "split", "share", "group", "split_bins", "seed")
        return {name: getattr(self, name) for name in names}

    def _row_ids(self, pool: list[tuple[Path, int, pd.DataFrame]]) -> list[str]:
        """Return the id of each row of the files that is left after rows with missing values are dropped."""
        ids = []
        for path, count, table in pool:
            own = csv_row_ids(path, self.target, count)
            ids += [own[row] for row in table.index.tolist()]
        return ids

    def encoder_args(self) -> dict[str, Any]:
        self.setup()
        return {"in_features": self.encode.width}

    def encoding(self) -> dict[str, Any]:
        self.setup()
        columns = [name for name in self._tables["train"].columns if name != self.target]
        return {
            "kind": "table",
            "columns": columns,
            "target": self.target,
            "missing": self.missing,
            "encoder": self.encode.to_dict(),
        }

    def table(self, split: Split) -> tuple[pd.DataFrame, pd.Series[Any]]:
        """The rows of one split before they are encoded: a frame of features, and the labels.

        Categories are text, a missing one a category of its own; missing numbers are filled in.
        """
        part = self._tables[split].reset_index(drop=True)
        return self.encode.complete(part.drop(columns=self.target)), part[self.target]

    def restrict(self, split: Split, rows: Tensor) -> None:
        super().restrict(split, rows)
        self._tables[split] = self._tables[split].iloc[rows.numpy()]

    def replace_train(self, features: pd.DataFrame, labels: pd.Series[Any]) -> None:
        self._tables["train"] = features.assign(**{self.target: labels})
        data = self._encoded(self._tables["train"])
        check_labels("train", data)
        assert self._splits is not None
        self._splits["train"] = data

    def _encoded(self, table: pd.DataFrame) -> ArrayDataset:
        labels = torch.from_numpy(table[self.target].to_numpy(np.float32))
        return ArrayDataset(self.encode(table.drop(columns=self.target)), labels)

    def _load(self, path: Path, option: str) -> pd.DataFrame:
        table = read_table(path, option)
        require_columns(table, [self.target], path, "data.target")
        require_columns(table, self.drop, path, "data.drop")
        require_columns(table, self.categorical or [], path, "data.categorical")
        require_columns(table, [] if self.group is None else [self.group], path, "data.group")
        table = table.drop(columns=self.drop)
        if not set(table.columns) - {self.target, self.group}:
            beside = "" if self.group is None else f" and the group {self.group!r}"
            raise ValueError(f"{path}: no column is left beside the target {self.target!r}{beside}")
        return table

    def _clean(self, table: pd.DataFrame, categorical: Sequence[str], path: Path) -> pd.DataFrame:
        numbers = {name: as_numbers(table[name], str(path)) for name in table.columns if name not in categorical}
        return handle_missing(table.assign(**numbers), self.target, self.missing, path)

    def _split_groups(self, identities: pd.Series[Any]) -> Names:
        # By the index: rows with other missing values may have been left out.
        gone = identities.index.to_numpy()[identities.isna().to_numpy()]
        if len(gone):
            raise ValueError(f"{self.path}, column {self.group!r}: missing values, in rows {show_rows(gone)}")
        return group_split(identities.to_numpy(dtype="U"), self.share, self.seed)

    def _split_rows(self, table: pd.DataFrame) -> Names:
        """The split of every row, the same for all copies of a row."""
        # Rows are numbered in the order of their first appearance, and NaN equals NaN.
        copies = table.groupby(list(table.columns), sort=False, dropna=False).ngroup().to_numpy()
        first = np.unique(copies, return_index=True)[1]
        if self.split == "random":
            return random_split(len(first), self.share, self.seed)[copies]
        labels = torch.from_numpy(table[self.target].to_numpy(np.float32)[first])
        groups = automatic_bins(labels, self.split_bins)(labels).numpy()
        return balanced_split(groups, cap_for_share(groups, self.share), self.seed)[copies]
