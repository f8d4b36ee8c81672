"""Inputs that are arrays already, for data modules that describe no encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dir._checks import message
from dir.bundle.inputs.rows import InputEncoder, Inputs, Rows, no_options


class ArrayRows(Rows):
    """Tensors with one row per sample."""

    def __init__(self, parts: tuple[Tensor, ...], single: bool) -> None:
        super().__init__(len(parts[0]))
        self._parts = parts
        self._single = single

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        rows = torch.tensor(indices, dtype=torch.int64)
        parts = tuple(part.index_select(0, rows) for part in self._parts)
        return indices, parts[0] if self._single else parts


class ArrayInputs(InputEncoder):
    """An array ``[N, ...]``, or a tuple of arrays for an encoder that takes several."""

    kind = "arrays"

    def open(self, inputs: Any, **options: Any) -> ArrayRows:
        no_options(options)
        single = not isinstance(inputs, tuple)
        parts = tuple(_tensor(part) for part in ((inputs,) if single else inputs))
        if not parts or any(part.ndim == 0 or len(part) != len(parts[0]) for part in parts):
            shapes = [list(part.shape) for part in parts]
            raise ValueError(message("inputs", "expected arrays of the same length", shapes))
        return ArrayRows(parts, single)


def _tensor(part: Any) -> Tensor:
    if isinstance(part, Tensor):
        return part.detach().cpu()
    array = np.asarray(part)
    if array.dtype.kind not in "fiub":
        raise ValueError(message("inputs", "expected an array of numbers", str(array.dtype)))
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.float() if tensor.dtype == torch.float64 else tensor
