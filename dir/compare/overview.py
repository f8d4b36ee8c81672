"""One table over several data sets: the change of each method against the baseline, on all and on few-shot labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from dir._checks import message
from dir.compare.report import EMPTY, Grid, markdown_table
from dir.compare.runs import method_sort_key
from dir.compare.statistics import Comparison, Row
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER

_GROUPS: tuple[Literal["all", "few"], ...] = ("all", "few")
_CAPTION = (
    "Mean of the paired differences to {baseline}, in percent of its mean error (which stands in its own row). Bold: "
    "the 95 % interval of the differences (Student's t over the common seeds, not corrected for the number of "
    "comparisons) does not hold 0. Negative is better."
)


def percent_change(row: Row, base: Row, metric: str, group: str) -> float:
    """Return the mean of the paired differences in percent of the baseline's mean, or NaN if it is undefined."""
    difference, own = row.difference.get((metric, group)), base.spread[metric, group].mean
    if difference is None or not math.isfinite(difference.mean) or not own > 0:
        return math.nan
    return 100 * difference.mean / own


def overview_grid(comparisons: Sequence[Comparison], metric: str) -> Grid:
    """Return a table of methods (rows) with two columns for each data set: all labels and few-shot labels.

    Rows are the methods without overrides.

    Raises:
        ValueError: a comparison lacks the metric or the baseline, or lower is not better.
    """
    if metric in (*HIGHER_IS_BETTER, *BEST_AT):
        raise ValueError(message("--overview", "expected a metric for which lower is better", metric))
    bases = []
    for one in comparisons:
        base = next((row for row in one.rows if row.label == one.baseline), None)
        if metric not in one.metrics or base is None:
            problem = f"{one.experiment} has no {metric!r} of the baseline {one.baseline!r}"
            raise ValueError(message("--overview", problem))
        bases.append(base)
    # Rows with overrides are left out: an override tuned for one data set has no counterpart on the others.
    names = sorted(
        {row.label for one in comparisons for row in one.rows if " " not in row.label}, key=method_sort_key
    )
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
    percent = percent_change(row, base, metric, group)
    if not math.isfinite(percent):
        return EMPTY
    difference = row.difference[metric, group]
    sure = difference.low > 0 or difference.high < 0
    return f"**{percent:+.1f}**" if sure else f"{percent:+.1f}"


def overview(comparisons: Sequence[Comparison], metric: str) -> str:
    """Return the table in markdown, below its caption."""
    grid = overview_grid(comparisons, metric)
    return f"{grid.caption}\n\n{markdown_table(grid)}"
