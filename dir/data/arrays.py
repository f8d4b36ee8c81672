"""The dataset of arrays that are held in memory, its batches, and bins chosen from its labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import message
from dir.bins import LabelBins

Inputs = Tensor | tuple[Tensor, ...]

# Whole-number labels get a bin each up to this range (ages, counts, degrees); more bins would hold too few labels.
MAX_INTEGER_RANGE = 200


class ArrayDataset(Dataset[tuple[Inputs, Tensor]]):
    """Inputs and labels held in memory (or memory-mapped), fetched a batch at a time.

    Args:
        inputs: one tensor or a tuple of tensors, first dimension N.
        labels: labels in raw units, [N], or [N, K] of several targets.
        transform: called with the inputs of a fetched *batch* (augmentation, uint8 -> float).
        label_dtype: type in which the labels are stored. Default: float32.

    Shape:
        - ``dataset.__getitems__(indices)``: inputs ``[len(indices), ...]`` and labels ``[len(indices)]`` or
          ``[len(indices), K]``.

    Raises:
        ValueError: if inputs and labels differ in length, or labels are not [N] or [N, K] with K > 1.

    Example:
        >>> data = ArrayDataset(torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 2.0, 3.0]))
        >>> data.__getitems__([2, 0])[1]
        tensor([3., 1.])
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Tensor,
        transform: Callable[[Inputs], Inputs] | None = None,
        label_dtype: torch.dtype = torch.float32,
    ) -> None:
        if labels.ndim != 1 and not (labels.ndim == 2 and labels.shape[1] > 1):
            raise ValueError(message("labels", "expected shape [N], or [N, K] of K > 1 targets", list(labels.shape)))
        for part in inputs if isinstance(inputs, tuple) else (inputs,):
            if len(part) != len(labels):
                raise ValueError(message("inputs", f"expected one row for each of {len(labels)} labels", len(part)))
        self.inputs = inputs
        self.labels = labels.to(label_dtype)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Inputs, Tensor]:
        inputs, labels = self.__getitems__([index])
        first = tuple(part[0] for part in inputs) if isinstance(inputs, tuple) else inputs[0]
        return first, labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[Inputs, Tensor]:
        """Return a whole batch, with one ``index_select`` per array."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        inputs: Inputs
        if isinstance(self.inputs, tuple):
            inputs = tuple(part.index_select(0, rows) for part in self.inputs)
        else:
            inputs = self.inputs.index_select(0, rows)
        if self.transform is not None:
            inputs = self.transform(inputs)
        return inputs, self.labels.index_select(0, rows)


def take_batch(batch: Any) -> Any:
    """Return the batch unchanged: the collate function of datasets that already return batches."""
    return batch


def automatic_bins(labels: Tensor, num_bins: int) -> LabelBins:
    """Return one bin per whole number if all labels are whole and span at most 200, else equally wide bins.

    Args:
        labels: the training labels. Bins of float64 labels compare labels in float64.
        num_bins: number of equally wide bins, >= 1.

    Raises:
        ValueError: if there are fewer than two distinct labels.

    Example:
        >>> automatic_bins(torch.tensor([3.0, 9.0]), num_bins=50).num_bins
        7
        >>> automatic_bins(torch.tensor([0.25, 9.0]), num_bins=50).num_bins
        50
    """
    low, high = labels.min().item(), labels.max().item()
    if not low < high:
        raise ValueError(message("labels", f"expected at least two distinct values, all are {low}"))
    dtype = torch.float64 if labels.dtype == torch.float64 else torch.float32
    if high - low <= MAX_INTEGER_RANGE and bool((labels == labels.round()).all()):
        return LabelBins.integers(int(low), int(high), dtype=dtype)
    return LabelBins.uniform(low, high, num_bins, dtype=dtype)
