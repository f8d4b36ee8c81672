"""Columns of a table as standardised numbers and codes of categories: CodeEncoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir.data.tables import TableEncoder, category_names


class CodeEncoder:
    """Encoding of columns for a network that embeds categories: numbers standardised, and a code for each category.

    The code of a category is its place among the categories of the training rows, counted from 1. A missing category,
    or a category that the training rows do not have, has the code 0.

    Args:
        encoder: fitted encoder of the same columns.

    Example:
        >>> table = pd.DataFrame({"sex": ["F", "M"], "length": [1.0, 3.0]})
        >>> encode = CodeEncoder(TableEncoder(["sex"]).fit(table))
        >>> numbers, codes = encode(pd.DataFrame({"sex": ["M", "X"], "length": [3.0, 1.0]}))
        >>> numbers.tolist(), codes.tolist(), encode.sizes
        ([[1.0], [-1.0]], [[2], [0]], [3])
    """

    def __init__(self, encoder: TableEncoder) -> None:
        self.encoder = encoder
        self._codes = {
            name: {category: code for code, category in enumerate(known, 1)}
            for name, known in encoder.categories.items()
        }

    @property
    def width(self) -> int:
        """Return the number of columns of numbers."""
        return len(self.encoder.numeric)

    @property
    def sizes(self) -> list[int]:
        """Return the number of codes of each column of categories, with the code 0."""
        return [len(known) + 1 for known in self.encoder.categories.values()]

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted encoding as plain values, see :meth:`TableEncoder.to_dict`."""
        return self.encoder.to_dict() | {"codes": True}

    def complete(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table without missing values, see :meth:`TableEncoder.complete`."""
        return self.encoder.complete(table)

    def __call__(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Return the numbers, float32 [N, width], and the codes, int64 [N, columns of categories]."""
        columns: list[NDArray[np.int64]] = []
        for name, codes in self._codes.items():
            names = category_names(table[name]).to_numpy(dtype=object)
            columns.append(np.array([codes.get(value, 0) for value in names], dtype=np.int64))
        return self.encoder.numbers(table), torch.from_numpy(np.stack(columns, axis=1))
