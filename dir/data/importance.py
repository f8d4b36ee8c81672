"""Importance of each row: a number >= 0 that multiplies the weight of the row in training and in weighted metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import message
from dir.data.problems import Problems, show_rows, shown
from dir.data.rows import fetch, labels_of


class WeightedRows(Dataset[Any]):
    """Dataset whose batches hold the importance of each sample behind inputs and labels.

    Args:
        data: dataset of (input, label).
        importance: importance of each row, [N].

    Shape:
        ``dataset.__getitems__(indices)``: inputs, labels ``[len(indices)]``, importance ``[len(indices)]``.

    Example:
        >>> from dir.data.arrays import ArrayDataset
        >>> data = ArrayDataset(torch.zeros(3, 2), torch.tensor([5.0, 6.0, 7.0]))
        >>> WeightedRows(data, torch.tensor([1.0, 0.0, 3.0])).__getitems__([2, 0])[2]
        tensor([3., 1.])
    """

    def __init__(self, data: Dataset[Any], importance: Tensor) -> None:
        self.data = data
        self.labels = labels_of(data)
        self.importance = importance

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return (*self.data[index], self.importance[index])

    def __getitems__(self, indices: list[int]) -> Any:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return (*fetch(self.data, indices), self.importance.index_select(0, rows))


class ImportantRows:
    """The part of a data module that knows the importance of the rows of each split.

    A subclass calls :meth:`set_importance` in ``build``.
    """

    _importance: dict[str, Tensor] | None = None
    importance_source = ""
    # Lines about the importance, for the description of the data.
    importance_notes: Sequence[str] = ()

    def importance(self, split: str) -> Tensor | None:
        """Return the importance of each row of a split, float32 [N], in the order of the split; None without one."""
        return None if self._importance is None else self._importance.get(split)

    def set_importance(self, values: Mapping[str, ArrayLike], where: str) -> None:
        """Set the importance of the rows of the given splits.

        Args:
            values: numbers [N] by split.
            where: name of their source, for messages and for the description of the data.

        Raises:
            ValueError: an importance that is negative or not finite, or training rows whose importance is 0 alone.
        """
        self._importance, self.importance_source = {}, where
        for split, given in values.items():
            self.update_importance(split, given)

    def update_importance(self, split: str, values: ArrayLike) -> None:
        """Set the importance of the rows of one split; arguments and errors as for :meth:`set_importance`."""
        numbers, where = np.asarray(values, np.float64), self.importance_source
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        if wrong.any():
            problem = f"expected finite numbers >= 0, {int(wrong.sum())} of {len(numbers)} {split} rows have others"
            raise ValueError(message(where, problem, float(numbers[wrong][0])))
        if split == "train" and not numbers.any():
            raise ValueError(message(where, f"the importance of all {len(numbers)} training rows is 0"))
        self._importance = (self._importance or {}) | {split: torch.tensor(numbers, dtype=torch.float32)}

    def multiply_importance(self, split: str, weights: ArrayLike, where: str, notes: Sequence[str] = ()) -> None:
        """Multiply the importance of the rows of one split, 1 where it has none.

        Args:
            split: name of the split.
            weights: finite numbers >= 0, [N].
            where: name of their source.
            notes: lines for the description of the data.
        """
        before, source = self.importance(split), self.importance_source
        self.importance_source = f"{source}, {where}" if source else where
        factor = np.asarray(weights, np.float64)
        self.update_importance(split, factor if before is None else factor * before.double().numpy())
        self.importance_notes = (*self.importance_notes, *notes)

    def describe_importance(self) -> dict[str, Any]:
        """Return source, mean, smallest, largest value and number of zeros by split; nothing without importance."""
        if self._importance is None:
            return {}
        splits = {
            split: {
                "mean": float(values.double().mean()),
                "min": float(values.min()),
                "max": float(values.max()),
                "zeros": int((values == 0).sum()),
            }
            for split, values in self._importance.items()
        }
        notes = {"notes": list(self.importance_notes)} if self.importance_notes else {}
        return {"importance": {"source": self.importance_source, "splits": splits, **notes}}

    def _restrict_importance(self, split: str, rows: Tensor) -> None:
        if self._importance is not None and split in self._importance:
            kept = self._importance[split].index_select(0, rows)
            if split == "train" and not bool(kept.any()):
                raise ValueError(
                    message(self.importance_source, "the importance of all remaining training rows is 0")
                )
            self._importance[split] = kept


def find_importance(column: pd.Series[Any], problems: Problems) -> NDArray[np.float64]:
    """Return a column as float64; add values that are no finite numbers >= 0 to the problems.

    Args:
        column: importance of the rows, its index counts the rows of the file from 0.
        problems: of the file.
    """
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        problems.add(
            f"column {shown(column.name)}: an importance is a finite number >= 0, {len(wrong)} values are not, the "
            f"first is {column.iloc[wrong[0]]!s:.60}; rows {show_rows(column.index.to_numpy()[wrong])}",
            "Correct them, or remove data.importance.",
        )
    return values
