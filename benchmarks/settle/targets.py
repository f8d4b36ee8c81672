"""The goals that the label prior was to reach, each met or missed by the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.settle.curves import curve_of, points_below_the_weights
from benchmarks.settle.queue import read_complete
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
    """Return one line per goal: the row that comes closest, whether it meets the goal, and the same of the curve.

    Rows alone decide: the plan or the validation split set them. The power of a point of the curve is known from the
    test errors only.
    """
    by_name = {one.experiment: one for one in found}
    rows = []
    for name, bounds in GOALS:
        goal = ", ".join(f"{group} <= {bound:g}" for group, bound in bounds.items())
        if name not in by_name:
            rows.append((name, goal, "-", "not complete yet", "-", "-"))
            continue
        one = by_name[name]
        label, values = _closest(_rows(one, bounds), bounds)
        power, point = _closest(_points(one, bounds), bounds)
        rows.append(
            (
                *(name, goal, label, _shown(values), "met" if _meets(values, bounds) else "missed"),
                f"power {power}: {_shown(point)}{' (within)' if _meets(point, bounds) else ''}",
            )
        )
    points = {
        one.experiment: points_below_the_weights(one, curve_of(one.experiment, read_complete(one.experiment)))
        for one in found
    }
    below = [name for name, of_data in points.items() if all(of_data)]
    single = [point for of_data in points.values() for point in of_data]
    rows.append(
        (
            "all data sets",
            "every point of histogram_prior's curve (powers 0 to 1) on or below that of weights count^-p, on 8 of 14",
            "histogram_prior",
            f"{len(below)} of {len(found)}: {', '.join(below) or 'none'}",
            "met" if len(below) >= 8 else "missed" if len(found) - len(below) > 6 else "open",
            f"{sum(single)} of {len(single)} points",
        )
    )
    caption = (
        "Mean test MAE over the seeds. The closest row is the one whose worst ratio of error and bound is smallest. "
        "The test errors pick it among the rows, so that met says that such a row exists. The last column "
        "shows the closest point of the curve of histogram_prior. The test errors pick its power, and no run chose "
        "it: it does not count. Trees do not count for concrete."
    )
    header = ("data", "goal", "closest row", "reached", "", "closest point of the curve, for information")
    return Grid("goals", header, tuple(rows), caption)


def _rows(one: Comparison, bounds: dict[str, float]) -> dict[str, dict[str, float]]:
    return {
        row.label: {group: row.spread["mae", group].mean for group in bounds}
        for row in one.rows
        if one.experiment != "concrete" or row.label not in _TREES
    }


def _points(one: Comparison, bounds: dict[str, float]) -> dict[str, dict[str, float]]:
    curve = curve_of(one.experiment, read_complete(one.experiment))
    return {
        f"{power:g}": {group: values[group, "mae"].mean for group in bounds} for power, values in curve.values.items()
    }


def _meets(values: dict[str, float], bounds: dict[str, float]) -> bool:
    return all(values[group] <= bound for group, bound in bounds.items())


def _shown(values: dict[str, float]) -> str:
    return ", ".join(f"{group} {value:.2f}" for group, value in values.items())


def _closest(candidates: dict[str, dict[str, float]], bounds: dict[str, float]) -> tuple[str, dict[str, float]]:
    finite = {label: values for label, values in candidates.items() if all(map(math.isfinite, values.values()))}
    return min(finite.items(), key=lambda item: max(item[1][group] / bound for group, bound in bounds.items()))
