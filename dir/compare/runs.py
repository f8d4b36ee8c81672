"""Finished runs of one experiment: find run folders, read result files, and collect runs into a result file.

A run folder is ``NAME/METHOD/seed_S[suffix]`` with a ``metrics.json``. A result file is ``NAME.jsonl`` with one run
per line, sorted by method, suffix and seed. The repository holds result files. The suffix names the overrides of a
run. Runs with different suffixes are not averaged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from dir._atomic import write_atomic
from dir._checks import message

SEED_FOLDER = re.compile(r"seed_(\d+)(|,.*)")
# By family: weights, feature smoothing, losses, regularisers, heads and stages, resampling, controls.
METHOD_ORDER = (
    *("vanilla", "inv", "sqinv", "power", "lds", "denseweight"),
    *("fds", "fds_shrink", "lds_fds", "lds_fds_shrink", "vir"),
    *("focal_r", "huber", "bmc", "gai", "bni", "dist"),
    *("ranksim", "conr", "rnc", "rnc_two_stage", "ordinal_entropy", "srl"),
    *("histogram", "histogram_prior"),
    *("vir_prior", "rbc_prior", "uvote_prior"),
    *("rbc", "uvote", "rrt", "rrt_lds"),
    *("random_under", "random_over", "gaussian_noise", "wercs", "smoter", "smogn", "bagging", "rebagg"),
    *("hist_gbdt", "lightgbm", "catboost"),
    *("layer_norm", "c_mixup", "label_shrink", "prediction_shrink", "affine", "isotonic"),
    *("lds_label_shrink", "lds_prediction_shrink", "lds_affine", "lds_isotonic"),
)
# A result file holds file names instead of paths for these overrides, because paths differ between machines.
PATH_KEYS = {"data.path", "data.csv", "data.glove", "data.cache_dir", "data.test_path", "noise.audit"}
_METRICS_FORMAT = '{split: {group: {"n": ..., metric: number or null}}} with the group "all"'
_LINE_FORMAT = '{"method": name, "seed": integer, "suffix": text, "metrics": the content of a metrics.json}'


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        source: file that the run was read from, with the line number for a result file. Messages show it.
        experiment: name of the folder above the method's folder, or the stem of the result file.
        method: name of the method.
        suffix: overrides in the name of the run folder, separated by commas.
        seed: seed of the run.
        metrics: ``metrics[split][group][metric]``, NaN where the file has null.
        content: the parsed metrics.json, with the facts of the run under "run".
        common: overrides that all runs of the experiment share.
    """

    source: str
    experiment: str
    method: str
    suffix: str
    seed: int
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    common: tuple[str, ...] = ()

    @property
    def overrides(self) -> str:
        """Return the overrides that not all runs of the experiment share, separated by commas."""
        return ",".join(part for part in self.suffix.split(",") if part not in self.common)

    @property
    def label(self) -> str:
        """Return the label of the run's row in a table: the method and its overrides."""
        return f"{self.method} {self.overrides}".rstrip()


def method_sort_key(method: str) -> tuple[int, str]:
    """Return a sort key that puts methods in the order of METHOD_ORDER, and other methods behind them by name."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER)), method


def run_sort_key(run: Run) -> tuple[int, str, str, int]:
    """Return a sort key that puts runs in the order of the table rows: method, overrides, seed."""
    return *method_sort_key(run.method), run.overrides, run.seed


def identify(path: Path) -> tuple[str, str, str, int] | None:
    """Return (experiment, method, suffix, seed) from the path of a run's metrics.json, or None for any other path.

    Example:
        >>> identify(Path("outputs/stsb_minilm/lds/seed_3,lds.sigma=1.0/metrics.json"))
        ('stsb_minilm', 'lds', 'lds.sigma=1.0', 3)
    """
    parts = path.parent.parts
    match = SEED_FOLDER.fullmatch(parts[-1]) if len(parts) > 2 and path.name == "metrics.json" else None
    return (parts[-3], parts[-2], match[2].lstrip(","), int(match[1])) if match else None


def _number(value: Any, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(message(where, "expected a number or null", value))
    return float(value)


def _parse_json(text: str, where: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        advice = "Run it again, or remove it."
        raise ValueError(
            message(where, f"expected json, {expected}; the json has an error: {error}", advice=advice)
        ) from error


def parse_metrics(content: Any, where: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return the splits of the content of one metrics.json. The run's facts under "run" are ignored.

    Args:
        content: parsed json.
        where: file that messages name.

    Raises:
        ValueError: the content is not ``{split: {group: {metric: number or null}}}`` with a group "all".
    """
    splits = {name: groups for name, groups in content.items() if name != "run"} if isinstance(content, dict) else {}
    if not splits:
        raise ValueError(message(where, f"has no split, expected {_METRICS_FORMAT}"))
    for split, groups in splits.items():
        if not isinstance(groups, dict) or "all" not in groups:
            raise ValueError(message(where, f"split {split!r} has no group 'all', expected {_METRICS_FORMAT}"))
        for group, values in groups.items():
            if not isinstance(values, dict) or not isinstance(values.get("n"), int):
                raise ValueError(message(where, f"{split}/{group} has no integer 'n', expected {_METRICS_FORMAT}"))
    return {
        split: {
            group: {name: _number(value, f"{where}: {split}/{group}/{name}") for name, value in values.items()}
            for group, values in groups.items()
        }
        for split, groups in splits.items()
    }


def read_run(path: Path) -> Run | None:
    """Return the run of one metrics.json, or None if the file is not in a run folder.

    Raises:
        ValueError: the file is malformed, see :func:`parse_metrics`.
    """
    key = identify(path) if path.is_file() else None
    if key is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(message(str(path), f"expected json in UTF-8: {error}")) from error
    content = _parse_json(text, str(path), _METRICS_FORMAT)
    return Run(str(path), *key, parse_metrics(content, str(path)), content)


