"""Rows of raw inputs that are encoded batch by batch, and the rows that cannot be encoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dir.data.csv_reading import CsvOptions

Inputs = Tensor | tuple[Tensor, ...]
SHOWN = 20
_LONGEST = 200


class RowsError(ValueError):
    """Rows that cannot be predicted.

    Attributes:
        problems: reason for each such row, by row number from 0; for windows by the number of the window.

    Args:
        problems: see above.
        count: number of rows or windows.
        numbers: number of the last row of each window, from 0. Default None: rows.
    """

    def __init__(self, problems: Mapping[int, str], count: int, numbers: Sequence[int] | None = None) -> None:
        self.problems = dict(sorted(problems.items()))
        listed = list(self.problems.items())[:SHOWN]
        lines = [f"row {row + 1 if numbers is None else numbers[row] + 1}: {why[:_LONGEST]}" for row, why in listed]
        more = len(self.problems) - SHOWN
        if more > 0:
            lines.append(f"... and {more} more")
        shown = "\n  ".join(lines)
        kind = "rows cannot be predicted (counted from 1)"
        if numbers is not None:
            kind = "windows cannot be predicted (named by their last row, counted from 1)"
        super().__init__(
            f"inputs: {len(self.problems)} of {count} {kind}:\n  {shown}\n"
            'Correct these rows, or leave them out: predict(..., on_error="nan"), dir-predict on_error=skip.'
        )


class Rows(ABC):
    """Raw inputs, ready to be encoded.

    Attributes:
        count: number of rows.
        problems: reason for each row that cannot be predicted, by row number from 0; it grows as rows are read.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.problems: dict[int, str] = {}
        # For windows the number of the last row of each, from 0.
        self.numbers: list[int] | None = None

    @abstractmethod
    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        """Return the rows that could be read, and their encoded inputs; None where no row is left."""

    def frame(self, indices: list[int]) -> Any:
        """Return the rows as a frame of complete columns, for scikit-learn regressors."""
        raise TypeError(f"inputs: a scikit-learn regressor needs a table, got {type(self).__name__}.")

    def good(self, indices: list[int]) -> list[int]:
        """Return the indices without a known problem."""
        return [index for index in indices if index not in self.problems]


class InputEncoder(ABC):
    """Turn the raw inputs of one kind into :class:`Rows`."""

    kind: str
    # How a file of such rows is written, where the bundle tells it.
    csv: CsvOptions | None = None

    @abstractmethod
    def open(self, inputs: Any, **options: Any) -> Rows:
        """Return the rows of raw inputs.

        Raises:
            ValueError: inputs of another form, with the forms that are accepted.
        """


def no_options(options: Mapping[str, Any]) -> None:
    """Raise a TypeError for keyword arguments that this kind of input does not have."""
    if options:
        raise TypeError(f"predict: unexpected keyword argument {next(iter(options))!r} for this kind of input.")
