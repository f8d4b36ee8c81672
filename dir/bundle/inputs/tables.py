"""Rows of a table: the columns of the training table, checked and encoded as in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir._checks import check_choice, message
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs.csv_options import read_csv_options
from dir.bundle.inputs.rows import InputEncoder, Inputs, Rows, no_options
from dir.data.category_codes import CodeEncoder
from dir.data.csv_reading import CsvOptions
from dir.data.dates import parse_dates
from dir.data.tables import (
    DATE_PARTS,
    TableEncoder,
    category_names,
    expand_dates,
    expand_letters,
    letter_columns,
    parse_numbers,
    shown,
)


class TableRows(Rows):
    """A frame with the columns of the training table, numbers as float64 and categories as text."""

    def __init__(self, table: pd.DataFrame, encoder: TableEncoder | CodeEncoder, problems: dict[int, str]) -> None:
        super().__init__(len(table))
        self.table = table
        self._encoder = encoder
        self.problems = problems

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        return indices, self._encoder(self.table.iloc[indices])

    def frame(self, indices: list[int]) -> pd.DataFrame:
        return self._encoder.complete(self.table.iloc[indices].reset_index(drop=True))


class TableInputs(InputEncoder):
    """A frame, a dictionary of columns, or an array ``[N, columns]`` in the order of the training columns.

    Attributes:
        columns: encoded columns; each column of dates gives several.
        raw: columns of the file.
        letters: length of the texts of each column of letters.
        csv: how a file of such rows is written.
        encoder: fitted encoder of the columns.
        encode: makes the inputs of the model: ``encoder``, or its numbers and codes for a model that embeds
            categories.
    """

    kind = "table"

    def __init__(self, fields: Fields) -> None:
        self.columns = fields.texts("columns")
        self.target = fields.text("target")
        self.missing = fields.choice("missing", ["refuse", "median", "drop"])
        self.dates = fields.texts("dates")
        lengths = Fields(fields.optional("letters") or {}, fields.path, "letters")
        self.letters = {name: lengths.integer(name, 1, 2**16) for name in lengths.values}
        parts = {f"{name}_{part}" for name in self.dates for part in DATE_PARTS}
        positions = {one for name, length in self.letters.items() for one in letter_columns(name, length)}
        if not positions <= set(self.columns):
            raise BundleError(message(fields.name("letters"), "positions that are no columns", self.letters))
        self.raw = [name for name in self.columns if name not in parts | positions] + self.dates + [*self.letters]
        self.csv: CsvOptions = read_csv_options(fields.section("csv"))
        self.encoder = _read_encoder(fields.section("encoder"), self.columns)
        self.codes = "codes" in fields.section("encoder").values and fields.section("encoder").flag("codes")
        self.encode = CodeEncoder(self.encoder) if self.codes else self.encoder
        # Names of categories that pandas once read as numbers: "1" and "1.0" are one category.
        self._numeric_names = {
            name: all(_is_number(value) for value in known) for name, known in self.encoder.categories.items()
        }

    @property
    def needed(self) -> list[str]:
        """Columns of the file that a prediction needs."""
        return self.raw

    def open(self, inputs: Any, **options: Any) -> TableRows:
        """Return the rows of a table.

        Args:
            inputs: see the class; columns that the model does not use are ignored.
            options: ``unknown="refuse"`` (default) reports a row whose category was not in the training rows;
                ``"zeros"`` encodes the category as zeros, or by code 0, as the evaluation of the run does.
        """
        unknown = options.pop("unknown", "refuse")
        check_choice("unknown", unknown, ["refuse", "zeros"])
        no_options(options)
        frame = self._frame(inputs)
        problems: dict[int, list[str]] = {}

        def report(name: str, rows: NDArray[np.bool_], reason: str) -> None:
            for row in np.flatnonzero(rows).tolist():
                value = frame[name].iloc[row]
                said = reason if pd.isna(value) else f"{reason}, got {shown(value)}"
                problems.setdefault(row, []).append(f"column {shown(name)}: {said}")

        columns: dict[str, Any] = {}
        for name in self.raw:
            absent = frame[name].isna().to_numpy()
            if self.missing != "median":
                report(name, absent, "missing value")
            if name in self.dates:
                report(name, parse_dates(frame[name]).isna().to_numpy() & ~absent, "not a date")
                columns |= {
                    str(part): values.to_numpy() for part, values in expand_dates(frame[[name]], [name]).items()
                }
            elif name in self.letters:
                columns |= self._letters(name, frame[name], absent, unknown, report)
            elif name in self.encoder.categories:
                columns[name] = self._categories(name, frame[name])
                if unknown == "refuse":
                    known = set(self.encoder.categories[name])
                    # A missing value is none of the known names, and is reported above where it is refused.
                    strange = np.array([value not in known for value in columns[name]], dtype=bool) & ~absent
                    report(name, strange, "category that the training rows do not have")
            else:
                numbers = parse_numbers(frame[name])
                large = np.abs(numbers.to_numpy()) > np.finfo(np.float32).max
                report(name, (numbers.isna().to_numpy() & ~absent) | large, "not a finite number")
                columns[name] = numbers.to_numpy()
        table = pd.DataFrame(columns, columns=self.columns, index=range(len(frame)))
        return TableRows(table, self.encode, {row: "; ".join(found) for row, found in problems.items()})

    def _frame(self, inputs: Any) -> pd.DataFrame:
        if isinstance(inputs, dict):
            inputs = pd.DataFrame(inputs)
        if not isinstance(inputs, pd.DataFrame):
            array = np.asarray(inputs)
            if array.ndim != 2 or array.shape[1] != len(self.needed):
                raise ValueError(
                    message(
                        "inputs",
                        f"expected a frame or an array [N, {len(self.needed)}] with the columns {self.needed}",
                        list(array.shape),
                    )
                )
            return pd.DataFrame(array, columns=self.needed)
        repeated = [name for name in self.needed if (inputs.columns == name).sum() > 1]
        if repeated:
            raise ValueError(message("inputs", f"column {shown(repeated[0])} occurs more than once"))
        lacking = [name for name in self.needed if name not in inputs.columns]
        if lacking:
            found = shown(list(inputs.columns), 1000)
            advice = f"The model needs the columns {shown(self.needed, 1000)}."
            raise ValueError(message("inputs", f"no column {lacking} (found: {found})", advice=advice))
        return inputs.reset_index(drop=True)

    def _letters(
        self,
        name: str,
        column: pd.Series[Any],
        absent: NDArray[np.bool_],
        unknown: str,
        report: Callable[[str, NDArray[np.bool_], str], None],
    ) -> dict[str, Any]:
        """Return the letters at each position of the texts of a column, by the name of the position."""
        length = self.letters[name]
        other = (column.astype("string").str.len() != length).to_numpy(dtype=bool, na_value=False)
        report(name, other & ~absent, f"expected a text of {length} letters")
        positions = expand_letters(column.to_frame(), {name: length})
        for place, position in enumerate(positions.columns, 1):
            known = set(self.encoder.categories[str(position)])
            letters = positions[position]
            strange = np.array([letter not in known for letter in letters], dtype=bool) & ~absent & ~other
            for letter in sorted(set(letters[strange])) if unknown == "refuse" else ():
                at = strange & (letters == letter).to_numpy()
                report(name, at, f"letter {shown(letter)} at position {place} does not occur in the training rows")
        return {str(position): positions[position].to_numpy(dtype=object) for position in positions}

    def _categories(self, name: str, column: pd.Series[Any]) -> NDArray[Any]:
        """Return the categories as text; None where missing."""
        names = np.array(category_names(column).tolist(), dtype=object)
        names[column.isna().to_numpy()] = None
        if self._numeric_names[name]:
            known = set(self.encoder.categories[name])
            names = np.array([_canonical(value, known) for value in names], dtype=object)
        return names


def _read_encoder(fields: Fields, columns: list[str]) -> TableEncoder:
    names = [part.text("name") for key in ("categories", "numbers") for part in fields.sections(key)]
    if sorted(names) != sorted(columns):
        raise BundleError(message(fields.path, "categories and numbers are not the columns of the input", names[:10]))
    for part in fields.sections("categories"):
        part.texts("values")
    for part in fields.sections("numbers"):
        part.number("fill"), part.number("mean"), part.positive("scale")
    return TableEncoder.from_dict(fields.values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _canonical(value: str | None, known: set[str]) -> str | None:
    """Return the known name of a number that is written in another way, such as "1.0" for "1"."""
    if value is None or value in known or not _is_number(value):
        return value
    return next((name for name in known if float(name) == float(value)), value)
