"""Row identities: a stable hash per raw row, the splits restored by these hashes, and the hashes of files."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._checks import message

Indices = NDArray[np.int64]

# Hexadecimal digits of an id: hash of the inputs, hash of the label, hash of both. The first two parts tell a changed
# row from a new one; all three together keep different rows apart.
_INPUT_DIGITS, _LABEL_DIGITS, _DIGITS = 6, 4, 16
_BLOCK = 1 << 20


def row_id(inputs: bytes, label: bytes) -> str:
    """Return the id of a row, 16 hexadecimal digits.

    Args:
        inputs: raw content of the row without its label.
        label: raw content of the label.

    Example:
        >>> row_id(b"a", b"1"), row_id(b"a", b"2")
        ('27c35ecea39242e1', '27c35e4129e6b725')
    """
    first, second = _digest(inputs), _digest(label)
    both = _digest(first + second)
    head = first.hex()[:_INPUT_DIGITS] + second.hex()[:_LABEL_DIGITS]
    return head + both.hex()[: _DIGITS - len(head)]


def unique_ids(ids: Iterable[str]) -> list[str]:
    """Return the ids with ``-1``, ``-2`` behind the second and third copy of an id.

    Example:
        >>> unique_ids(["a", "b", "a", "a"])
        ['a', 'b', 'a-1', 'a-2']
    """
    seen: Counter[str] = Counter()
    unique = []
    for one in ids:
        unique.append(f"{one}-{seen[one]}" if seen[one] else one)
        seen[one] += 1
    return unique


def array_ids(inputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> list[str]:
    """Return the id of each row of arrays: a hash of its bytes and of its label. Copies have the same id.

    Args:
        inputs: one tensor or a tuple of tensors, first dimension N.
        labels: N labels.
    """
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    arrays = [np.ascontiguousarray(part.detach().cpu().numpy()) for part in parts]
    names = label_bytes(labels.detach().cpu().numpy())
    return [row_id(b"".join(array[row].tobytes() for array in arrays), name) for row, name in enumerate(names)]


def text_ids(rows: Sequence[tuple[str, ...]], labels: NDArray[Any]) -> list[str]:
    """Return the id of each row of texts and its label."""
    return [row_id(json.dumps(row).encode(), label) for row, label in zip(rows, label_bytes(labels), strict=True)]


def label_bytes(labels: NDArray[Any]) -> list[bytes]:
    """Return the bytes of each label as float64, whatever type the file stores it in."""
    return [label.tobytes() for label in labels.astype(np.float64)]


def rows_by_id(ids: Sequence[str], saved: Mapping[str, Sequence[str]], where: str = "data") -> dict[str, Indices]:
    """Return the row numbers of each saved split, in the saved order.

    Args:
        ids: unique id of each row.
        saved: unique ids of each split.
        where: path of the error message.

    Raises:
        ValueError: if the saved ids are not those of the rows, with the number of rows that are new, missing and
            changed; or if a saved id occurs twice.

    Example:
        >>> rows_by_id(["a", "b", "c"], {"train": ["c"], "test": ["b", "a"]})["test"].tolist()
        [1, 0]
    """
    position = {one: row for row, one in enumerate(ids)}
    wanted = [one for split in saved.values() for one in split]
    if len(set(wanted)) < len(wanted):
        problem = f"the saved split lists {len(wanted) - len(set(wanted))} rows twice"
        raise ValueError(message(where, problem, advice="Use the split of another run."))
    if len(wanted) != len(position) or any(one not in position for one in wanted):
        missing = [one for one in wanted if one not in position]
        known = set(wanted)
        new = [one for one in ids if one not in known]
        changed = _changed(missing, new)
        raise ValueError(
            message(
                where,
                f"the rows differ from those of the saved split: {len(new) - changed} new, "
                f"{len(missing) - changed} missing, {changed} changed, of {len(wanted)} saved rows",
                advice="Use the data that the run was trained on.",
            )
        )
    return {split: np.array([position[one] for one in part], dtype=np.int64) for split, part in saved.items()}


def _changed(missing: Sequence[str], new: Sequence[str]) -> int:
    """Return how many missing rows came back changed: with equal inputs, or with a label that only they have."""
    gone, come = Counter(one[:_INPUT_DIGITS] for one in missing), Counter(one[:_INPUT_DIGITS] for one in new)
    relabelled = gone & come
    labels = slice(_INPUT_DIGITS, _INPUT_DIGITS + _LABEL_DIGITS)
    others = [_without(part, relabelled) for part in (missing, new)]
    left, right = (Counter(one[labels] for one in part) for part in others)
    return relabelled.total() + sum(count == 1 == right[label] for label, count in left.items())


def _without(ids: Sequence[str], matched: Counter[str]) -> list[str]:
    """Return the ids that are left when each matched hash of the inputs has taken as many as it counts."""
    left, rest = matched.copy(), []
    for one in ids:
        if left[one[:_INPUT_DIGITS]] > 0:
            left[one[:_INPUT_DIGITS]] -= 1
        else:
            rest.append(one)
    return rest


def hash_ids(ids: Sequence[str]) -> str:
    """Return the sha256 of a list of ids, which depends on their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def file_record(path: Path) -> dict[str, Any]:
    """Return name, size and sha256 of a file, which is read in blocks.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return {"name": path.name, "size": size, "sha256": digest.hexdigest()}


def digest_of_file(path: Path) -> bytes:
    """Return a hash of a file's content, 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.digest()


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def select_rows(inputs: Tensor | tuple[Tensor, ...], rows: Indices) -> Tensor | tuple[Tensor, ...]:
    """Return the given rows of one tensor, or of each tensor of a tuple."""
    index = torch.from_numpy(rows)
    if isinstance(inputs, tuple):
        return tuple(part.index_select(0, index) for part in inputs)
    return inputs.index_select(0, index)


def pooled(parts: Sequence[tuple[Tensor | tuple[Tensor, ...], Tensor]]) -> tuple[Any, Tensor]:
    """Return inputs and labels of several datasets, one behind the other."""
    inputs = [part[0] for part in parts]
    labels = torch.cat([part[1] for part in parts])
    if isinstance(inputs[0], tuple):
        return tuple(torch.cat(columns) for columns in zip(*inputs, strict=True)), labels
    return torch.cat(cast("list[Tensor]", inputs)), labels
