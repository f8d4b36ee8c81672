"""Aggregates of saved predictions for the figures of a report. No row of the data leaves this module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._archives import read_npz
from dir._checks import message
from dir.compare.runs import Run

Array = NDArray[Any]
# Bins of the figures: enough to see the shape, few enough that a bin of a small test split holds several rows.
NUM_BINS = 24


@dataclass(frozen=True)
class Series:
    """Errors of one row of the table along the label, over all its seeds.

    Args:
        label: the row's label, such as ``lds``.
        rows: test rows per bin over all seeds of the row, [B].
        mae: mean absolute error per bin, NaN without rows, [B].
        bias: mean of prediction minus label per bin, [B].
        map: share of predictions (second axis) for labels of each bin (first axis), [B, B]; rows sum to 1.
    """

    label: str
    rows: Array
    mae: Array
    bias: Array
    map: Array


@dataclass(frozen=True)
class LabelSeries:
    """Test rows along the label: edges of the bins [B + 1], the series, and the test rows of the first series.

    ``shots[group]`` holds the rows per bin of each shot group, [B].
    """

    edges: Array
    shots: Mapping[str, Array]
    series: tuple[Series, ...]


def folder_of(run: Run) -> Path | None:
    """Return the run folder of a run, or None for a line of a result file."""
    path = Path(run.source)
    return path.parent if path.name == "metrics.json" else None


def read_one_target(folder: Path) -> dict[str, Array]:
    """Return the arrays of predictions.npz in a run folder.

    Raises:
        ValueError: the run has several targets, or the file is damaged.
    """
    arrays = read_npz(folder / "predictions.npz")
    if arrays["label"].ndim > 1:
        problem = "the figures show one label, and the run has several targets"
        raise ValueError(message(str(folder), problem, advice="dir-compare prints the tables of such runs."))
    return arrays


def label_series(runs: Sequence[Run]) -> LabelSeries | None:
    """Return the errors of each row of the table along the label, or None if no run folder holds predictions."""
    saved: dict[str, list[dict[str, Array]]] = {}
    for run in runs:
        folder = folder_of(run)
        if folder is not None and (folder / "predictions.npz").is_file():
            saved.setdefault(run.label, []).append(read_one_target(folder))
    if not saved:
        return None
    labels = np.concatenate([arrays["label"].astype(np.float64) for found in saved.values() for arrays in found])
    edges = figure_edges(labels)
    num_bins = len(edges) - 1
    series: list[Series] = []
    shots: dict[str, Array] = {}
    for label, found in saved.items():
        truth = np.concatenate([arrays["label"].astype(np.float64) for arrays in found])
        predicted = np.concatenate([arrays["prediction"].astype(np.float64) for arrays in found])
        at, to = _bins(truth, edges), _bins(predicted, edges)
        rows = np.bincount(at, minlength=num_bins).astype(float)
        shot = np.concatenate([arrays["shot"] for arrays in found])
        shots = shots or {
            name: np.bincount(at[shot == name], minlength=num_bins) for name in ("many", "median", "few", "zero")
        }
        with np.errstate(invalid="ignore"):
            mae = np.bincount(at, np.abs(predicted - truth), num_bins) / rows
            bias = np.bincount(at, predicted - truth, num_bins) / rows
            pairs = np.zeros((num_bins, num_bins))
            np.add.at(pairs, (at, to), 1.0)
            series.append(Series(label, rows, mae, bias, pairs / rows[:, None]))
    return LabelSeries(edges, shots, tuple(series))


def figure_edges(labels: Array) -> Array:
    """Return the edges of the figures' bins; whole numbers get bins of a whole width around them, without gaps.

    Example:
        >>> figure_edges(np.array([1.0, 2.0, 3.0])).tolist()
        [0.5, 1.5, 2.5, 3.5]
    """
    low, high = float(labels.min()), float(labels.max())
    if (labels == np.round(labels)).all():
        width = math.ceil((high - low + 1) / NUM_BINS)
        return low - 0.5 + width * np.arange(math.ceil((high - low + 1) / width) + 1)
    return np.linspace(low, high if high > low else low + 1, NUM_BINS + 1)


def _bins(values: Array, edges: Array) -> Array:
    """Return the bin of each value; values beyond the edges belong to the outermost bins."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
