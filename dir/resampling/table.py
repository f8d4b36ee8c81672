"""A training table as numbers and codes, and back; arrays and data frames keep their types and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

Categorical = Literal["auto"] | Sequence[Any] | None


class Synthetic(NamedTuple):
    """New rows: numeric columns [M, P], codes of the categorical ones [M, Q], labels [M]."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    labels: NDArray[np.float64]


class Table:
    """The rows of ``X`` and ``y``, split into numeric columns and category codes.

    Args:
        X: [N, D] array, or a data frame.
        y: [N] array, list or Series.
        categorical: "auto" takes a frame's columns of type category, text, object or bool, and no column of
            an array; a mask over the columns, or a list of their positions or (for frames) names.

    Raises:
        ValueError: missing or infinite values (with the columns), text in a numeric column, other shapes; a
            ``categorical`` that fits no column.
        TypeError: a sparse matrix; objects that are no text in a numeric column.
    """

    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    labels: NDArray[np.float64]

    def __init__(self, X: Any, y: Any, categorical: Categorical = "auto") -> None:  # noqa: N803
        if issparse(X):
            raise TypeError("X must be dense, got a sparse matrix: use X.toarray()")
        self.framed = hasattr(X, "iloc")
        self.X: Any = X if self.framed else np.asarray(X)
        self.y: Any = y if hasattr(y, "iloc") else np.asarray(y)
        if self.X.ndim != 2:
            raise ValueError(f"X must have two dimensions, got {self.X.ndim}: Reshape your data to [rows, columns]")
        if self.y.ndim != 1 or len(self.y) != len(self.X):
            raise ValueError(
                f"y must have one label per row of X, shape [{len(self.X)}], got shape {list(self.y.shape)}"
            )
        if len(self.X) < 2:
            raise ValueError(f"X must have two rows or more, got n_samples = {len(self.X)}")
        self.labels = _as_numbers(np.asarray(self.y), "y")
        names = self.names = list(getattr(self.X, "columns", range(self.X.shape[1])))
        mask = self._mask(categorical, names)
        self.numeric, self.nominal = np.flatnonzero(~mask), np.flatnonzero(mask)
        shape = len(self.X)
        self.numbers = np.empty((shape, len(self.numeric)))
        self.codes = np.empty((shape, len(self.nominal)), dtype=np.int64)
        self.categories: list[NDArray[Any]] = []
        for place, column in enumerate(self.numeric.tolist()):
            self.numbers[:, place] = _as_numbers(self._column(column), f"column {names[column]!r} of X")
        for place, column in enumerate(self.nominal.tolist()):
            self.codes[:, place] = self._encode(column, names[column])

    def take(self, kept: NDArray[np.int64], fresh: Sequence[Synthetic] = ()) -> tuple[Any, Any]:
        """Original rows, untouched, followed by synthetic ones, in the kind and types of what came in.

        Whole-number columns and labels are rounded; a frame's index counts anew.
        """
        numbers, codes, labels = (
            np.concatenate([getattr(part, name) for part in fresh]) if fresh else getattr(self, name)[:0]
            for name in Synthetic._fields
        )
        columns: list[Any] = [None] * self.X.shape[1]
        for place, column in enumerate(self.numeric.tolist()):
            columns[column] = numbers[:, place]
        for place, column in enumerate(self.nominal.tolist()):
            columns[column] = self.categories[place][codes[:, place]]
        if not self.framed:
            new = np.empty((len(labels), len(columns)), dtype=self.X.dtype)
            for k, values in enumerate(columns):
                new[:, k] = _as_type(values, self.X.dtype)
            X = np.concatenate([self.X[kept], new])  # noqa: N806
        else:
            X = _extend_frame(self.X, kept, columns, len(labels))  # noqa: N806
        return X, self._extend_labels(kept, labels)

    def _extend_labels(self, kept: NDArray[np.int64], labels: NDArray[np.float64]) -> Any:
        if isinstance(self.y, np.ndarray):
            dtype = self.y.dtype if self.y.dtype != object else np.dtype(np.float64)
            return np.concatenate([self.y[kept].astype(dtype), _as_type(labels, dtype)])
        import pandas as pd

        values = _series(labels, self.y.dtype, self.y.name)
        return pd.concat([self.y.iloc[kept], values], ignore_index=True) if len(values) else _reset(self.y, kept)

    def _column(self, column: int) -> Any:
        return self.X.iloc[:, column].to_numpy() if self.framed else self.X[:, column]

    def _encode(self, column: int, name: Any) -> NDArray[np.int64]:
        values = self._column(column)
        known: dict[Any, int] = {}
        codes = np.array([known.setdefault(value, len(known)) for value in values.tolist()], dtype=np.int64)
        if any(value is None or value != value or str(value) == "<NA>" for value in known):
            raise ValueError(f"column {name!r} of X has missing values (NaN): fill them in or drop the rows first")
        categories = np.empty(len(known), dtype=object)
        categories[:] = list(known)
        self.categories.append(categories)
        return codes

    def _mask(self, categorical: Categorical, names: list[Any]) -> NDArray[np.bool_]:
        if isinstance(categorical, str) and categorical == "auto":
            return np.array(
                [self.framed and _is_nominal(self.X.iloc[:, k].dtype) for k in range(len(names))], dtype=np.bool_
            )
        mask = np.zeros(len(names), dtype=bool)
        given = [] if categorical is None else list(categorical)
        if given and all(isinstance(value, (bool, np.bool_)) for value in given):
            if len(given) != len(names):
                raise ValueError(f"categorical is a mask of {len(given)} columns, X has {len(names)}")
            return np.array(given, dtype=bool)
        for value in given:
            if value in names:
                mask[names.index(value)] = True
            elif isinstance(value, (int, np.integer)) and -len(names) <= value < len(names):
                mask[value] = True
            else:
                raise ValueError(f"categorical names {value!r}, which X does not have; its columns are {names}")
        return mask


