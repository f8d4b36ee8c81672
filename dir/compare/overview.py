"""One table over several data sets: what each method changes against the baseline, in all and on rare labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from dir.compare.report import BEST_AT, EMPTY, HIGHER_IS_BETTER, Grid, draw
from dir.compare.runs import place
from dir.compare.statistics import Comparison, Row

_GROUPS: tuple[Literal["all", "few"], ...] = ("all", "few")
_CAPTION = (
    "Mean of the paired differences to {baseline}, in percent of its mean error (which stands in its own row). Bold: "
    "the 95 % interval of the differences (Student's t over the common seeds, not corrected for the number of "
    "comparisons) does not hold 0. Negative is better."
)


def change(row: Row, base: Row, metric: str, group: str) -> float:
    """Mean of the paired differences in percent of the baseline's mean; NaN where it is undefined."""
    difference, own = row.difference.get((metric, group)), base.spread[metric, group].mean
    if difference is None or not math.isfinite(difference.mean) or not own > 0:
        return math.nan
    return 100 * difference.mean / own


def overview_grid(comparisons: Sequence[Comparison], metric: str) -> Grid:
    """Rows methods without overrides of their own, in the order of all tables; two columns a data set.

    Raises:
        ValueError: a comparison lacks the metric or the baseline, or higher is better.
    """
    if metric in (*HIGHER_IS_BETTER, *BEST_AT):
        raise ValueError(f"overview: expected an error, of which lower is better, got {metric!r}")
    bases = []
    for one in comparisons:
        base = next((row for row in one.rows if row.label == one.baseline), None)
        if metric not in one.metrics or base is None:
            raise ValueError(f"overview: {one.experiment} has no {metric!r} of {one.baseline!r}")
        bases.append(base)
    # Overrides are for the tables of one data set: what they change differs from one to the next.
    names = sorted({row.label for one in comparisons for row in one.rows if " " not in row.label}, key=place)
    lines = []
    for name in names:
        cells = []
        for one, base in zip(comparisons, bases, strict=True):
            row = next((row for row in one.rows if row.label == name), None)
            cells += [_cell(row, base, metric, group) for group in _GROUPS]
        lines.append((name, *cells))
    header = ("method", *(f"{one.title} {group}" for one in comparisons for group in _GROUPS))
    baseline = comparisons[0].baseline
    return Grid(f"{metric}, change against {baseline}", header, tuple(lines), _CAPTION.format(baseline=baseline))


def _cell(row: Row | None, base: Row, metric: str, group: str) -> str:
    if row is None:
        return EMPTY
    if row is base:
        return f"({base.spread[metric, group].mean:.4g})"
    percent = change(row, base, metric, group)
    if not math.isfinite(percent):
        return EMPTY
    difference = row.difference[metric, group]
    sure = difference.low > 0 or difference.high < 0
    return f"**{percent:+.1f}**" if sure else f"{percent:+.1f}"


def overview(comparisons: Sequence[Comparison], metric: str) -> str:
    """The table in markdown."""
    grid = overview_grid(comparisons, metric)
    return f"{grid.caption}\n\n{draw(grid)}"
