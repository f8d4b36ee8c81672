"""Ensembles of finished runs, from their saved predictions: the mean of all members, and greedy selection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._archives import read_npz
from dir._checks import check_choice, check_integer, message
from dir.compare.groups import GROUPS, METRICS

Array = NDArray[Any]
# The split of a table is drawn by data.seed, which follows seed.
_ONE_SPLIT = "Give runs of one data set and one split. For tables, train all members with the same data.seed=0."


@dataclass(frozen=True)
class Split:
    """Rows of one split and their predictions by M members.

    Args:
        label: float64 [N].
        bin: label bin of each row, int64 [N].
        shot: shot group of each row, text [N].
        predictions: float64 [M, N].
    """

    label: Array
    bin: Array
    shot: Array
    predictions: Array


@dataclass(frozen=True)
class Ensemble:
    """An ensemble: its name, its size, the weight of each member (sum 1), and its errors by group.

    ``errors[split][group][metric]`` is NaN for an empty group.
    """

    name: str
    size: int
    weights: Array
    errors: dict[str, dict[str, dict[str, float]]]


def read_members(runs: Sequence[Path]) -> dict[str, Split]:
    """Return the splits ``val`` and ``test`` of finished runs on the same rows.

    Args:
        runs: run folders, each with a predictions.npz.

    Raises:
        ValueError: fewer than two runs, a folder without predictions, a damaged file, or runs whose rows, labels,
            bins or shot groups differ.
    """
    if len(runs) < 2:
        raise ValueError(message("runs", "expected at least two run folders", len(runs)))
    files = []
    for run in runs:
        path = run / "predictions.npz"
        if not path.is_file():
            raise ValueError(message(str(run), "has no predictions.npz", advice="Give folders of finished runs."))
        files.append(read_npz(path))
        if files[-1]["label"].ndim > 1:
            advice = "Average the columns of their predictions.npz yourself, or give runs of one target."
            raise ValueError(message(str(run), "an ensemble has one target, and the run has several", advice=advice))
    splits = {}
    for split, prefix in (("val", "val_"), ("test", "")):
        for name in ("row_id", "label", "bin", "shot"):
            key = prefix + name
            for run, arrays in zip(runs, files, strict=True):
                if not _same(files[0].get(key), arrays.get(key)):
                    problem = f"differs from {runs[0]} in the {name} of its {split} rows"
                    raise ValueError(message(str(run), problem, advice=_ONE_SPLIT))
        first = files[0]
        predictions = np.stack([arrays[prefix + "prediction"].astype(np.float64) for arrays in files])
        label = first[prefix + "label"].astype(np.float64)
        splits[split] = Split(label, first[prefix + "bin"], first[prefix + "shot"], predictions)
    return splits


def errors(split: Split, prediction: Array) -> dict[str, dict[str, float]]:
    """Return the metrics of each shot group for predictions ``[N]``."""
    found = {}
    for group in GROUPS:
        rows = np.ones(len(split.label), dtype=bool) if group == "all" else split.shot == group
        found[group] = {"n": float(rows.sum())} | {
            metric: _METRICS[metric](prediction[rows] - split.label[rows], split.bin[rows]) for metric in METRICS
        }
    return found


def select_greedily(split: Split, metric: str, group: str = "all", size: int = 5) -> Array:
    r"""Return how often each member is taken, int64 ``[M]``: in each round the member that helps the mean most.

    Members may be taken several times. The first round takes the best single member, and the selection keeps the
    number of rounds with the lowest error.

    Args:
        split: rows to select on, the validation split.
        metric: metric of the ensemble's mean that is minimised: ``mae``, ``mse`` or ``balanced_mae``.
        group: shot group of the metric.
        size: largest number of rounds.

    Reference:
        Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004, Sec. 2.1 and 2.2.
    """
    check_integer("size", size)
    check_choice("metric", metric, METRICS)
    check_choice("group", group, GROUPS)
    rows = np.ones(len(split.label), dtype=bool) if group == "all" else split.shot == group
    if not rows.any():
        raise ValueError(message("group", "the validation split has no row in this group", group))
    residuals, bins = split.predictions[:, rows] - split.label[rows], split.bin[rows]
    total, counts = np.zeros(residuals.shape[1]), np.zeros(len(residuals), dtype=np.int64)
    best, best_counts = np.inf, counts
    for taken in range(1, size + 1):
        values = [_METRICS[metric]((total + residual) / taken, bins) for residual in residuals]
        chosen = int(np.argmin(values))
        total, counts = total + residuals[chosen], counts + np.eye(len(counts), dtype=np.int64)[chosen]
        if values[chosen] < best:
            best, best_counts = values[chosen], counts
    return best_counts


def ensembles(
    splits: dict[str, Split], metric: str = "balanced_mae", group: str = "all", size: int = 5
) -> list[Ensemble]:
    """Return the average single member, the member best on validation, the mean of all, and the greedy selection.

    Args:
        splits: result of :func:`read_members`.
        metric, group, size: see :func:`select_greedily`.
    """
    members = len(splits["val"].predictions)
    single = [_errors_of(splits, weights) for weights in np.eye(members)]
    average = {
        split: {
            name: {key: float(np.mean([one[split][name][key] for one in single])) for key in single[0][split][name]}
            for name in GROUPS
        }
        for split in splits
    }
    best = int(np.argmin([one["val"][group][metric] for one in single]))
    counts = select_greedily(splits["val"], metric, group, size)
    equal, chosen = np.full(members, 1 / members), counts / counts.sum()
    return [
        Ensemble("average of the single members", 1, equal, average),
        Ensemble("best single member", 1, np.eye(members)[best], single[best]),
        Ensemble("mean of all members", members, equal, _errors_of(splits, equal)),
        Ensemble("greedy selection", int((counts > 0).sum()), chosen, _errors_of(splits, chosen)),
    ]


def _errors_of(splits: dict[str, Split], weights: Array) -> dict[str, dict[str, dict[str, float]]]:
    return {name: errors(split, weights @ split.predictions) for name, split in splits.items()}


def _same(first: Array | None, second: Array | None) -> bool:
    if first is None or second is None:
        return first is second  # runs on data without row ids
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _mean_absolute(error: Array, bins: Array) -> float:
    return float(np.abs(error).mean()) if len(error) else float("nan")


def _mean_squared(error: Array, bins: Array) -> float:
    return float(np.square(error).mean()) if len(error) else float("nan")


def _balanced(error: Array, bins: Array) -> float:
    if not len(error):
        return float("nan")
    _, index, counts = np.unique(bins, return_inverse=True, return_counts=True)
    return float((np.bincount(index, np.abs(error)) / counts).mean())


_METRICS: dict[str, Callable[[Array, Array], float]] = {
    "mae": _mean_absolute,
    "mse": _mean_squared,
    "balanced_mae": _balanced,
}
