"""The names of one target or of several, and their labels: [N] of one target, [N, K] of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dir._checks import message
from dir.data.label_types import needs_float64

# Prefix of the metrics that are means over the targets.
MEAN = "mean"


def target_names(target: Any, key: str = "data.target") -> tuple[str, ...]:
    """Return the columns to predict, given as one name or as a list. A list of one name is that name.

    Args:
        target: the setting.
        key: config key of the setting, for messages.

    Raises:
        ValueError: no name, a name that occurs twice, or the name "mean" among several.

    Example:
        >>> target_names("price"), target_names(["valence", "arousal"])
        (('price',), ('valence', 'arousal'))
    """
    names = [target] if isinstance(target, str) else list(target) if isinstance(target, Sequence) else [target]
    if not names or not all(isinstance(name, str) for name in names):
        advice = f"Set {key}=COLUMN or {key}=[FIRST,SECOND]."
        raise ValueError(message(key, "expected the name of one column, or of several", target, advice))
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(message(key, "expected each column once", repeated[0], "Remove the repetition."))
    if len(names) > 1 and MEAN in names:
        problem = "metrics of several targets use this name for the mean over them"
        raise ValueError(message(key, problem, MEAN, "Rename the column in a copy of the file."))
    return tuple(names)


def target_setting(targets: Sequence[str]) -> str | list[str]:
    """Return the setting that names the targets: one name as text, several as a list."""
    return targets[0] if len(targets) == 1 else list(targets)


def target_values(table: pd.DataFrame, targets: Sequence[str]) -> NDArray[np.float64]:
    """Return the labels in the columns of a table as float64: [N] of one target, [N, K] of several."""
    if len(targets) == 1:
        return table[targets[0]].to_numpy(np.float64, copy=True)
    return np.stack([table[name].to_numpy(np.float64) for name in targets], axis=1)


def varied_target_values(table: pd.DataFrame, targets: Sequence[str]) -> NDArray[np.float64]:
    """Return :func:`target_values`, for splits over the label range.

    Raises:
        ValueError: all labels of a column are the same.
    """
    values = target_values(table, targets)
    for name, column in zip(targets, values.reshape(len(values), -1).T, strict=True):
        if len(column) and bool((column == column[0]).all()):
            problem = f"expected at least two distinct labels, all {len(column)} in column {name!r} are {column[0]:g}"
            raise ValueError(message("data.target", problem, advice="Choose another column."))
    return values


def label_dtype_of(labels: NDArray[np.float64]) -> torch.dtype:
    """Return float64 if float32 is too coarse for the labels of a target, see :func:`needs_float64`; else float32.

    Example:
        >>> label_dtype_of(np.stack([np.arange(60.0), 1e8 + np.arange(60.0)], axis=1))
        torch.float64
    """
    wide = any(needs_float64(column) for column in labels.reshape(len(labels), -1).T)
    return torch.float64 if wide else torch.float32
