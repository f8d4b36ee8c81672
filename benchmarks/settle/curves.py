"""The curve of one histogram_prior training over the powers, beside the curve of the weights count^-p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from dir.compare.frontier import power_of
from dir.compare.statistics import Comparison, Spread, spread
from dir.compare.tradeoff import Curve

METRICS = ("mae", "balanced_mae")


def curve_of(name: str, lines: Sequence[dict[str, Any]]) -> Curve:
    """Return the curve of a data set over its seeds, from its result lines."""
    runs = sorted(
        (line for line in lines if line["role"] == "test" and line["training"] == "histogram_prior"),
        key=lambda line: line["number"],
    )
    if not runs:
        raise ValueError(f"{name}: has no test run of histogram_prior")
    powers = list(runs[0]["rows"]["curve"])
    chosen = [line["rows"]["histogram_prior_chosen"] for line in runs]
    return Curve(
        "histogram_prior",
        tuple(line["number"] for line in runs),
        tuple(float(power) for power in powers),
        {float(power): _over([line["rows"]["curve"][power] for line in runs]) for power in powers},
        _over([row["groups"] for row in chosen]),
        tuple(row["power"] for row in chosen),
    )


def _over(found: Sequence[dict[str, dict[str, float | None]]]) -> dict[tuple[str, str], Spread]:
    return {
        (group, metric): spread(
            math.nan if one[group][metric] is None else float(one[group][metric]) for one in found
        )
        for group in found[0]
        for metric in METRICS
    }


def points_of_the_weights(one: Comparison, groups: tuple[str, str]) -> list[tuple[float, float]]:
    """Return (frequent, rare) MAE of the rows with weights count^-p, in the order of p."""
    found = []
    for row in one.rows:
        power = power_of(row.label)
        if power is not None:
            found.append((power, row.spread["mae", groups[0]].mean, row.spread["mae", groups[1]].mean))
    return [(x, y) for _, x, y in sorted(found)]


def height(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return the rare error that the lower left hull of the points reaches at a frequent error of at most x.

    Straight lines join neighbouring points. Left of all points nothing is reached: infinite.
    """
    best = min((y for at, y in points if at <= x), default=math.inf)
    for (x0, y0), (x1, y1) in pairwise(points):
        if min(x0, x1) <= x <= max(x0, x1) and x0 != x1:
            best = min(best, y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return best


def points_below_the_weights(one: Comparison, curve: Curve) -> list[bool]:
    """Say for each point of the curve at powers 0 to 1 whether it lies on or below the curve of the weights."""
    groups = ("many", "few") if one.sizes.get("many", (0, 0))[1] > 0 else ("median", "few")
    weights = points_of_the_weights(one, groups)
    return [
        curve.values[power]["few", "mae"].mean <= height(weights, curve.values[power][groups[0], "mae"].mean)
        for power in curve.powers
        if power <= 1
    ]