def _as_numbers(values: Any, what: str) -> NDArray[np.float64]:
    if np.iscomplexobj(values):
        raise ValueError(f"{what} must be real: Complex data not supported")
    try:
        numbers = np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{what} must be numbers ({error}): name it in categorical, give it the type 'category', or convert it"
        ) from error
    if np.asarray(values).dtype.kind in "mM":
        raise ValueError(f"{what} holds dates or durations: convert it to numbers or give it the type 'category'")
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise ValueError(
            f"{what} has {bad} missing or infinite values (NaN, inf): fill them in or drop the rows first"
        )
    return numbers


def _is_nominal(dtype: Any) -> bool:
    return str(dtype) in ("category", "object", "str", "bool", "boolean") or str(dtype).startswith("string")


def _as_type(values: Any, dtype: Any) -> Any:
    """Values as an array of a NumPy type; whole numbers by rounding, within what the type can hold."""
    if np.issubdtype(dtype, np.integer) and values.dtype != object:
        bounds = np.iinfo(dtype)
        values = np.clip(np.rint(values), bounds.min, bounds.max)
    return values.astype(dtype)


def _series(values: Any, dtype: Any, name: Any) -> Any:
    import pandas as pd

    if values.dtype != object and pd.api.types.is_integer_dtype(dtype):
        bounds = np.iinfo(str(dtype).lower())
        values = np.clip(np.rint(values), bounds.min, bounds.max)
    return pd.Series(values, name=name).astype(dtype)


def _reset(part: Any, kept: NDArray[np.int64]) -> Any:
    return part.iloc[kept].reset_index(drop=True)


def _extend_frame(frame: Any, kept: NDArray[np.int64], columns: list[Any], rows: int) -> Any:
    old = _reset(frame, kept)
    if not rows:
        return old
    import pandas as pd

    # Column by column, so that equal names and every type survive.
    pairs = zip(columns, frame.dtypes, strict=True)
    new = pd.concat([_series(values, dtype, k) for k, (values, dtype) in enumerate(pairs)], axis=1)
    new.columns = frame.columns
    return pd.concat([old, new], ignore_index=True)