def read_results(path: Path) -> list[Run]:
    """Return the runs of a result file in the order of its lines.

    Raises:
        ValueError: a line is malformed, or two lines are the same run.
    """
    runs: dict[tuple[str, str, int], Run] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(message(str(path), f"expected json lines in UTF-8: {error}")) from error
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        entry = _parse_json(line, where, _LINE_FORMAT)
        types = {"method": str, "suffix": str, "seed": int, "metrics": dict}
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in types.items()):
            raise ValueError(message(where, f"expected {_LINE_FORMAT}"))
        key = (entry["method"], entry["suffix"], entry["seed"])
        if key in runs:
            raise ValueError(message(where, f"the same run twice, first in {runs[key].source}", advice="Remove one."))
        runs[key] = Run(where, path.stem, *key, parse_metrics(entry["metrics"], where), entry["metrics"])
    if not runs:
        raise ValueError(message(str(path), "has no run"))
    return list(runs.values())


def find_runs(root: Path) -> tuple[list[Run], list[Path]]:
    """Return the finished runs of one experiment in table order, and the folders of unfinished runs.

    Args:
        root: result file, or folder that holds run folders. A run folder without a metrics.json is unfinished.

    Returns:
        The runs, and the unfinished run folders relative to ``root``.

    Raises:
        ValueError: ``root`` does not exist or holds no finished run, a file is malformed, there are several
            experiments, or a run exists twice.
    """
    if root.is_file():
        return in_table_order(read_results(root)), []
    root = root.resolve()  # "." has no parts from which to read the names of the experiment and the method
    if not root.is_dir():
        raise ValueError(message(str(root), "not found", advice="Name a folder of runs or a result file (.jsonl)."))
    found = [run for path in sorted(root.rglob("metrics.json")) if (run := read_run(path)) is not None]
    finished = {Path(run.source).parent for run in found}
    started = [path for path in sorted(root.rglob("seed_*")) if path.is_dir() and SEED_FOLDER.fullmatch(path.name)]
    unfinished = [path.relative_to(root) for path in started if path not in finished]
    if not found:
        hint = f" ({len(unfinished)} unfinished run folders)" if unfinished else ""
        result_files = ", ".join(path.name for path in sorted(root.glob("*.jsonl")))
        advice = f"Name one of its result files: {result_files}." if result_files else ""
        raise ValueError(
            message(str(root), f"no finished run{hint}, expected METHOD/seed_S/metrics.json", advice=advice)
        )
    _check_one_experiment(found, root)
    return in_table_order(found), unfinished


def _check_one_experiment(runs: list[Run], root: Path) -> None:
    experiments = sorted({run.experiment for run in runs})
    if len(experiments) > 1:
        advice = "Name the folder of one experiment."
        raise ValueError(
            message(str(root), f"expected one experiment, found {', '.join(experiments)}", advice=advice)
        )
    seen: dict[tuple[str, str, int], str] = {}
    for run in runs:
        key = (run.method, run.suffix, run.seed)
        if key in seen:
            advice = "Remove one, or name a narrower folder."
            raise ValueError(message(run.source, f"the same run twice, first in {seen[key]}", advice=advice))
        seen[key] = run.source


def in_table_order(runs: list[Run]) -> list[Run]:
    """Return the runs of one experiment in the order of the rows, each with the overrides that all share."""
    first, *others = (run.suffix.split(",") for run in runs)
    common = tuple(part for part in first if part and all(part in parts for parts in others))
    return sorted((replace(run, common=common) for run in runs), key=run_sort_key)


def collect(runs: Iterable[Run], file: Path, force: bool = False) -> list[Run]:
    """Add runs to a result file, one per line, sorted by method, suffix and seed.

    Overrides that hold a path, such as ``data.path``, are written with the file name alone.

    Args:
        runs: runs of one experiment.
        file: ``EXPERIMENT.jsonl``. Its other runs are kept.
        force: replace runs of the file that have other content.

    Returns:
        The runs that were added or replaced.

    Raises:
        ValueError: the file is not named after the experiment, or a run of the file has other content and ``force``
            is False. Nothing is written then.
    """
    lines = (
        {(run.method, run.suffix, run.seed): result_line(run) for run in read_results(file)} if file.exists() else {}
    )
    changed, replaced = [], []
    for run in runs:
        if file.name != f"{run.experiment}.jsonl":
            raise ValueError(message("--collect", f"expected a file named {run.experiment}.jsonl", str(file)))
        key, line = (run.method, run.suffix, run.seed), result_line(run)
        if lines.get(key) == line:
            continue
        if key in lines:
            replaced.append(f"{run.method}/seed_{run.seed}{',' + run.suffix if run.suffix else ''}")
        lines[key] = line
        changed.append(run)
    if replaced and not force:
        problem = f"has other content for {', '.join(replaced)}"
        raise ValueError(message(str(file), problem, advice="Add --force to replace it."))
    if changed:
        write_atomic(file, "".join(lines[key] for key in sorted(lines)).encode())
    return changed


def result_line(run: Run) -> str:
    """Return the line of a run in a result file."""
    content = dict(run.content)
    info = content.get("run")
    if isinstance(info, dict) and isinstance(info.get("overrides"), list):
        content["run"] = {**info, "overrides": [_portable(str(override)) for override in info["overrides"]]}
    entry = {"method": run.method, "seed": run.seed, "suffix": run.suffix, "metrics": content}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _portable(override: str) -> str:
    key, sign, value = override.partition("=")
    return f"{key}{sign}{PurePath(value).name}" if key.lstrip("+") in PATH_KEYS else override
