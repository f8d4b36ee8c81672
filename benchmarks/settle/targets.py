"""The goals that the label prior was to reach, each met or missed by the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.settle.curves import curve_of, point_below_the_weights
from benchmarks.settle.queue import read_results
from dir.compare.report import Grid
from dir.compare.statistics import Comparison

# Data set, the bounds of the mean test MAE of one row by shot group.
GOALS = (
    ("digits", {"few": 9.7, "many": 3.7, "all": 6.9}),
    ("digits", {"few": 7.0, "all": 7.5}),
    ("faces", {"all": 7.1}),
    ("abalone", {"few": 2.9, "all": 1.85}),
    ("concrete", {"all": 4.0, "few": 4.0}),
)
# The last goal is about networks.
_TREES = ("hist_gbdt", "hist_gbdt_sqinv")


def targets_grid(found: Sequence[Comparison]) -> Grid:
    """Return one line per goal: the row that comes closest, and whether it meets the goal."""
    by_name = {one.experiment: one for one in found}
    rows = []
    for name, bounds in GOALS:
        goal = ", ".join(f"{group} <= {bound:g}" for group, bound in bounds.items())
        if name not in by_name:
            rows.append((name, goal, "-", "not run yet", "-"))
            continue
        label, values = _closest(by_name[name], bounds)
        met = all(values[group] <= bound for group, bound in bounds.items())
        shown = ", ".join(f"{group} {values[group]:.2f}" for group in bounds)
        rows.append((name, goal, label, shown, "met" if met else "missed"))
    below = [
        one.experiment
        for one in found
        if point_below_the_weights(one, curve_of(one.experiment, read_results(one.experiment)))
    ]
    rows.append(
        (
            "all data sets",
            "every point of histogram_prior's curve (powers 0 to 1) on or below that of weights count^-p, on 8 of 14",
            "histogram_prior",
            f"{len(below)} of {len(found)}: {', '.join(below) or 'none'}",
            "met" if len(below) >= 8 else "missed" if len(found) - len(below) > 6 else "open",
        )
    )
    caption = (
        "Mean test MAE over the seeds. The closest row is the one whose worst ratio of error and bound is smallest. "
        "Points of the curve of histogram_prior count as rows. Trees do not count for concrete."
    )
    return Grid("goals", ("data", "goal", "closest row", "reached", ""), tuple(rows), caption)


def _closest(one: Comparison, bounds: dict[str, float]) -> tuple[str, dict[str, float]]:
    candidates = {
        row.label: {group: row.spread["mae", group].mean for group in bounds}
        for row in one.rows
        if one.experiment != "concrete" or row.label not in _TREES
    }
    curve = curve_of(one.experiment, read_results(one.experiment))
    candidates |= {
        f"histogram_prior, power {power:g}": {group: values[group, "mae"].mean for group in bounds}
        for power, values in curve.values.items()
    }
    finite = {label: values for label, values in candidates.items() if all(map(math.isfinite, values.values()))}
    return min(finite.items(), key=lambda item: max(item[1][group] / bound for group, bound in bounds.items()))
