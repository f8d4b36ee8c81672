"""Columns of a table as numbers and categories, and their encoding: TableEncoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._checks import message
from dir.data.dates import parse_dates
from dir.data.problems import list_setting
from dir.data.problems import shown as shown

# Name of a missing category. No cell of a csv file has this value: an empty cell is missing.
MISSING = ""
# A column of more categories is refused: each is a column of the encoded rows.
MAX_ONE_HOT = 1000
DATE_PARTS = ("year", "month", "day_of_week", "day_of_year", "hour", "elapsed")


def parse_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as float64, NaN where the value is missing or text. Nullable and sparse types are accepted."""
    if column.dtype == np.float64:
        return column
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(np.asarray(column), index=column.index, name=column.name)
    try:
        numbers = pd.to_numeric(column, errors="coerce")
    except OverflowError:  # a whole number of hundreds of digits
        numbers = pd.to_numeric(column.astype(str).str.slice(0, 300), errors="coerce")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(values, index=column.index, name=column.name)


def expand_dates(table: pd.DataFrame, dates: Sequence[str]) -> pd.DataFrame:
    """Replace each column of dates by numbers: year, month, day of week and of year, hour, and elapsed days.

    Args:
        table: frame with the columns of dates.
        dates: their names; ``day`` becomes ``day_year``, ``day_month`` and so on. Days of the week count from 0
            (Monday). The elapsed days count from 1 January 1970, with fractions.

    Example:
        >>> frame = pd.DataFrame({"day": ["1970-01-02 12:00"], "x": [1.0]})
        >>> expand_dates(frame, ["day"]).iloc[0].tolist()
        [1970.0, 1.0, 4.0, 2.0, 12.0, 1.5, 1.0]
    """
    parts: dict[Any, Any] = {}
    for name in table.columns:
        if name not in dates:
            parts[name] = table[name]
            continue
        at = parse_dates(table[name])
        elapsed = (at - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
        columns = (at.dt.year, at.dt.month, at.dt.day_of_week, at.dt.day_of_year, at.dt.hour, elapsed)
        for part, values in zip(DATE_PARTS, columns, strict=True):
            parts[f"{name}_{part}"] = values.astype(np.float64)
    return pd.DataFrame(parts, index=table.index)


def letter_columns(name: str, length: int) -> list[str]:
    """Return the columns that a column of texts of this length becomes, one for each position.

    Example:
        >>> letter_columns("variant", 2)
        ['variant_1', 'variant_2']
    """
    return [f"{name}_{position}" for position in range(1, length + 1)]


def expand_letters(table: pd.DataFrame, letters: Mapping[str, int]) -> pd.DataFrame:
    """Replace each column of texts of equal length by one column of letters for each position.

    Args:
        table: frame with the columns.
        letters: length of the texts of each column. A missing text gives missing letters.

    Example:
        >>> expand_letters(pd.DataFrame({"variant": ["VD", "AG"], "x": [1, 2]}), {"variant": 2}).columns.tolist()
        ['variant_1', 'variant_2', 'x']
    """
    parts: dict[Any, Any] = {}
    for name in table.columns:
        if name not in letters:
            parts[name] = table[name]
            continue
        texts = table[name].astype("string")
        for place, column in enumerate(letter_columns(str(name), letters[name])):
            parts[column] = texts.str.get(place).astype(object).where(texts.notna(), None)
    return pd.DataFrame(parts, index=table.index)


def with_columns(table: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    """Return a copy with the given columns. Unlike ``DataFrame.assign``, any name is accepted, ``self`` too."""
    table = table.copy()
    for name, values in columns.items():
        table[name] = values
    return table


def category_names(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return categories as text, None where missing.

    Whole numbers lose their ".0": pandas reads the column 1, 2, missing as 1.0, 2.0, NaN, and the same category would
    have two names in two files.
    """
    names = column.astype(str)
    if pd.api.types.is_float_dtype(column):
        names = names.str.removesuffix(".0")
    return names.where(column.notna(), None)


class TableEncoder:
    """Encoding of columns: categories one-hot, numbers standardised, both fitted on the training rows.

    A missing category, or a category that the training rows do not have, is encoded as zeros. A missing number is
    replaced by the median of the training rows. A column that is constant in them is shifted and not scaled.

    Args:
        categorical: columns to encode one-hot; all other columns are numbers.
        alike: groups of these columns whose categories are the union over the group, as the positions of a text have
            one alphabet. Default: none.
        most: largest number of categories of a column, or None for no limit. Default 1,000.

    Example:
        >>> table = pd.DataFrame({"sex": ["F", "M"], "length": [1.0, 3.0]})
        >>> TableEncoder(["sex"]).fit(table)(table).tolist()
        [[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]]
    """

    def __init__(
        self, categorical: Sequence[str], alike: Sequence[Sequence[str]] = (), most: int | None = MAX_ONE_HOT
    ) -> None:
        self.categorical = list(categorical)
        self._most = most
        self._alike = [list(group) for group in alike]

    def fit(self, table: pd.DataFrame) -> TableEncoder:
        """Fit categories, medians, means and deviations, and return self.

        Raises:
            ValueError: if a column of numbers has no value, or a column has too many categories.
        """
        self.categories = {
            name: np.array(sorted(category_names(table[name]).dropna().unique()), dtype=object)
            for name in self.categorical
        }
        for group in self._alike:
            union = np.array(sorted(set().union(*(self.categories[name] for name in group))), dtype=object)
            self.categories |= dict.fromkeys(group, union)
        for name, known in self.categories.items():
            if self._most is not None and len(known) > self._most:
                problem = (
                    f"column {shown(name)} has {len(known)} categories in the training rows, more than {self._most}"
                )
                advice = (
                    "Set data.categories=embed for a network, add the column to data.drop, merge rare categories in "
                    "the file, or describe them by numbers."
                )
                if len({len(value) for value in known}) == 1:
                    advice += f" If each character counts, set {list_setting('data.letters', [name])}."
                raise ValueError(message("data.categorical", problem, advice=advice))
        self.numeric = [name for name in table.columns if name not in self.categorical]
        numbers = self._numbers(table)
        empty = [name for place, name in enumerate(self.numeric) if np.isnan(numbers[:, place]).all()]
        if empty:
            problem = f"no value in the training rows in the columns {shown(empty, 1000)}"
            raise ValueError(message("data.drop", problem, advice="Add these columns to data.drop."))
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
        """Return the number of encoded columns."""
        return sum(len(known) for known in self.categories.values()) + len(self.numeric)

    def complete(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table without missing values and with the same encoding: numbers filled in, categories as text.

        A missing category becomes :data:`MISSING`, which is encoded as zeros like each unknown category.
        """
        filled = zip(self.numeric, self.fill, strict=True)
        numbers = {name: parse_numbers(table[name]).fillna(fill) for name, fill in filled}
        categories = {name: category_names(table[name]).fillna(MISSING) for name in self.categorical}
        return with_columns(table, numbers | categories)

    def numbers(self, table: pd.DataFrame) -> Tensor:
        """Return the standardised numbers, float32 [N, columns of numbers]."""
        return torch.from_numpy(self._standardised(table)).to(torch.float32)

    def _standardised(self, table: pd.DataFrame) -> NDArray[np.float64]:
        numbers = self._numbers(table)
        found: NDArray[np.float64] = (np.where(np.isnan(numbers), self.fill, numbers) - self.mean) / self.scale
        return found

    def _numbers(self, table: pd.DataFrame) -> NDArray[np.float64]:
        columns = [parse_numbers(table[name]).to_numpy() for name in self.numeric]
        # Columns are contiguous, as in DataFrame.to_numpy: sums along them are rounded in the same way.
        return np.stack(columns).T if columns else np.zeros((len(table), 0))

    def __call__(self, table: pd.DataFrame) -> Tensor:
        """Return the encoded rows, float32 [N, width]."""
        parts: list[NDArray[np.float64]] = []
        for name, known in self.categories.items():
            values = category_names(table[name]).to_numpy(dtype=object)
            parts.append((values[:, None] == known[None, :]).astype(np.float64))
        parts.append(self._standardised(table))
        return torch.from_numpy(np.concatenate(parts, axis=1)).to(torch.float32)
