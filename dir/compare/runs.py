"""Finished runs on disk: find them, read and check their metrics.json, copy them to where they are committed.

Two layouts are read: a training's own `NAME/METHOD/seed_S[suffix]/metrics.json`, and the committed
`NAME/METHOD/seed_S[suffix].json`. The suffix names what a run overrode; runs that differ in it are not
averaged, and what all runs of an experiment override is not named in each row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dir._atomic import write_atomic

SEED = re.compile(r"seed_(\d+)(|,.*)")
# By family: weights, feature smoothing, losses, regularisers, heads and stages, resampling, controls.
METHOD_ORDER = (
    *("vanilla", "inv", "sqinv", "power", "lds", "denseweight"),
    *("fds", "fds_shrink", "lds_fds", "lds_fds_shrink", "vir"),
    *("focal_r", "huber", "bmc", "gai", "bni", "dist"),
    *("ranksim", "conr", "rnc", "rnc_two_stage", "ordinal_entropy", "srl"),
    *("rbc", "uvote", "rrt", "rrt_lds"),
    *("random_under", "random_over", "gaussian_noise", "wercs", "smoter", "smogn", "bagging", "rebagg"),
    *("layer_norm", "c_mixup", "label_shrink", "prediction_shrink", "affine", "isotonic"),
    *("lds_label_shrink", "lds_prediction_shrink", "lds_affine", "lds_isotonic"),
)


@dataclass(frozen=True)
class Run:
    """One training: `metrics[split][group][metric]`, NaN where the file has null."""

    path: Path
    experiment: str
    method: str
    suffix: str
    seed: int
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    common: tuple[str, ...] = ()

    @property
    def overrides(self) -> str:
        """What was overridden besides what all runs of the experiment override."""
        return ",".join(part for part in self.suffix.split(",") if part not in self.common)

    @property
    def label(self) -> str:
        """What makes a row of a table: the method, and the overrides."""
        return f"{self.method} {self.overrides}".rstrip()


def place(method: str) -> tuple[int, str]:
    """Sort key of a method: the order of METHOD_ORDER, others by name behind them."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER)), method


def order(run: Run) -> tuple[int, str, str, int]:
    """Sort key of a run: its method's place, then suffix and seed."""
    return *place(run.method), run.overrides, run.seed


def identify(path: Path) -> tuple[str, str, str, int] | None:
    """(experiment, method, suffix, seed) from a metrics file's path, None where it is no run's.

    Example:
        >>> identify(Path("outputs/stsb_minilm/lds/seed_3,lds.sigma=1.0/metrics.json"))
        ('stsb_minilm', 'lds', 'lds.sigma=1.0', 3)
        >>> identify(Path("benchmarks/results/stsb_minilm/lds/seed_3.json"))
        ('stsb_minilm', 'lds', '', 3)
    """
    parts = path.parent.parts if path.name == "metrics.json" else (*path.parent.parts, path.stem)
    match = SEED.fullmatch(parts[-1]) if len(parts) > 2 else None
    return (parts[-3], parts[-2], match[2].lstrip(","), int(match[1])) if match else None


def _value(value: Any, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}: expected a number or null, got {value!r}")
    return float(value)


def read_metrics(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The splits of one metrics.json (its facts under "run" are left out).

    Raises:
        ValueError: not json, or not {split: {group: {metric: number or null}}} with a group "all".
    """
    expected = '{split: {group: {"n": ..., metric: number or null}}} with the group "all"'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected json, {expected}; got {error}. Run it again, or remove it") from error
    splits = {name: groups for name, groups in content.items() if name != "run"} if isinstance(content, dict) else {}
    if not splits:
        raise ValueError(f"{path}: expected {expected}; got no split")
    for split, groups in splits.items():
        if not isinstance(groups, dict) or "all" not in groups:
            raise ValueError(f"{path}: expected {expected}; split {split!r} has no group 'all'")
        for group, values in groups.items():
            if not isinstance(values, dict) or not isinstance(values.get("n"), int):
                raise ValueError(f"{path}: expected {expected}; {split}/{group} has no whole number 'n'")
    return {
        split: {
            group: {name: _value(value, f"{path}: {split}/{group}/{name}") for name, value in values.items()}
            for group, values in groups.items()
        }
        for split, groups in splits.items()
    }


def find_runs(root: Path) -> tuple[list[Run], list[Path]]:
    """The finished runs of one experiment under `root`, in table order; and the run folders that have none.

    A folder counts as unfinished when it has no metrics.json; it is named relative to `root`.

    Raises:
        ValueError: no such folder, no finished run, a malformed file, several experiments, one seed twice.
    """
    root = root.resolve()  # "." has no parts to read the experiment's and the method's name from
    if not root.is_dir():
        raise ValueError(f"expected a folder of runs, got {root}, which is no folder")
    runs: list[Run] = []
    seen: dict[tuple[str, str, str, int], Path] = {}
    for path in sorted([*root.rglob("metrics.json"), *root.rglob("seed_*.json")]):
        key = identify(path) if path.is_file() else None
        if key is None:
            continue
        if key in seen:
            raise ValueError(f"the same run twice: {seen[key]} and {path}; remove one, or name a narrower folder")
        seen[key] = path
        runs.append(Run(path, *key, read_metrics(path)))
    done = {run.path.parent for run in runs}
    started = [path for path in sorted(root.rglob("seed_*")) if path.is_dir() and SEED.fullmatch(path.name)]
    unfinished = [path.relative_to(root) for path in started if path not in done]
    if not runs:
        hint = f" ({len(unfinished)} run folders without one)" if unfinished else ""
        raise ValueError(
            f"no finished run under {root}{hint}: expected METHOD/seed_S/metrics.json or METHOD/seed_S.json"
        )
    experiments = sorted({run.experiment for run in runs})
    if len(experiments) > 1:
        raise ValueError(f"expected the runs of one experiment, got {', '.join(experiments)} under {root}; name one")
    first, *others = (run.suffix.split(",") for run in runs)
    common = tuple(part for part in first if part and all(part in parts for parts in others))
    return sorted((replace(run, common=common) for run in runs), key=order), unfinished


def collect(runs: list[Run], folder: Path, force: bool = False) -> list[Path]:
    """Copies each run's metrics to `folder/METHOD/seed_S[suffix].json`; returns the files written.

    Raises:
        ValueError: a file is there with other content and `force` is False. Nothing is written then.
    """
    texts: dict[Path, str] = {}
    for run in runs:
        name = f"seed_{run.seed}{',' + run.suffix if run.suffix else ''}.json"
        texts[folder / run.method / name] = run.path.read_text(encoding="utf-8")
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    replaced = [str(path) for path in changed if path.exists()]
    if replaced and not force:
        raise ValueError(f"other content is there already: {', '.join(replaced)}; --force replaces it")
    for path in changed:
        write_atomic(path, texts[path].encode())
    return changed
