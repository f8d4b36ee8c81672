"""Table: a training table as numbers and category codes, and back to the types and columns that were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from dir._checks import message

Categorical = Literal["auto"] | Sequence[Any] | None


class Synthetic(NamedTuple):
    """New rows: numeric columns [M, P], codes of the categorical columns [M, Q], labels [M]."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    labels: NDArray[np.float64]


class Table:
    """Rows of ``X`` and ``y``, split into numeric columns and category codes.

    Args:
        X: [N, D] array, or a data frame.
        y: [N] array, list or Series.
        categorical: "auto" takes a frame's columns of type category, text, object or bool, and no column of
            an array; a mask over the columns, or a list of their positions or (for frames) names.

    Raises:
        ValueError: for missing or infinite values (the column is named), text in a numeric column, wrong shapes, and
            names in ``categorical`` that X does not have.
        TypeError: for a sparse matrix, and for objects other than text in a numeric column.
    """

    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    labels: NDArray[np.float64]

    def __init__(self, X: Any, y: Any, categorical: Categorical = "auto") -> None:  # noqa: N803
        if issparse(X):
            raise TypeError(message("X", "expected a dense array, got a sparse matrix", advice="Use X.toarray()."))
        self.framed = hasattr(X, "iloc")
        self.X: Any = X if self.framed else np.asarray(X)
        self.y: Any = y if hasattr(y, "iloc") else np.asarray(y)
        if self.X.ndim != 2:
            raise ValueError(message("X", "expected two dimensions", self.X.ndim, "Reshape your data to [N, D]."))
        if self.y.ndim != 1 or len(self.y) != len(self.X):
            problem = f"expected one label for each row of X, shape [{len(self.X)}]"
            raise ValueError(message("y", problem, list(self.y.shape)))
        if len(self.X) < 2:
            raise ValueError(message("X", f"expected at least two rows, got n_samples = {len(self.X)}"))
        self.labels = _as_numbers(np.asarray(self.y), "y")
        names = self.names = list(getattr(self.X, "columns", range(self.X.shape[1])))
        mask = self._mask(categorical, names)
        self.numeric, self.nominal = np.flatnonzero(~mask), np.flatnonzero(mask)
        shape = len(self.X)
        self.numbers = np.empty((shape, len(self.numeric)))
        self.codes = np.empty((shape, len(self.nominal)), dtype=np.int64)
        self.categories: list[NDArray[Any]] = []
        for place, column in enumerate(self.numeric.tolist()):
            self.numbers[:, place] = _as_numbers(self._column(column), f"X[{names[column]!r}]")
        for place, column in enumerate(self.nominal.tolist()):
            self.codes[:, place] = self._encode(column, names[column])

    def take(self, kept: NDArray[np.int64], fresh: Sequence[Synthetic] = ()) -> tuple[Any, Any]:
        """Return the kept original rows, unchanged, then the synthetic rows, in the types that were given.

        Synthetic values of whole-number columns and labels are rounded. The index of a frame starts at 0.
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
            problem = "missing values (NaN) in a categorical column"
            raise ValueError(message(f"X[{name!r}]", problem, advice="Fill them in or drop the rows first."))
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
                raise ValueError(message("categorical", f"expected a mask of {len(names)} columns", len(given)))
            return np.array(given, dtype=bool)
        for value in given:
            if value in names:
                mask[names.index(value)] = True
            elif isinstance(value, (int, np.integer)) and -len(names) <= value < len(names):
                mask[value] = True
            else:
                known = ", ".join(map(repr, names[:50]))
                raise ValueError(message("categorical", f"expected a column of X ({known})", value))
        return mask


def _as_numbers(values: Any, what: str) -> NDArray[np.float64]:
    if np.iscomplexobj(values):
        raise ValueError(message(what, "Complex data not supported", advice="Give real numbers."))
    try:
        numbers = np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        advice = "Name the column in categorical, give it the type 'category', or convert it to numbers."
        raise type(error)(message(what, f"expected numbers ({error})", advice=advice)) from error
    if np.asarray(values).dtype.kind in "mM":
        advice = "Convert them to numbers, or give the column the type 'category'."
        raise ValueError(message(what, "expected numbers, got dates or durations", advice=advice))
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        problem = f"{bad} missing or infinite values (NaN, inf)"
        raise ValueError(message(what, problem, advice="Fill them in or drop the rows first."))
    return numbers


def _is_nominal(dtype: Any) -> bool:
    return str(dtype) in ("category", "object", "str", "bool", "boolean") or str(dtype).startswith("string")


def _as_type(values: Any, dtype: Any) -> Any:
    """Return the values as an array of a NumPy type; whole numbers are rounded and kept in the range of the type."""
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

    # Column by column, so that equal names and all types are kept.
    pairs = zip(columns, frame.dtypes, strict=True)
    new = pd.concat([_series(values, dtype, k) for k, (values, dtype) in enumerate(pairs)], axis=1)
    new.columns = frame.columns
    return pd.concat([old, new], ignore_index=True)
