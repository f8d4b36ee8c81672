"""Rows of the table from the saved predictions of one training, and their metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from benchmarks.settle.plan import OBJECTIVE
from dir._archives import read_npz
from dir.compare.ensemble import Split, errors
from dir.compare.tradeoff import SavedRun, read_saved
from dir.distribution import CellDistribution
from dir.metrics.functional import balanced_mase, sera
from dir.metrics.shot_groups import SHOTS
from dir.posthoc import Correction
from dir.prior import POWERS as ALL_POWERS
from dir.prior import adjust
from dir.recipe.build import build
from dir.relevance import Relevance

Array = NDArray[Any]
# Powers of the curve; three of them are rows of the table.
POWERS = tuple(round(0.1 * step, 1) for step in range(13))
ROW_POWERS = (0.0, 0.5, 1.0)
LEVEL = 0.9
# Trainings with a label prior, whose power a row or a trial chooses on validation.
WITH_PRIOR = ("histogram_prior", "tabm_prior")


@dataclass(frozen=True)
class TrainLabels:
    """Facts of the training labels that metrics need: their median, and a relevance fitted on them."""

    median: float
    relevance: Relevance


def train_labels(cfg: DictConfig) -> TrainLabels:
    """Return the facts of the training labels of a config's data."""
    labels = build(cfg, lambda data: data.setup()).data.labels("train").double()
    return TrainLabels(float(labels.median()), Relevance("auto").fit(labels.numpy()))


def read_splits(run: Path) -> dict[str, Split]:
    """Return the rows and the predictions of a run, for ``val`` and ``test``."""
    arrays = read_npz(run / "predictions.npz")
    return {
        split: Split(
            arrays[f"{prefix}label"].astype(np.float64),
            arrays[f"{prefix}bin"],
            arrays[f"{prefix}shot"],
            arrays[f"{prefix}prediction"].astype(np.float64)[None],
        )
        for split, prefix in (("val", "val_"), ("test", ""))
    }


def objective(training: str, run: Path) -> float:
    """Return the validation metric by which trials are compared; with a label prior, that at the best power."""
    split = read_splits(run)["val"]
    if training in WITH_PRIOR:
        saved = read_saved(run)
        return min(_error(split, saved.predict("val", power)) for power in ALL_POWERS)
    return _error(split, split.predictions[0])


def _error(split: Split, prediction: Array) -> float:
    return errors(split, prediction)["all"][OBJECTIVE]


def rows_of(training: str, run: Path, train: TrainLabels) -> dict[str, dict[str, Any]]:
    """Return ``rows[name]``, the metrics of each row of the table that the training gives."""
    splits = read_splits(run)
    test = splits["test"]
    if training == "vanilla":
        isotonic = Correction("isotonic").fit(
            *(torch.from_numpy(x) for x in (splits["val"].predictions[0], splits["val"].label))
        )
        corrected = isotonic(torch.from_numpy(test.predictions[0])).numpy()
        return {
            "vanilla": measure(test, test.predictions[0], train),
            "isotonic": measure(test, corrected, train),
        }
    if not training.startswith("histogram") and training != "tabm_prior":
        return {training: measure(test, test.predictions[0], train)}
    saved = read_saved(run)
    if training not in WITH_PRIOR:
        return {training: _at_power(saved, test, 0.0, train)}
    chosen = min(ALL_POWERS, key=lambda power: _error(splits["val"], saved.predict("val", power)))
    found = {f"{training}_chosen": _at_power(saved, test, chosen, train) | {"power": chosen}}
    if training == "histogram_prior":
        found |= {f"{training}_{power:g}": _at_power(saved, test, power, train) for power in ROW_POWERS}
        found["curve"] = {f"{power:g}": _short(errors(test, saved.predict("test", power))) for power in POWERS}
    return found


def measure(test: Split, prediction: Array, train: TrainLabels) -> dict[str, Any]:
    """Return the metrics of test predictions: by shot group, and balanced, scaled and relevance-weighted."""
    return {
        "groups": _short(errors(test, prediction)),
        "bmase": _number(balanced_mase(prediction, test.label, train.median)),
        "sera": _number(sera(prediction, test.label, train.relevance)),
    }


def _at_power(saved: SavedRun, test: Split, power: float, train: TrainLabels) -> dict[str, Any]:
    """Return the metrics of a predicted distribution at a power, with the coverage of its intervals by group."""
    inside = _inside(saved, test, power)
    coverage = {"all": _number(inside.mean())} | {
        shot: _number(inside[test.shot == shot].mean()) for shot in SHOTS if (test.shot == shot).any()
    }
    return measure(test, saved.predict("test", power), train) | {"coverage": coverage}


def _inside(saved: SavedRun, test: Split, power: float) -> Array:
    edges = saved.edges.log1p() if saved.log1p else saved.edges
    log_prob = adjust(saved.log_mass["test"] / saved.temperature, saved.log_density.float(), power)
    low, high = CellDistribution(log_prob.double(), edges).interval(LEVEL).T.numpy()
    label = np.log1p(test.label) if saved.log1p else test.label
    return (low <= label) & (label <= high)


def _short(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    return {group: {name: _number(value) for name, value in values.items()} for group, values in found.items()}


def _number(value: Any) -> float | None:
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
