"""Reading a csv file into numbers: checks of its columns and values, and the encoding of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

# A column of text with more values than this is an identifier, a date or free text rather than a category.
MAX_CATEGORIES = 20
SHOWN = 20
# Stands for a missing category; no csv cell reads so, an empty one is missing.
MISSING = ""


def read_table(path: Path, option: str) -> pd.DataFrame:
    """Read a csv file with a header.

    Args:
        path: the file.
        option: the option that names it, for the error.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no csv, or no rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: set {option} to a csv file with a header line")
    try:
        table = pd.read_csv(path, low_memory=False)
    except (
        ValueError,
        UnicodeDecodeError,
    ) as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise ValueError(f"{path} cannot be read as a csv file: {error}") from error
    if table.empty:
        raise ValueError(f"{path} has no rows below its header")
    return table


def shown(value: object, width: int = 60) -> str:
    """A value for an error message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def require_columns(table: pd.DataFrame, names: Sequence[str], path: Path, option: str) -> None:
    """Raise ValueError if the table lacks one of the columns, naming those it has."""
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        raise ValueError(
            f"{path} has no column {lacking} ({option}); its columns are {shown(list(table.columns), 2000)}"
        )


def show_rows(rows: NDArray[np.int64]) -> str:
    """The first rows of a list as text, counted from 1 below the header, and how many there are."""
    shown = ", ".join(str(row + 1) for row in rows[:SHOWN])
    return f"{shown}, ... ({len(rows)} in all)" if len(rows) > SHOWN else shown


def parse_numbers(column: pd.Series) -> pd.Series:
    """A column as float64, NaN where it is missing or text."""
    try:
        return pd.to_numeric(column, errors="coerce").astype(np.float64)
    except OverflowError:  # a whole number of hundreds of digits among them
        return pd.to_numeric(column.astype(str).str.slice(0, 300), errors="coerce").astype(np.float64)


def as_numbers(column: pd.Series, where: str) -> pd.Series:
    """A column as float64, missing values as NaN.

    Raises:
        ValueError: for text that is no number, or an infinity, naming the rows.
    """
    numbers = parse_numbers(column)
    # Beyond float32, which is what is trained on, a number is as good as infinite.
    large = np.abs(numbers.to_numpy()) > np.finfo(np.float32).max
    text = (numbers.isna() & column.notna()).to_numpy() | large
    if text.any():
        rows = np.flatnonzero(text)
        raise ValueError(
            f"{where}, column {shown(column.name)}: {len(rows)} values are not finite numbers, the first is "
            f"{shown(column.iloc[rows[0]])}; rows {show_rows(rows)}"
        )
    return numbers


def is_text(column: pd.Series) -> bool:
    """Whether a column holds anything but numbers (and missing values)."""
    return not (pd.api.types.is_numeric_dtype(column) or column.isna().all())


def guess_categories(table: pd.DataFrame, path: Path) -> list[str]:
    """The columns of text, each with few values and none of them mostly numbers.

    Raises:
        ValueError: for other columns of text, saying for each what to do.
    """
    found, refused = [], []
    for name in table.columns:
        column = table[name].dropna()
        if not is_text(column):
            continue
        numbers = parse_numbers(column).notna()
        example = column[~numbers].iloc[0] if not numbers.all() else column.iloc[0]
        if numbers.mean() >= 0.5:
            refused.append(f"{shown(name)} (numbers, except for values like {shown(example)})")
        elif column.nunique() > MAX_CATEGORIES:
            refused.append(f"{shown(name)} ({column.nunique()} different texts like {shown(example)})")
        else:
            found.append(name)
    if refused:
        raise ValueError(
            f"{path} has columns of text that are neither numbers nor few categories: {', '.join(refused)}; "
            "correct them, leave them out (data.drop=[...]), or list all categories (data.categorical=[...])"
        )
    return found


def handle_missing(table: pd.DataFrame, target: str, missing: str, path: Path) -> pd.DataFrame:
    """Apply the policy for missing values: "refuse", "median" (features only, filled in later) or "drop".

    Raises:
        ValueError: for missing values that the policy does not cover, naming columns and rows, and for a
            table of which nothing is left.
    """
    gone = table.isna()
    if missing == "drop":
        table = table[~gone.any(axis=1).to_numpy()]
        if table.empty:
            raise ValueError(f"{path}: every row has a missing value; use data.missing=median, or data.drop")
        return table
    watched = [target] if missing == "median" else list(table.columns)
    found = [
        f"{shown(name)}: rows {show_rows(np.flatnonzero(gone[name].to_numpy()))}"
        for name in watched
        if gone[name].any()
    ]
    if found:
        advice = (
            "data.missing=drop leaves these rows out"
            if missing == "median"
            else "data.missing=median fills numbers in, data.missing=drop leaves these rows out"
        )
        raise ValueError(f"{path} has missing values (rows from 1 below the header): {'; '.join(found)}; {advice}")
    return table


def category_names(column: pd.Series[Any]) -> pd.Series[Any]:
    """Categories as text, None where missing.

    Whole numbers lose their ".0": one missing value makes pandas read a column of 1, 2, 3 as 1.0, 2.0, 3.0, and the
    same category would have two names in two files.
    """
    names = column.astype(str)
    if pd.api.types.is_float_dtype(column):
        names = names.str.removesuffix(".0")
    return names.where(column.notna(), None)


class TableEncoder:
    """Columns to inputs: categories one-hot, numbers standardised, both fitted on the training rows.

    A category that the training rows do not have, or a missing one, is all zeros; a missing number gets the
    training rows' median; a column that is constant in them is shifted, not scaled.

    Args:
        categorical: columns to encode one-hot; all others are numbers.

    Example:
        >>> table = pd.DataFrame({"sex": ["F", "M"], "length": [1.0, 3.0]})
        >>> TableEncoder(["sex"]).fit(table)(table).tolist()
        [[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]]
    """

    def __init__(self, categorical: Sequence[str]) -> None:
        self.categorical = list(categorical)

    def fit(self, table: pd.DataFrame) -> TableEncoder:
        """Learn categories, medians, means and deviations; returns itself.

        Raises:
            ValueError: for a column of numbers without a single value.
        """
        self.categories = {
            name: np.array(sorted(category_names(table[name]).dropna().unique()), dtype=object)
            for name in self.categorical
        }
        self.numeric = [name for name in table.columns if name not in self.categorical]
        numbers = table[self.numeric].to_numpy(np.float64)
        empty = [name for name, lost in zip(self.numeric, np.isnan(numbers).all(axis=0), strict=True) if lost]
        if empty:
            raise ValueError(f"columns without a single training value: {empty}; leave them out (data.drop)")
        self.fill = np.nanmedian(numbers, axis=0) if self.numeric else np.zeros(0)
        numbers = np.where(np.isnan(numbers), self.fill, numbers)
        self.mean = numbers.mean(axis=0)
        deviation = numbers.std(axis=0)
        # Equal values do not always have a deviation of exactly 0 in floating point.
        self.scale = np.where(deviation > 1e-12 * (1.0 + np.abs(self.mean)), deviation, 1.0)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted encoding as plain values that JSON keeps exactly; see :meth:`from_dict`.

        Example:
            >>> encoder = TableEncoder(["sex"]).fit(pd.DataFrame({"sex": ["F", "M"], "length": [1.0, 3.0]}))
            >>> encoder.to_dict()["numbers"]
            [{'name': 'length', 'fill': 2.0, 'mean': 2.0, 'scale': 1.0}]
        """
        columns = zip(self.numeric, self.fill, self.mean, self.scale, strict=True)
        return {
            "categories": [{"name": name, "values": known.tolist()} for name, known in self.categories.items()],
            "numbers": [
                {"name": name, "fill": float(fill), "mean": float(mean), "scale": float(scale)}
                for name, fill, mean, scale in columns
            ],
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> TableEncoder:
        """Return the encoder whose :meth:`to_dict` gave ``saved``."""
        encoder = cls([column["name"] for column in saved["categories"]])
        encoder.categories = {c["name"]: np.array(c["values"], dtype=object) for c in saved["categories"]}
        encoder.numeric = [column["name"] for column in saved["numbers"]]
        encoder.fill, encoder.mean, encoder.scale = (
            np.array([column[key] for column in saved["numbers"]], dtype=np.float64)
            for key in ("fill", "mean", "scale")
        )
        return encoder

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return sum(len(known) for known in self.categories.values()) + len(self.numeric)

    def complete(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table without missing values, its encoding the same: numbers filled in, categories as text.

        A missing category becomes :data:`MISSING`, which is encoded as zeros like every unknown one.
        """
        numbers = table[self.numeric].fillna(dict(zip(self.numeric, self.fill, strict=True)))
        categories = {name: category_names(table[name]).fillna(MISSING) for name in self.categorical}
        return table.assign(**numbers, **categories)

    def __call__(self, table: pd.DataFrame) -> Tensor:
        parts: list[NDArray[np.float64]] = []
        for name, known in self.categories.items():
            values = category_names(table[name]).to_numpy(dtype=object)
            parts.append((values[:, None] == known[None, :]).astype(np.float64))
        numbers = table[self.numeric].to_numpy(np.float64)
        parts.append((np.where(np.isnan(numbers), self.fill, numbers) - self.mean) / self.scale)
        return torch.from_numpy(np.concatenate(parts, axis=1)).to(torch.float32)
