"""IdentifiedRows: the part of a data module that knows which raw row is in which split, and can restore a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import message
from dir.data.arrays import ArrayDataset
from dir.data.identity import Indices, array_ids, file_record, hash_ids, pooled, rows_by_id, select_rows, unique_ids
from dir.data.splits import SPLITS, Names


class IdentifiedRows:
    """Row ids, fingerprint and restored splits of a data module.

    A subclass whose rows come from one pool (a table, a list of pictures) calls :meth:`place_rows` in ``build``. The
    rows of other subclasses are identified by the arrays of their datasets.
    """

    _splits: dict[str, Dataset[Any]] | None
    _saved: Mapping[str, Sequence[str]] | None = None
    _make_ids: Callable[[], list[str]] | None = None
    _ids: list[str] | None = None
    # Files beside the data that decide the weights of its rows, by config key.
    side_files: Mapping[str, Path] = MappingProxyType({})
    # Rows of each split as set up, and as restricted by a protocol; a resampled split has no rows of the file.
    _placed: dict[str, Indices]
    _current: dict[str, Indices | None]

    def setup(self, stage: str | None = None) -> None:
        raise NotImplementedError

    def files(self) -> dict[str, Path]:
        """Return the input files by the config key that names them."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the encoding of the inputs and the split, JSON-able."""
        return {}

    def row_ids(self, split: str) -> list[str]:
        """Return the id of each row of a split, in the order of the split.

        An id is a hash of the raw row, 16 hexadecimal digits, with ``-1``, ``-2`` behind further copies of a row. It
        does not depend on the order of the file.

        Raises:
            RuntimeError: if the rows of the split were resampled, so that they are not rows of the file.
        """
        self.setup()
        rows = self._current[split]
        if rows is None:
            problem = "the rows were resampled and are not rows of the file any more"
            raise RuntimeError(message(split, problem, advice="split_ids() returns the ids before resampling."))
        return self._ids_of(rows)

    def row_numbers(self, split: str) -> list[int]:
        """Return the position of each row of a split among all rows that were read, counted from 0.

        Rows that reading left out, such as those without a label, are not counted.

        Raises:
            RuntimeError: if the rows of the split were resampled.
        """
        self.setup()
        rows = self._current[split]
        if rows is None:
            raise RuntimeError(message(split, "the rows were resampled and are not rows of the file any more"))
        return [int(row) for row in rows]

    def split_ids(self) -> dict[str, list[str]]:
        """Return the ids of the rows of each split before a protocol or a resampler changed them.

        This is what a run saves and :meth:`restore_split` takes.
        """
        self.setup()
        return {split: self._ids_of(rows) for split, rows in self._placed.items()}

    def restore_split(self, saved: Mapping[str, Sequence[str]]) -> None:
        """Set up the data with the saved splits instead of those of the file or the seed.

        Args:
            saved: ids of the rows of each split, see :meth:`split_ids`; the order is kept.

        Raises:
            ValueError: if the rows are not those of ``saved``, with the number of rows that are new, missing and
                changed; if a split is missing. The data is as before then.
        """
        lacking = [split for split in SPLITS if split not in saved]
        if lacking or len(saved) > len(SPLITS):
            raise ValueError(message("saved", f"expected the splits {', '.join(SPLITS)}", sorted(saved)))
        before = self._saved, self._splits
        self._saved, self._splits = dict(saved), None
        try:
            self.setup()
        except Exception:
            self._saved, self._splits = before
            raise

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data, JSON-able.

        Returns:
            ``class`` (name of the data module), ``files`` (name, size and sha256 by config key), ``settings`` (that
            decide the encoding and the split) and ``rows`` (number and hash of the ids, by split).
        """
        splits = self.split_ids()
        return {
            "class": type(self).__name__,
            "files": {key: file_record(path) for key, path in {**self.files(), **self.side_files}.items()},
            "settings": self.settings(),
            "rows": {split: {"count": len(ids), "ids": hash_ids(ids)} for split, ids in splits.items()},
        }

    def place_rows(self, make_ids: Callable[[], list[str]], names: Callable[[], Names]) -> dict[str, Indices]:
        """Return the row numbers of each split: those of a restored split, else by name.

        Args:
            make_ids: returns the id of each row of the pool; called when the ids are needed.
            names: returns "train", "val" or "test" for each row; not called for a restored split.
        """
        self._make_ids, self._ids = make_ids, None
        if self._saved is None:
            drawn = names()
            self._placed = {split: np.flatnonzero(drawn == split) for split in SPLITS}
        else:
            self._placed = rows_by_id(self._all_ids(), self._saved)
        self._current = dict(self._placed)
        return self._placed

    def _place_arrays(self, splits: dict[str, Dataset[Any]]) -> dict[str, Dataset[Any]]:
        """Identify the rows of datasets of arrays; exchange rows between them if a split is to be restored."""
        sizes = [len(splits[split]) for split in SPLITS]  # type: ignore[arg-type]

        def make_ids() -> list[str]:
            parts = [self._arrays(splits[split]) for split in SPLITS]
            return [one for part in parts for one in array_ids(part.inputs, part.labels)]

        rows = self.place_rows(make_ids, lambda: np.repeat(SPLITS, sizes))
        if self._saved is None:
            return splits
        parts = [self._arrays(splits[split]) for split in SPLITS]
        inputs, labels = pooled([(part.inputs, part.labels) for part in parts])
        return {
            split: ArrayDataset(
                select_rows(inputs, rows[split]), labels[torch.from_numpy(rows[split])], part.transform
            )
            for split, part in zip(SPLITS, parts, strict=True)
        }

    def _arrays(self, data: Dataset[Any]) -> ArrayDataset:
        if not isinstance(data, ArrayDataset):
            name = type(self).__name__
            problem = f"the rows of {type(data).__name__} have no ids"
            raise RuntimeError(message(name, problem, advice=f"Call place_rows() in {name}.build()."))
        return data

    def _ids_of(self, rows: Indices) -> list[str]:
        ids = self._all_ids()
        return [ids[row] for row in rows.tolist()]

    def _all_ids(self) -> list[str]:
        if self._ids is None:
            assert self._make_ids is not None
            self._ids = unique_ids(self._make_ids())
        return self._ids

    def _restrict_rows(self, split: str, rows: Tensor) -> None:
        current = self._current[split]
        if current is not None:
            self._current[split] = current[rows.numpy()]
