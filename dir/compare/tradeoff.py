"""Trade-off curves of finished runs: the errors of each shot group at each power of the label prior.

A run with a label prior saves the log-probabilities of its cells, so that no network runs here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._archives import read_npz
from dir._checks import check_choice, message
from dir.compare.ensemble import Split, errors
from dir.compare.groups import GROUPS, METRICS
from dir.compare.runs import Run, read_run
from dir.compare.statistics import Spread, spread
from dir.data.label_types import needs_float64
from dir.distribution import CellDistribution, Point
from dir.prior import adjust

Errors = Mapping[str, Mapping[str, float]]
_PREFIX = {"val": "val_", "test": ""}
# Rows for which the probabilities of all cells are in memory at once.
_CHUNK = 4096


@dataclass(frozen=True)
class SavedRun:
    """The saved distributions of a run with a label prior.

    Args:
        run: name, seed and metrics of the run.
        splits: rows of ``val`` and ``test``, without predictions; without ``test`` in a search.
        log_mass: log-probabilities of the cells before any correction, float32 [N, K] by split.
        edges, log_density: of the cells, float64; edges in raw label units.
        power, temperature: kept by the run.
        point: prediction of the run, "mean" or "median".
        log1p: whether the run takes the point of log(1 + label), see data.log_target.
    """

    run: Run
    splits: dict[str, Split]
    log_mass: dict[str, Tensor]
    edges: Tensor
    log_density: Tensor
    power: float
    temperature: float
    point: Point
    log1p: bool = False

    @property
    def decides(self) -> bool:
        """Whether the run predicts decisions under a cost, and not ``point``, of which the curve is."""
        info = self.run.content.get("run")
        return isinstance(info, dict) and info.get("cost") is not None

    def predict(self, split: str, power: float) -> NDArray[Any]:
        """Return the predictions of a split at a power, float64 [N] in raw label units."""
        edges = self.edges.log1p() if self.log1p else self.edges
        # The points are float32: those of edges such as 1e9 +- 1 are counted from the lowest edge.
        low = edges[0] if needs_float64(edges.numpy()) else torch.zeros_like(edges[0])
        parts = []
        for chunk in torch.split(self.log_mass[split], _CHUNK):
            log_prob = adjust(chunk / self.temperature, self.log_density.float(), power)
            parts.append(CellDistribution(log_prob, edges - low).point(self.point))
        points = torch.cat(parts).double() + low
        return (points.expm1() if self.log1p else points).numpy()

    def errors(self, split: str, power: float) -> Errors:
        """Return ``errors[group][metric]`` of a split at a power; NaN for an empty group."""
        return errors(self.splits[split], self.predict(split, power))


@dataclass(frozen=True)
class Curve:
    """The curve of one method over its seeds.

    Args:
        label: method, and the overrides that its runs do not share with those of other curves.
        seeds: seeds of the runs.
        powers: increasing powers.
        values: ``values[power][group, metric]``: mean and standard deviation over the seeds.
        kept: the same at the power that each run keeps.
        kept_powers: power that each run keeps, in the order of the seeds.
        remark: what a reader must know of the values, or "".
    """

    label: str
    seeds: tuple[int, ...]
    powers: tuple[float, ...]
    values: Mapping[float, Mapping[tuple[str, str], Spread]]
    kept: Mapping[tuple[str, str], Spread]
    kept_powers: tuple[float, ...]
    remark: str = ""


def read_saved(folder: Path) -> SavedRun:
    """Return the saved distributions of a finished run.

    Raises:
        ValueError: no run folder, a damaged file, or a run without log-probabilities of cells.
    """
    path = folder / "predictions.npz"
    run = read_run(folder.resolve() / "metrics.json")
    if run is None or not path.is_file():
        advice = "Give folders of finished runs, such as outputs/NAME/histogram_prior/seed_0."
        raise ValueError(message(str(folder), "no finished run (metrics.json and predictions.npz)", advice=advice))
    found = read_npz(path)
    if "val_log_mass" not in found:
        problem = f"method {run.method} saved no log-probabilities of cells (log_mass in predictions.npz)"
        advice = "Run method=histogram_prior, histogram or another method with a label prior again."
        raise ValueError(message(str(folder), problem, advice=advice))
    point = str(found["point"])
    check_choice(f"{path}: point", point, ("mean", "median"))
    # A run of a search has no test rows.
    prefixes = {split: prefix for split, prefix in _PREFIX.items() if f"{prefix}label" in found}
    splits = {}
    for split, prefix in prefixes.items():
        label = found[f"{prefix}label"].astype(np.float64)
        nothing = np.empty((0, len(label)))
        splits[split] = Split(label, found[f"{prefix}bin"], found[f"{prefix}shot"], nothing)
    return SavedRun(
        run,
        splits,
        {split: torch.from_numpy(found[f"{prefix}log_mass"]).float() for split, prefix in prefixes.items()},
        torch.from_numpy(found["cell_edges"]),
        torch.from_numpy(found["cell_log_density"]),
        round(float(found["power"]), 6),
        float(found["temperature"]),
        cast("Point", point),
        "log1p" in found,
    )


def curves(saved: Sequence[SavedRun], split: str, powers: Sequence[float]) -> list[Curve]:
    """Return one curve for each method among the runs, with mean and spread over its seeds.

    Raises:
        ValueError: runs of several data sets, or the same run twice.
    """
    experiments = sorted({one.run.experiment for one in saved})
    if len(experiments) != 1:
        raise ValueError(message("runs", "expected runs of one experiment", experiments))
    parts = [set(one.run.suffix.split(",")) for one in saved]
    shared = set.intersection(*parts)
    groups: dict[str, list[SavedRun]] = {}
    for one in saved:
        own = ",".join(part for part in one.run.suffix.split(",") if part not in shared)
        groups.setdefault(f"{one.run.method} {own}".rstrip(), []).append(one)
    found = []
    for label, runs in groups.items():
        seeds = [one.run.seed for one in runs]
        if len(set(seeds)) < len(seeds):
            raise ValueError(message("runs", f"{label} has the same seed twice", sorted(seeds), "Remove one."))
        runs = sorted(runs, key=lambda one: one.run.seed)
        values = {power: _over_seeds([one.errors(split, power) for one in runs]) for power in sorted(set(powers))}
        kept = _over_seeds([one.errors(split, one.power) for one in runs])
        kept_powers = tuple(one.power for one in runs)
        found.append(Curve(label, tuple(sorted(seeds)), tuple(values), values, kept, kept_powers, _remark(runs)))
    return found


def _remark(runs: Sequence[SavedRun]) -> str:
    """Say that the curve is not that of the run's own predictions, where they are decisions under a cost."""
    if not any(one.decides for one in runs):
        return ""
    points = " or ".join(sorted({one.point for one in runs}))
    return f"The runs predict decisions under a cost. These are the errors of the {points} in their place."


def as_rows(split: str, found: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return one plain row per method, power, group and metric; numbers that are not finite become None."""
    rows = []
    for curve in found:
        points = [(power, values, False) for power, values in curve.values.items()]
        points.append((sum(curve.kept_powers) / len(curve.kept_powers), curve.kept, True))
        for power, values, kept in points:
            for (group, metric), over in values.items():
                rows.append(
                    {"split": split, "method": curve.label, "power": power, "kept": kept, "group": group}
                    | {"metric": metric, "mean": _plain(over.mean), "sd": _plain(over.sd), "seeds": over.n}
                )
    return rows


def _over_seeds(found: Sequence[Errors]) -> dict[tuple[str, str], Spread]:
    return {(group, metric): spread(one[group][metric] for one in found) for group in GROUPS for metric in METRICS}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
