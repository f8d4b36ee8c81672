"""What a run folder holds besides its metrics: training labels, its log, the state of FDS. All files are data.

Each reader returns None for a run that has no such file, and raises a ValueError for a damaged one.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from dir._archives import check_archive
from dir._checks import message
from dir.bins import LabelBins
from dir.bundle.description import DESCRIPTION, read
from dir.figures import FeatureStatistics, calibrated
from dir.lds import LDS

Array = NDArray[Any]
_FDS = "model.fds."


@dataclass(frozen=True)
class TrainingLabels:
    """Training labels per bin of a run: edges ``[B + 1]``, counts and effective density ``[B]``."""

    edges: Array
    counts: Array
    density: Array


def training_labels(folder: Path) -> TrainingLabels | None:
    """Return the label counts in the model bundle of a run, and their density under the published window of LDS."""
    if not (folder / "model" / DESCRIPTION).is_file():
        return None
    found = read(folder / "model")[0]
    if found.label_bins is None or found.counts is None:
        return None
    bins = LabelBins.from_edges(found.label_bins["edges"], dtype=getattr(torch, found.label_bins["dtype"]))
    lds = LDS(bins, reweight="inverse").fit_counts(torch.tensor(found.counts))
    edges, counts, density = (t.double().numpy() for t in (bins.edges, lds.counts, lds.density))
    return TrainingLabels(edges, counts, density)


def repeated_test_rows(folder: Path) -> tuple[int, int] | None:
    """Return how many test rows equal a training row in inputs and label, and the number of test rows.

    The ids of split.json.gz are hashes of the rows; a copy of a row ends in "-1", "-2" and so on.
    """
    path = folder / "split.json.gz"
    if not path.is_file():
        return None
    try:
        split = json.loads(gzip.decompress(path.read_bytes()))
        train, test = ([str(row).partition("-")[0] for row in split[name]] for name in ("train", "test"))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(message(str(path), f"the file cannot be read ({error})", advice="Run it again.")) from error
    known = set(train)
    return sum(row in known for row in test), len(test)


def logged_values(folder: Path) -> dict[str, list[tuple[int, float]]] | None:
    """Return (step, value) of each scalar in the log of a run, by name."""
    table = folder / "csv" / "metrics.csv"
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            return _columns(list(csv.DictReader(file)), table)
    files = sorted((folder / "tensorboard").glob("events*"))
    if not files:
        return None
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, list[tuple[int, float]]] = {}
    for path in files:
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((int(event.step), float(value.simple_value)))
    return found


def _columns(rows: Sequence[Mapping[str, str]], path: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    try:
        for row in rows:
            for name, text in row.items():
                if text and name != "step":
                    found.setdefault(name, []).append((int(row["step"]), float(text)))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(message(str(path), f"the file cannot be read ({error})", advice="Run it again.")) from error
    return found


def by_epoch(logged: Mapping[str, Sequence[tuple[int, float]]], names: Sequence[str]) -> dict[str, list[float]]:
    """Return the values of some scalars over the epochs, with ``epoch`` counted from one.

    The values of a step that was trained twice, because the run was resumed, are those of the second time.

    Example:
        >>> by_epoch({"epoch": [(9, 0), (19, 1)], "a": [(9, 0.5), (19, 0.25)]}, ["a", "b"])
        {'epoch': [1, 2], 'a': [0.5, 0.25]}
    """
    epochs = dict(logged.get("epoch", ()))
    steps = sorted(step for step in epochs if any(step in dict(logged.get(name, ())) for name in names))
    found: dict[str, list[float]] = {"epoch": [int(epochs[step]) + 1 for step in steps]}
    for name in names:
        values = dict(logged.get(name, ()))
        if values:
            found[name] = [values.get(step, math.nan) for step in steps]
    return found


def fds_of(folder: Path) -> tuple[FeatureStatistics, FeatureStatistics] | None:
    """Return the statistics of the FDS in best.ckpt before and after its calibration."""
    path = folder / "checkpoints" / "best.ckpt"
    if not path.is_file():
        return None
    check_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:
        problem = "the file cannot be read as a checkpoint"
        raise ValueError(message(str(path), problem, advice="Run it again.")) from error
    own = {key.removeprefix(_FDS): value for key, value in state.items() if key.startswith(_FDS)}
    wanted = ("running_mean", "running_var", "scale", "shift", "num_samples", "num_samples_var", "last_count")
    if not own or not all(isinstance(own.get(name), torch.Tensor) for name in (*wanted, "bins.edges")):
        return None
    if not bool((own["num_samples"] > 0).any()) or own["running_mean"].shape[1] < 2:
        return None
    return calibrated(own["bins.edges"], **{name: own[name] for name in wanted})
