"""TabularData: regression on the numbers, categories and dates of a csv file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import check_choice, message
from dir.data.arrays import ArrayDataset
from dir.data.base import SPLITS, RegressionData, Split
from dir.data.category_codes import CodeEncoder
from dir.data.csv_reading import as_options
from dir.data.rows import check_labels
from dir.data.table_reading import ColumnRoles, Leaks, Missing, as_names
from dir.data.table_source import TableSource
from dir.data.table_splits import SplitKind, SplitSettings
from dir.data.table_target import LogTarget, check_target, decide_target
from dir.data.table_windows import check_not_with_windows, window_settings
from dir.data.tables import category_names, parse_numbers, with_columns
from dir.data.target_names import label_dtype_of, target_names, target_values


class TabularData(RegressionData):
    """Regression on the columns of a csv file.

    The splits are drawn over the *distinct* rows of the file, and the copies of a row are in the same split: no copy
    of a test row is trained on. With ``group`` whole groups are drawn, and copies of a row in two groups may be in
    two splits.

    Args:
        path: csv file with a header.
        target: column to predict, or a list of several. A row that lacks one of the labels has a missing value.
        test_path: second file with the test rows; the first file then gives train and val only. Default None.
        categorical: columns of categories. None (default): the columns of text with at most 20 values.
        drop: columns to leave out.
        dates: columns of dates. Each becomes six numbers, see :func:`dir.data.tables.expand_dates`.
        letters: columns of texts of equal length, such as the letters of a protein. Each position is encoded one-hot
            over the letters of the training rows.
        categories: "onehot" (default) makes a column of each category; "embed" gives each category a code, which the
            network embeds in a learned vector, see :class:`~dir.models.category_embedding.CategoryEmbedding`. A batch
            is then ((float32 [N, columns of numbers], int64 [N, columns of categories]), float32 [N]).
        missing: "refuse" (default) missing values; "median" replaces missing numbers by the median of the training
            rows and encodes missing categories as zeros, or by code 0; "drop" leaves out rows with a missing value.
        leaks: "refuse" (default) or "allow" features that equal the target or are a monotone function of it.
        split: "balanced" (default): val and test are balanced over the label range and take at most a third of a bin
            each, as in the paper; "random"; or "time": the earliest rows train, the next are val, the latest test.
            With several targets a row counts for the bin of its rarest label.
        share: largest share of the distinct rows for val, and for test; in (0, 0.33]. Default 0.13, as in AgeDB-DIR.
            A balanced split takes one row of each bin with at least three rows, which may exceed the share.
        group: column of identities (people, patients, sites), or several columns that name an identity together.
            They are no features. With ``split="balanced"`` or "random" whole groups are drawn by the seed, and no
            group is in two splits. With ``split="time"`` or ``split_column`` the report counts the groups that are
            in two splits. None (default): rows are drawn.
        split_bins: number of bins of the balanced split if labels are not whole numbers. Default 50.
        sep, decimal, thousands, encoding, na_values, quoting: how the file is written; see
            :class:`~dir.data.csv_reading.CsvOptions`.
        importance: column of the importance of each row, >= 0, which is no feature: it multiplies the weights of the
            training loss, and the metrics get weighted errors. None (default): all rows count equally.
        log_target: whether the criterion sees ``log(1 + label)``: False (default), True, or "auto", see
            :func:`~dir.data.table_target.choose_log1p`. With True, labels below 0 are refused.
        split_column: column with the split of each row: train, val, test or 0, 1, 2. It is no feature. Default: None.
        time: column of the time of a row, numbers or dates; or calendar columns in the order year, month, day, hour,
            minute, second, from the year on. Columns of numbers are features too, unless ``drop`` lists them; dates
            are features if ``dates`` lists them. Only with ``split="time"`` or ``window``.
        val_from, test_from: first time of the val and of the test rows, such as 2014, [2014, 6] or "2014-06-01". None
            (default): the latest rows by ``share``. Equal times stay in one split.
        window: rows of a window. The rows of a series (of ``group``) are sorted by ``time``, and a sample is a window
            of rows at equal steps within one split. None (default): a sample is a row.
        horizon: steps from the last row of a window to the row of its label. Default 1. With 0 the label is that of
            the last row, and ``lags`` must be False.
        lags: whether the target is an input of the rows of a window. Default True.
        batch_size, eval_batch_size, num_workers: see :class:`~dir.data.base.RegressionData`.
        seed: draws the split, and the training order.

    Shape:
        A batch is (float32 [N, columns], float32 [N]), for windows [N, window * columns], the oldest row first.
        Labels of K > 1 targets are [N, K]. The labels are float64 where float32 is too coarse for them, see
        :func:`~dir.data.label_types.needs_float64`.

    Raises:
        FileNotFoundError: if there is no file at ``path`` or ``test_path``.
        ValueError: for files that may be misread; the message lists all problems, and names columns and rows (counted
            from 1 below the header).
    """

    def __init__(
        self,
        path: str,
        target: str | Sequence[str],
        test_path: str | None = None,
        categorical: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        missing: Missing = "refuse",
        split: SplitKind = "balanced",
        share: float = 0.13,
        group: str | Sequence[str] | None = None,
        split_bins: int = 50,
        batch_size: int = 128,
        eval_batch_size: int = 4096,
        num_workers: int = 0,
        seed: int = 0,
        dates: Sequence[str] = (),
        leaks: Leaks = "refuse",
        sep: str = ",",
        decimal: str = ".",
        thousands: str | None = None,
        encoding: str = "utf-8",
        na_values: Sequence[str] = (),
        log_target: LogTarget = False,
        split_column: str | None = None,
        time: str | Sequence[str] | None = None,
        val_from: Any = None,
        test_from: Any = None,
        letters: Sequence[str] = (),
        importance: str | None = None,
        quoting: str = "minimal",
        window: int | None = None,
        horizon: int = 1,
        lags: bool = True,
        categories: Literal["onehot", "embed"] = "onehot",
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        check_choice("data.missing", missing, ("refuse", "median", "drop"))
        check_choice("data.leaks", leaks, ("refuse", "allow"))
        check_choice("data.categories", categories, ("onehot", "embed"))
        targets = target_names(target)
        roles = ColumnRoles(
            targets,
            None if categorical is None else tuple(categorical),
            tuple(drop),
            tuple(dates),
            tuple(letters),
            as_names(group),
            split_column,
            as_names(time),
            importance,
        )
        splitting = SplitSettings(split, share, split_bins, split_column, val_from, test_from, seed)
        others = {
            "data.drop": drop,
            "data.categorical": categorical or (),
            "data.dates": dates,
            "data.letters": letters,
        }
        check_target(targets, roles.beside, test_path, others, log_target)
        splitting.check(roles.group, roles.time, window is not None, test_path)
        windows = window_settings(window, horizon, lags, roles.time)
        if windows is not None:
            check_not_with_windows(importance, categories, targets)
        self.source = TableSource(
            Path(path),
            None if test_path is None else Path(test_path),
            roles,
            as_options(sep, decimal, thousands, encoding, na_values, quoting),
            missing,
            leaks,
            splitting,
            windows,
            categories == "embed",
        )
        self.targets = targets
        self.log_target = log_target
        # Settings that an earlier release did not have are kept where they are set, so that its runs resume.
        new = {
            "split_column": split_column,
            "time": list(roles.time) or None,
            "letters": list(letters) or None,
            "window": None if windows is None else asdict(windows),
            "val_from": val_from,
            "test_from": test_from,
            "importance": importance,
        }
        self._settings: dict[str, Any] = {
            "target": targets[0] if len(targets) == 1 else list(targets),
            "categorical": None if categorical is None else list(categorical),
            "drop": list(drop),
            "dates": list(dates),
            "missing": missing,
            "split": split,
            "share": share,
            "group": group if group is None or isinstance(group, str) else list(group),
            "split_bins": split_bins,
            "seed": seed,
        } | {name: value for name, value in new.items() if value is not None}
        self._tables: dict[str, pd.DataFrame] = {}
        self._target_report: dict[str, Any] = {}

    def build(self) -> dict[str, Dataset[Any]]:
        source, targets = self.source, list(self.targets)
        samples = source.read()
        self.label_dtype = label_dtype_of(target_values(source.checked.table, targets))
        rows = self.place_rows(source.row_ids, source.names)
        tables: dict[str, pd.DataFrame] = {name: samples.iloc[rows[name]] for name in SPLITS}
        for name, part in tables.items():
            if part.empty:
                splitting = source.splitting
                problem = f"{len(source.parts[0][1])} rows leave none for {name} with data.split={splitting.split}"
                advice = "Give more rows, a larger data.share, or data.split=random."
                raise ValueError(
                    message(str(source.path), f"{problem} and data.share={splitting.share}", advice=advice)
                )
        where = source.roles.importance
        if where is not None:
            values = source.importance()
            self.set_importance({name: values[rows[name]] for name in SPLITS}, f"data.importance={where}")
        kept = self.kept_encoding
        features = samples.drop(columns=targets)
        self.encode = source.fit_encoder(features, rows["train"]) if kept is None else source.kept_encoder(kept)
        self._tables = tables
        labels = {name: target_values(part, targets) for name, part in tables.items()}
        self.log1p, self._target_report = decide_target(self.log_target, self.kept_log1p, labels, targets)
        self._target_report["dtype"] = str(self.label_dtype).removeprefix("torch.")
        return {name: self._encoded(part) for name, part in tables.items()}

    def files(self) -> dict[str, Path]:
        paths = {"data.path": self.source.path, "data.test_path": self.source.test_path}
        return {key: path for key, path in paths.items() if path is not None}

    def settings(self) -> dict[str, Any]:
        chosen = {"log1p": self.log1p} if self.log_target else {}
        return self._settings | self.source.options.to_dict() | chosen

    def describe(self) -> dict[str, Any]:
        found = {"columns": self.source.checked.columns, "target": self._target_report}
        return found | ({"notes": self.source.notes} if self.source.notes else {}) | super().describe()

    def encoder_args(self) -> dict[str, Any]:
        self.setup()
        sizes = {"category_sizes": self.encode.sizes} if isinstance(self.encode, CodeEncoder) else {}
        return {"in_features": self.encode.width} | sizes

    def encoding(self) -> dict[str, Any]:
        self.setup()
        columns = [name for name in self._tables["train"].columns if name not in self.targets]
        return self.source.encoding(columns, self.encode)

    def table(self, split: Split) -> tuple[pd.DataFrame, Any]:
        """Return the rows of one split before they are encoded: features and labels, frames or a series.

        Categories are text, and a missing category is a category ""; missing numbers are filled in.
        """
        part = self._tables[split].reset_index(drop=True)
        labels = part[self.targets[0]] if len(self.targets) == 1 else part[list(self.targets)]
        return self.encode.complete(part.drop(columns=list(self.targets))), labels

    def population(self) -> tuple[Tensor, pd.DataFrame | None]:
        """Return labels and features of all rows of ``path``; the rows of ``test_path`` are not among them."""
        self.setup()
        if "test" not in self.splits:
            # The table holds the rows that close_test() has removed.
            return super().population()
        table, encoding = self.source.checked.table, self.encoding()
        categorical = {column["name"] for column in encoding["encoder"]["categories"]}
        columns = {
            name: category_names(table[name]) if name in categorical else parse_numbers(table[name])
            for name in encoding["columns"]
        }
        labels = target_values(table.dropna(subset=list(self.targets)), self.targets)
        return torch.from_numpy(labels), pd.DataFrame(columns, index=table.index)

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
        test = self.source.read_test(Path(path))
        if self.source.test_importance is not None:
            self.update_importance("test", self.source.test_importance)
        self._tables["test"] = test[self._tables["train"].columns]
        data = self._encoded(self._tables["test"])
        check_labels("test", data, len(self.targets))
        assert self._splits is not None
        self._splits["test"] = data
        self._current["test"] = None

    def replace_train(self, features: pd.DataFrame, labels: pd.Series[Any]) -> None:
        self._tables["train"] = with_columns(features, {self.targets[0]: labels})
        data = self._encoded(self._tables["train"])
        check_labels("train", data, len(self.targets))
        assert self._splits is not None
        self._splits["train"] = data

    def _encoded(self, table: pd.DataFrame) -> ArrayDataset:
        labels = torch.from_numpy(target_values(table, self.targets)).to(self.label_dtype)
        return ArrayDataset(self.encode(table.drop(columns=list(self.targets))), labels, None, self.label_dtype)
