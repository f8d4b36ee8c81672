"""Whether the runs of a comparison saw the same rows and counted the same shot groups.

A paired difference means something only between runs with the same rows, and a column such as "few" only between runs
with the same thresholds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dir.compare.runs import Run


def comparability_notes(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each way in which runs with the same seed are not comparable; usually none.

    A run that did not record a fact is left out of its check. Runs from before these records have none.

    Args:
        runs: runs of one experiment.
    """
    notes = []
    for seed in sorted({run.seed for run in runs}):
        own = [run for run in runs if run.seed == seed]
        notes += _note(own, _data_hash, "saw different data: the paired differences compare different rows")
        notes += _note(own, _shots, "have different shot groups: a column holds different labels in each row")
    return notes


def _note(runs: Sequence[Run], fact: Callable[[Mapping[str, Any]], str | None], problem: str) -> list[str]:
    found: dict[str, list[str]] = {}
    for run in runs:
        info = run.content.get("run")
        value = fact(info) if isinstance(info, dict) else None
        if value is not None:
            found.setdefault(value, []).append(run.label)
    if len(found) < 2:
        return []
    groups = " | ".join(", ".join(labels) for labels in found.values())
    return [f"Not comparable: the runs of seed {runs[0].seed} {problem} ({groups})."]


def _data_hash(info: Mapping[str, Any]) -> str | None:
    data = info.get("data")
    return str(data["hash"]) if isinstance(data, dict) and "hash" in data else None


def _shots(info: Mapping[str, Any]) -> str | None:
    shots = info.get("shots")
    # Runs that measured no thresholds (older ones) have no such entry.
    if not isinstance(shots, dict) or "thresholds" not in shots:
        return None
    return json.dumps([shots.get("by"), shots["thresholds"]], sort_keys=True)
