"""Datasets made of another one: some of its rows, or several random views of each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate


def labels_of(data: Dataset[Any]) -> Tensor:
    """The labels [N] of a dataset of the recipes."""
    labels: Tensor = data.labels  # type: ignore[attr-defined]
    return labels


def fetch(data: Dataset[Any], indices: list[int]) -> Any:
    """A batch: at once where the dataset can, else sample by sample."""
    at_once = getattr(data, "__getitems__", None)
    return default_collate([data[i] for i in indices]) if at_once is None else at_once(indices)


class Rows(Dataset[Any]):
    """Some rows of a dataset, in the order given.

    Args:
        data: with ``labels`` [N].
        rows: int64 indices into it.

    Example:
        >>> from dir.data.base import ArrayDataset
        >>> data = ArrayDataset(torch.zeros(3, 2), torch.tensor([5.0, 6.0, 7.0]))
        >>> Rows(data, torch.tensor([2, 0])).labels
        tensor([7., 5.])
    """

    def __init__(self, data: Dataset[Any], rows: Tensor) -> None:
        self.data = data
        self.rows = rows.tolist()
        self.labels = labels_of(data).index_select(0, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.data[self.rows[index]]

    def __getitems__(self, indices: list[int]) -> Any:
        return fetch(self.data, [self.rows[i] for i in indices])


class Views(Dataset[Any]):
    """Every batch as several random views of the same samples, one behind the other.

    A batch of N indices gives ``views * N`` rows: first one view of each, then the next; labels repeat.

    Args:
        data: fetches with random augmentation.
        views: how many, >= 1.

    Example:
        >>> from dir.data.base import ArrayDataset
        >>> data = ArrayDataset(torch.zeros(3, 2), torch.tensor([5.0, 6.0, 7.0]))
        >>> Views(data, 2).__getitems__([0, 2])[1]
        tensor([5., 7., 5., 7.])
    """

    def __init__(self, data: Dataset[Any], views: int) -> None:
        self.data = data
        self.views = views
        self.labels = labels_of(data)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.data[index]

    def __getitems__(self, indices: list[int]) -> Any:
        return _join([fetch(self.data, indices) for _ in range(self.views)])


def _join(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    return tuple(_join([part[i] for part in parts]) for i in range(len(first)))
