"""Rows with the same input: within the data, and in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dir.data.leakage import leakage
from dir.data.splits import SPLITS


def input_keys(inputs: Tensor | tuple[Tensor, ...]) -> list[bytes]:
    """Return a hash of the input of each row; equal inputs have equal hashes.

    Example:
        >>> import torch
        >>> a, b, c = input_keys(torch.tensor([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0]]))
        >>> a == c, a == b
        (True, False)
    """
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    arrays = [np.ascontiguousarray(part.detach().cpu().numpy()) for part in parts]
    return [
        hashlib.blake2b(b"".join(array[row].tobytes() for array in arrays), digest_size=16).digest()
        for row in range(len(arrays[0]))
    ]


def repeated_inputs(
    keys: Mapping[str, Sequence[Hashable]], labels: Mapping[str, NDArray[np.float64]]
) -> dict[str, Any]:
    """Return how many rows share their input with another row, how their labels differ, and which splits they join.

    Args:
        keys: key of the input of each row, by split.
        labels: label of each row, by split.

    Returns:
        ``groups`` of equal inputs with their ``rows``; ``disagreement``, the mean over these rows of the distance
        from the label to the median label of the group, below which no model brings the mean absolute error of these
        rows (None without such rows); and ``leakage``, the groups that two splits share, if all splits are given.

    Example:
        >>> found = repeated_inputs({"train": ["a", "a", "b"]}, {"train": np.array([1.0, 3.0, 9.0])})
        >>> found["groups"], found["rows"], found["disagreement"]
        (1, 2, 1.0)
    """
    pooled = [key for split in keys for key in keys[split]]
    values = np.concatenate([np.asarray(labels[split], dtype=np.float64) for split in keys])
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(pooled):
        rows.setdefault(key, []).append(row)
    groups = [values[members] for members in rows.values() if len(members) > 1]
    distances = [np.abs(group - np.median(group)) for group in groups]
    return {
        "groups": len(groups),
        "rows": sum(map(len, groups)),
        "disagreement": float(np.concatenate(distances).mean()) if groups else None,
        "leakage": [asdict(one) for one in leakage(keys)] if set(keys) == set(SPLITS) else [],
    }
