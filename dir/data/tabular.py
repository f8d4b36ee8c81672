"""TabularData: regression on the numbers, categories and dates of a csv file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import check_choice, check_integer, message
from dir.data.arrays import ArrayDataset
from dir.data.base import SPLITS, RegressionData, Split
from dir.data.csv_reading import as_options, csv_row_ids, read_table, sniff
from dir.data.describe import describe_columns
from dir.data.label_types import needs_float64
from dir.data.problems import Problems, show_rows, shown
from dir.data.rows import check_labels
from dir.data.splits import Names, check_share
from dir.data.table_checks import (
    find_bad_dates,
    find_index_columns,
    find_leaks,
    find_missing,
    find_numbers,
    guess_categories,
    require_columns,
    select_columns,
)
from dir.data.table_splits import split_table
from dir.data.table_target import LogTarget, check_target, decide_target
from dir.data.tables import TableEncoder, expand_dates, with_columns


class TabularData(RegressionData):
    """Regression on the columns of a csv file.

    The splits are drawn over the *distinct* rows of the file, and the copies of a row are in the same split: no copy
    of a test row is trained on. With ``group`` whole groups are drawn, and copies of a row in two groups may be in
    two splits.

    Args:
        path: csv file with a header.
        target: column to predict.
        test_path: second file with the test rows; the first file then gives train and val only. Default None.
        categorical: columns to encode one-hot. None (default): the columns of text with at most 20 values.
        drop: columns to leave out.
        dates: columns of dates. Each becomes six numbers, see :func:`dir.data.tables.expand_dates`.
        missing: "refuse" (default) missing values; "median" replaces missing numbers by the median of the training
            rows and encodes missing categories as zeros; "drop" leaves out rows with a missing value.
        leaks: "refuse" (default) or "allow" features that equal the target or are a monotone function of it.
        split: "balanced" (default): val and test are balanced over the label range and take at most a third of a bin
            each, as in the paper; or "random".
        share: largest share of the distinct rows for val, and for test; in (0, 0.33]. Default 0.13, as in AgeDB-DIR.
            A balanced split takes one row of each bin with at least three rows, which may exceed the share.
        group: column of identities (people, patients, sites), which is not used as a feature. Whole groups are drawn
            by the seed, ``split`` is ignored, and no group is in two splits. None (default): rows are drawn.
        split_bins: number of bins of the balanced split if labels are not whole numbers. Default 50.
        sep, decimal, thousands, encoding, na_values: how the file is written; see
            :class:`~dir.data.csv_reading.CsvOptions`.
        log_target: whether the criterion sees ``log(1 + label)``: False (default), True, or "auto", see
            :func:`~dir.data.table_target.choose_log1p`. With True, labels below 0 are refused.
        batch_size, eval_batch_size, num_workers: see :class:`~dir.data.base.RegressionData`.
        seed: draws the split, and the training order.

    Shape:
        A batch is (float32 [N, columns], float32 [N]); the labels are float64 where float32 is too coarse for them,
        see :func:`~dir.data.label_types.needs_float64`.

    Raises:
        FileNotFoundError: if there is no file at ``path`` or ``test_path``.
        ValueError: for files that may be misread; the message lists all problems, and names columns and rows (counted
            from 1 below the header).
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
        dates: Sequence[str] = (),
        leaks: Literal["refuse", "allow"] = "refuse",
        sep: str = ",",
        decimal: str = ".",
        thousands: str | None = None,
        encoding: str = "utf-8",
        na_values: Sequence[str] = (),
        log_target: LogTarget = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        check_choice("data.missing", missing, ("refuse", "median", "drop"))
        check_choice("data.split", split, ("balanced", "random"))
        check_choice("data.leaks", leaks, ("refuse", "allow"))
        check_share(share)
        check_integer("data.split_bins", split_bins)
        others = {"data.drop": drop, "data.categorical": categorical or (), "data.dates": dates}
        check_target(target, group, test_path, others, log_target)
        self.csv_options = as_options(sep, decimal, thousands, encoding, na_values)
        self.path = Path(path)
        self.test_path = None if test_path is None else Path(test_path)
        self.target = target
        self.categorical = None if categorical is None else list(categorical)
        self.drop = list(drop)
        self.dates = list(dates)
        self.missing = missing
        self.leaks = leaks
        self.split = split
        self.share = share
        self.group = group
        self.split_bins = split_bins
        self.log_target = log_target
        self._tables: dict[str, pd.DataFrame] = {}
        self._columns: dict[str, dict[str, Any]] = {}
        self._raw_columns: list[str] = []
        self._target_report: dict[str, Any] = {}

    def build(self) -> dict[str, Dataset[Any]]:
        table, categorical = self._read(self.path, "data.path", self.categorical)
        identities = None if self.group is None else table.pop(self.group)
        pool = [(self.path, table)]
        if self.test_path is not None:
            test, _ = self._read(self.test_path, "data.test_path", categorical, self._raw_columns)
            pool.append((self.test_path, test))

        def names() -> Names:
            groups = None if identities is None else identities.to_numpy(dtype="U")
            drawn = split_table(table, self.target, self.split, self.share, self.split_bins, self.seed, groups)
            if self.test_path is None:
                return drawn
            return np.concatenate([np.where(drawn == "val", "val", "train"), np.full(len(pool[1][1]), "test")])

        rows = self.place_rows(lambda: self._row_ids(pool), names)
        whole = pd.concat([part for _, part in pool]) if len(pool) > 1 else table
        tables: dict[str, pd.DataFrame] = {name: whole.iloc[rows[name]] for name in SPLITS}
        for name, part in tables.items():
            if part.empty:
                problem = f"{len(table)} rows leave none for {name} with data.split={self.split}"
                advice = "Give more rows, a larger data.share, or data.split=random."
                raise ValueError(message(str(self.path), f"{problem} and data.share={self.share}", advice=advice))
        features = [name for name in table.columns if name != self.target]
        self.encode = TableEncoder.fitted(self.kept_encoding, categorical, tables["train"][features])
        self._tables = tables
        labels = {name: part[self.target].to_numpy(np.float64) for name, part in tables.items()}
        self.log1p, self._target_report = decide_target(self.log_target, self.kept_log1p, labels, self.target)
        self._target_report["dtype"] = str(self.label_dtype).removeprefix("torch.")
        return {name: self._encoded(part) for name, part in tables.items()}

    def files(self) -> dict[str, Path]:
        paths = {"data.path": self.path, "data.test_path": self.test_path}
        return {key: path for key, path in paths.items() if path is not None}

    def settings(self) -> dict[str, Any]:
        names = ("target", "categorical", "drop", "dates", "missing", "split", "share", "group", "split_bins", "seed")
        chosen = {"log1p": self.log1p} if self.log_target else {}
        return {name: getattr(self, name) for name in names} | asdict(self.csv_options) | chosen

    def describe(self) -> dict[str, Any]:
        return {"columns": self._columns, "target": self._target_report, **super().describe()}

    def _row_ids(self, pool: list[tuple[Path, pd.DataFrame]]) -> list[str]:
        """Return the id of each row of the files that is left after rows with missing values are dropped."""
        ids = []
        for path, table in pool:
            own = csv_row_ids(path, self.target, self.csv_options)
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
            "dates": self.dates,
            "csv": asdict(self.csv_options),
        }

    def table(self, split: Split) -> tuple[pd.DataFrame, pd.Series[Any]]:
        """Return the rows of one split before they are encoded: a frame of features, and the labels.

        Categories are text, and a missing category is a category ""; missing numbers are filled in.
        """
        part = self._tables[split].reset_index(drop=True)
        return self.encode.complete(part.drop(columns=self.target)), part[self.target]

    def restrict(self, split: Split, rows: Tensor) -> None:
        super().restrict(split, rows)
        self._tables[split] = self._tables[split].iloc[rows.numpy()]

    def replace_test(self, path: str) -> None:
        """Replace the test rows by the rows of another csv file, encoded as the training rows.

        Raises:
            FileNotFoundError: if there is no file at ``path``.
            ValueError: if the file lacks a column of the training rows, or its rows cannot be read.
        """
        self.setup()
        categorical = self.encode.categorical
        test, _ = self._read(Path(path), "data.test_path", categorical, self._raw_columns)
        self._tables["test"] = test[self._tables["train"].columns]
        data = self._encoded(self._tables["test"])
        check_labels("test", data)
        assert self._splits is not None
        self._splits["test"] = data
        self._current["test"] = None

    def replace_train(self, features: pd.DataFrame, labels: pd.Series[Any]) -> None:
        self._tables["train"] = with_columns(features, {self.target: labels})
        data = self._encoded(self._tables["train"])
        check_labels("train", data)
        assert self._splits is not None
        self._splits["train"] = data

    def _encoded(self, table: pd.DataFrame) -> ArrayDataset:
        labels = torch.from_numpy(table[self.target].to_numpy(np.float64, copy=True)).to(self.label_dtype)
        return ArrayDataset(self.encode(table.drop(columns=self.target)), labels, label_dtype=self.label_dtype)

    def _read(
        self, path: Path, option: str, categorical: list[str] | None, columns: list[str] | None = None
    ) -> tuple[pd.DataFrame, list[str]]:
        """Return the checked columns of a file, numbers as float64, and the names of the categorical columns.

        Args:
            path: csv file.
            option: config key of the file.
            categorical: columns to encode one-hot; None to guess them.
            columns: columns of the training file, which a test file needs; other columns are ignored. None for the
                training file.

        Raises:
            ValueError: with all problems of the file.
        """
        raw = read_table(path, option, self.csv_options)
        problems = Problems(str(path))
        if columns is None:
            hint = sniff(path, self.csv_options)
            table = select_columns(
                raw, self.target, self.drop, categorical or [], self.dates, self.group, hint, problems
            )
        else:
            require_columns(raw, columns, path, f"a column of {self.path}", sniff(path, self.csv_options))
            table = raw[columns]
        identities = None if self.group is None else table[self.group]
        table = table.drop(columns=[] if self.group is None else [self.group])
        features = table.drop(columns=self.target)
        find_index_columns(features, problems)
        if categorical is None:
            categorical = guess_categories(features.drop(columns=self.dates), problems)
        texts = {name for name in features.columns if pd.api.types.is_string_dtype(features[name])}
        numeric = [name for name in features.columns if name not in {*categorical, *self.dates}]
        # Columns of text that are no categories are among the problems already, if the categories were guessed.
        checked = numeric if self.categorical is not None or columns else [n for n in numeric if n not in texts]
        numbers = {name: find_numbers(table[name], problems) for name in [*checked, self.target]}
        for name in self.dates:
            find_bad_dates(table[name], problems)
        kinds = dict.fromkeys(raw.columns, "dropped") | dict.fromkeys(numeric, "number")
        kinds |= dict.fromkeys(categorical, "category") | dict.fromkeys(self.dates, "date")
        kinds |= {self.target: "target"} | ({} if self.group is None else {self.group: "group"})
        table = with_columns(table, numbers)
        table = find_missing(table, self.target, self.missing, problems)
        if identities is not None:
            identities = identities[table.index]
            gone = identities.index.to_numpy()[identities.isna().to_numpy()]
            if len(gone):
                problems.add(f"column {shown(self.group)}: missing values in rows {show_rows(gone)}")
        if columns is None and self.leaks == "refuse":
            find_leaks(table, checked, self.target, problems)
        problems.raise_all()
        if columns is None:
            self._columns = describe_columns(raw, kinds)
            self._raw_columns = list(table.columns)
            wide = needs_float64(table[self.target].to_numpy(np.float64))
            self.label_dtype = torch.float64 if wide else torch.float32
        if self.dates:
            table = expand_dates(table, self.dates)
        return (table if identities is None else with_columns(table, {str(self.group): identities})), categorical
