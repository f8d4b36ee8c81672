"""The reasons to read the numbers of a report with care, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dir.compare.html.run_state import repeated_test_rows
from dir.compare.html.series import folder_of
from dir.compare.runs import Run
from dir.compare.statistics import Comparison

# With fewer seeds an interval says little.
_FEW_SEEDS = 3


def warnings(runs: Sequence[Run], one: Comparison) -> list[str]:
    """Return, in words, the reasons to read the numbers with care."""
    found = []
    few = sorted({row.label for row in one.rows if len(row.seeds) < _FEW_SEEDS})
    if few:
        found.append(f"Fewer than {_FEW_SEEDS} seeds: {', '.join(few)}. Their intervals say little.")
    empty = [group for group in one.groups if group not in ("all", "zero") and one.sizes[group][1] == 0]
    if empty:
        names = " or ".join(f"{group}-shot" for group in empty)
        found.append(f"No test row is {names}. task.shots.by=quantile makes groups that are not empty.")
    facts = [run.content.get("run", {}) for run in runs]
    found += one.notes
    found += _leakage(runs)
    found += _fds(runs)
    if any(str(fact.get("commit") or "").endswith("-dirty") for fact in facts):
        found.append("Some runs were made with uncommitted changes of the code.")
    if len({fact.get("commit") for fact in facts if fact.get("commit")}) > 1:
        found.append("The runs were made with different commits of the code.")
    if any(fact.get("correction") for fact in facts) and one.split == "val":
        found.append("Corrections were fitted on the validation split: their validation metrics are too optimistic.")
    found += [f"Left out, because unfinished: {path.name} of {path.parent.name}." for path in one.unfinished]
    return found


def _leakage(runs: Sequence[Run]) -> list[str]:
    """Return a sentence if test rows of a run are training rows as well. Runs of the same data are read once."""
    shares: dict[str, tuple[int, int]] = {}
    for run in runs:
        folder, data = folder_of(run), run.content.get("run", {}).get("data") or {}
        key = str(data.get("hash", run.source))
        if folder is not None and key not in shares:
            counted = repeated_test_rows(folder)
            if counted is not None:
                shares[key] = counted
    repeated, rows = max(shares.values(), key=lambda pair: pair[0] / max(pair[1], 1), default=(0, 0))
    if not repeated:
        return []
    return [
        f"Leakage: {repeated} of {rows} test rows equal a training row, in inputs and label. The test errors are too "
        "low. dir-leakage shows such rows, and data.group keeps rows that belong together in one split."
    ]


def _fds(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for FDS that clips most ratios, or whose bins are mostly empty."""
    clipped: dict[str, float] = {}
    empty: list[str] = []
    for run in runs:
        for values in _last_diagnostics(run):
            share, seen, unseen = (values.get(name) for name in ("clipped", "bins_seen", "bins_empty"))
            if share is not None and share > 0.5:
                clipped[run.label] = max(share, clipped.get(run.label, 0.0))
            if seen is not None and unseen is not None and unseen > seen:
                empty.append(run.label)
    found = [
        f"FDS of {label} clips {100 * share:.0f} % of its variance ratios, so that the clip decides more than the "
        "statistics: use wider bins, a larger min_count, or statistics=mean."
        for label, share in clipped.items()
    ]
    if empty:
        names = ", ".join(dict.fromkeys(empty))
        found.append(f"Most label bins of FDS are empty in {names}: use fewer or wider bins.")
    return found


def _last_diagnostics(run: Run) -> list[dict[str, Any]]:
    """Return the diagnostics of each FDS in the last epoch, which metrics.json holds as ``run.fds``."""
    found = run.content.get("run", {}).get("fds")
    return [values for values in found.values() if isinstance(values, dict)] if isinstance(found, dict) else []
