"""Entries of metrics.json about a run, besides its metrics."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from dir.metrics import ShotMetrics, TargetMetrics
from dir.metrics.shot_thresholds import default_threshold
from dir.posthoc import Correction
from dir.recipe.parts import RunSettings
from dir.recipe.run_data import DataRecord


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


def commit() -> str | None:
    """Return the commit of the checkout that holds this package, or None outside a checkout.

    The commit ends with ``-dirty`` where files differ from it.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shown.stdout.strip() or None
