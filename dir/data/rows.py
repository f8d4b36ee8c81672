"""Labels and batches of the datasets of the recipes, and a dataset of several random views of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, default_collate

from dir._checks import message
from dir.bins import check_finite


def labels_of(data: Dataset[Any]) -> Tensor:
    """Return the labels, [N] or [N, K], of a dataset that has ``labels``, or of a subset of one.

    Example:
        >>> from dir.data.arrays import ArrayDataset
        >>> data = ArrayDataset(torch.zeros(3, 2), torch.tensor([5.0, 6.0, 7.0]))
        >>> labels_of(Subset(data, [2, 0]))
        tensor([7., 5.])
    """
    if isinstance(data, Subset):
        return labels_of(data.dataset).index_select(0, torch.as_tensor(data.indices, dtype=torch.int64))
    labels: Tensor = data.labels  # type: ignore[attr-defined]
    return labels


def fetches_batches(data: Dataset[Any]) -> bool:
    """Return whether ``data.__getitems__`` gives a batch. A Subset always has this method, and may give a list."""
    return fetches_batches(data.dataset) if isinstance(data, Subset) else hasattr(data, "__getitems__")


def fetch(data: Dataset[Any], indices: list[int]) -> Any:
    """Return a batch: in one call if the dataset supports it, else sample by sample."""
    if fetches_batches(data):
        return data.__getitems__(indices)  # type: ignore[attr-defined]
    return default_collate([data[i] for i in indices])


class Views(Dataset[Any]):
    """Dataset whose batches hold several random views of the same samples.

    A batch of N indices gives ``views * N`` rows: first one view of each sample, then the next; labels repeat.

    Args:
        data: dataset with random augmentation.
        views: number of views, >= 1.

    Example:
        >>> from dir.data.arrays import ArrayDataset
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


def check_labels(split: str, data: Dataset[Any], targets: int = 1) -> None:
    """Raise ValueError unless the labels are a non-empty, finite tensor [N], or [N, K] of several targets.

    Args:
        split: name of the split, for messages.
        data: dataset of N samples.
        targets: K.
    """
    labels = labels_of(data)
    size = len(data)  # type: ignore[arg-type]
    shape = [size] if targets == 1 else [size, targets]
    if list(labels.shape) != shape:
        raise ValueError(message(f"{split} labels", f"expected shape {shape}", list(labels.shape)))
    if size == 0:
        raise ValueError(message(split, "expected at least one sample, the split is empty"))
    check_finite(labels, f"{split} labels")


def check_two_labels(data: Dataset[Any], targets: Sequence[str] = ()) -> None:
    """Raise ValueError if all training labels of a target are the same.

    Args:
        data: dataset of the training rows.
        targets: names of several targets, for messages.
    """
    train = labels_of(data)
    for place, column in enumerate(train.reshape(len(train), -1).unbind(1)):
        if bool((column == column[0]).all()):
            where = f"train labels of {targets[place]}" if len(targets) > 1 else "train labels"
            problem = f"expected at least two distinct values, all {len(column)} are {column[0].item()}"
            raise ValueError(message(where, problem))
