"""Entries of metrics.json about a run, besides its metrics."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dir.metrics import ShotMetrics, TargetMetrics
from dir.metrics.shot_thresholds import default_threshold
from dir.posthoc import Correction
from dir.recipe.parts import RunSettings
from dir.recipe.run_data import DataRecord

_ROOT = Path(__file__).resolve().parents[2]


def settings_info(
    settings: RunSettings,
    record: DataRecord | None,
    correction: Correction | None,
    metrics: ShotMetrics | TargetMetrics,
) -> dict[str, Any]:
    """Return the entries of metrics.json about the settings and the data of a run, see docs/run_folder.md."""
    given = settings.shots
    by = given.get("by", "count")
    shots: dict[str, Any] = {"by": by}
    for name in ("many", "few"):
        value = given.get(name)
        shots[name] = default_threshold(by, name) if value is None else value
    shots |= {"zero_shot": given.get("zero_shot", True), "groups": given.get("groups")}
    targets: dict[str, Any] = {}
    if isinstance(metrics, TargetMetrics):
        shots["thresholds"] = {name: _thresholds(one) for name, one in metrics.parts.items()}
        # Errors that are means over the targets are divided by these scales.
        targets = {"targets": dict(zip(metrics.names, metrics.scales, strict=True))}
    else:
        shots["thresholds"] = _thresholds(metrics)
    fitted = None if correction is None else {"kind": correction.kind, "fitted_on": "val"}
    data, target = None, {}
    if record is not None:
        target = {"target": record.description["target"]} if "target" in record.description else {}
        data = {"hash": record.hash, "rows": {split: len(ids) for split, ids in record.split.items()}}
    cost = {} if settings.cost is None else {"cost": settings.cost}
    known = {"monitor": f"val/all/{settings.monitor}", "shots": shots, "correction": fitted, "data": data}
    return known | target | targets | cost


def _thresholds(metrics: ShotMetrics) -> dict[str, Any] | None:
    return None if metrics.thresholds is None else metrics.thresholds._asdict()


def commit(root: Path = _ROOT, ignored: Sequence[str] = ()) -> str | None:
    """Return the commit of the checkout that holds this package, or None outside a checkout.

    The commit ends with ``-dirty`` where tracked files differ from it.

    Args:
        root: root of the checkout.
        ignored: files and folders, from the root, whose changes do not count.
    """
    if not (root / ".git").exists():
        return None
    git = ("git", "--no-optional-locks", "-C", str(root))
    places = [".", *(f":(exclude){path}" for path in ignored)]
    try:
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, timeout=10, check=True)
            for words in (
                ("rev-parse", "--verify", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "--", *places),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("-dirty" if changed.stdout else "")
