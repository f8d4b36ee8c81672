"""Windows of rows as wide rows, and their encoding: WindowEncoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir.data.tables import TableEncoder


def lagged(name: object, lag: int) -> str:
    """Return the name of a column some rows before the end of a window.

    Example:
        >>> lagged("TEMP", 3), lagged("TEMP", 0)
        ('TEMP[-3]', 'TEMP[0]')
    """
    return f"{name}[{-lag}]"


def widen(table: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Return one row per window: the columns of its first row, then those of the next, ...

    Args:
        table: rows.
        rows: positions of the rows of each window, oldest first, [M, length].

    Example:
        >>> widen(pd.DataFrame({"x": [1, 2, 3]}), np.array([[0, 1], [1, 2]])).to_dict("list")
        {'x[-1]': [1, 2], 'x[0]': [2, 3]}
    """
    length = rows.shape[1]
    parts = {
        lagged(name, length - 1 - place): table[name].array.take(rows[:, place])
        for place in range(length)
        for name in table.columns
    }
    return pd.DataFrame(parts)


class WindowEncoder:
    """Encoding of the rows of :func:`widen`: each row of a window by the same :class:`TableEncoder`.

    Args:
        encoder: fitted encoder of one row.
        length: rows of a window.

    Shape:
        output: float32 ``[M, length * width]``, the oldest row first; ``width`` is that of the encoder.
    """

    def __init__(self, encoder: TableEncoder, length: int) -> None:
        self.encoder = encoder
        self.length = length

    @property
    def width(self) -> int:
        """Return the number of encoded columns of a window."""
        return self.length * self.encoder.width

    def to_dict(self) -> dict[str, Any]:
        """Return the encoding of one row as plain values, see :meth:`TableEncoder.to_dict`."""
        return self.encoder.to_dict()

    def complete(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the windows without missing values, see :meth:`TableEncoder.complete`."""
        parts = [self.encoder.complete(self._row(table, lag)) for lag in self._lags()]
        return pd.concat(
            [part.add_suffix(f"[{-lag}]") for part, lag in zip(parts, self._lags(), strict=True)], axis=1
        )

    def __call__(self, table: pd.DataFrame) -> Tensor:
        """Return the encoded windows."""
        return torch.cat([self.encoder(self._row(table, lag)) for lag in self._lags()], dim=1)

    def _lags(self) -> range:
        return range(self.length - 1, -1, -1)

    def _row(self, table: pd.DataFrame, lag: int) -> pd.DataFrame:
        names = [*self.encoder.categorical, *self.encoder.numeric]
        part = table[[lagged(name, lag) for name in names]]
        return part.set_axis(names, axis=1)
