"""Frontier plot of a comparison: few-shot error over many-shot error of each method."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from textwrap import fill
from typing import Any

from dir._checks import check_choice, check_figure_file, message
from dir._figure_text import Note, add_notes
from dir.compare.statistics import Comparison, Row
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER

# Methods in a column of the legend.
_LEGEND_ROWS = 26
# Power p of the methods whose sample weights are count^-p. method=power has p = 0.5 by default. method=inv has p = 1
# only if the task does not clip the counts (inverse_clip: null).
_POWERS = {"vanilla": 0.0, "sqinv": 0.5, "power": 0.5, "inv": 1.0}
_POWER = re.compile(r"power method\.power=([0-9.]+)")
# Colour and marker of a method: the first pattern found in its name. The families are feature smoothing, smoothing of
# labels or predictions, corrections after training, density weights, and other methods.
_FAMILIES = (
    (re.compile(r"fds"), "#c1440e", "o"),
    (re.compile(r"shrink"), "#e39b22", "s"),
    (re.compile(r"affine|isotonic"), "#7b3294", "D"),
    (re.compile(r"lds|denseweight"), "#2c7bb6", "^"),
    (re.compile(r""), "#3f8f5b", "v"),
)


def power_of(label: str) -> float | None:
    """Return p for a row whose sample weights are count^-p, and None for any other row.

    Example:
        >>> power_of("sqinv"), power_of("power method.power=0.25"), power_of("lds")
        (0.5, 0.25, None)
    """
    match = _POWER.fullmatch(label)
    return float(match[1]) if match else _POWERS.get(label)


def frontier_plot(comparison: Comparison, metric: str, path: Path) -> None:
    """Draw every method at (error on many-shot labels, error on few-shot labels), with its standard errors.

    The methods with weights count^-p form a line that starts at p = 0 (vanilla). A method below the line has a lower
    few-shot error than plain reweighting at the same many-shot error.

    Args:
        comparison: see :func:`dir.compare.statistics.compare`.
        metric: metric to draw, for which lower is better.
        path: picture to write. Its suffix chooses the format (.png, .svg, .pdf).

    Raises:
        ValueError: the comparison lacks the metric or one of the groups, lower is not better, or matplotlib does not
            know the suffix.
    """
    # Import here, because importing matplotlib takes half a second. Use Figure, because pyplot needs a backend.
    from matplotlib.figure import Figure

    errors = [name for name in comparison.metrics if name not in (*HIGHER_IS_BETTER, *BEST_AT)]
    check_choice("--frontier", metric, errors)
    check_figure_file("--frontier", path)
    rows = [row for row in comparison.rows if all(_point(row, metric, g)[0] is not None for g in ("many", "few"))]
    if not rows:
        raise ValueError(_no_rows(comparison, metric))
    powers = [(p, row) for row in rows if (p := power_of(row.label)) is not None]
    others = [row for row in rows if power_of(row.label) is None]
    columns = max(1, math.ceil(len(others) / _LEGEND_ROWS))
    figure = Figure(figsize=(6.6 + 2.6 * columns, 6.6), layout="constrained")
    axes = figure.subplots()
    line = sorted(powers, key=lambda point: point[0])  # the key leaves out the row: two rows may share a power
    notes, obstacles = _draw_line(axes, line, metric)
    notes += [_draw_point(axes, row, metric, number) for number, row in enumerate(others, 1)]
    axes.set_xlabel(f"{metric} on many-shot labels")
    axes.set_ylabel(f"{metric} on few-shot labels")
    seeds = max(len(row.seeds) for row in rows)
    title = f"{comparison.experiment}, {comparison.split}: mean and standard error of up to {seeds} seeds"
    # A title wider than the axes would run into the legend.
    axes.set_title(f"{fill(title, 64)}\ntowards the lower left is better", fontsize=10, loc="left")
    if comparison.common:
        figure.supxlabel(fill(f"all runs: {', '.join(comparison.common)}", 140), fontsize=7)
    axes.grid(color="#e9e9e9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, ncols=columns)
    add_notes(axes, notes, obstacles)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _no_rows(comparison: Comparison, metric: str) -> str:
    """Return the message for runs whose test rows leave the many-shot or the few-shot group empty."""
    empty = [g for g in ("many", "few") if all(_point(row, metric, g)[0] is None for row in comparison.rows)]
    named = " and no ".join(f"{group}-shot" for group in empty) or "both many-shot and few-shot"
    problem = (
        f"the {comparison.split} rows of {comparison.experiment} have no {named} labels, which the picture needs"
    )
    advice = (
        "Train the runs with task.shots.by=quantile (a fifth of the training rows is few-shot), with "
        "task.shots.by=density, or with other thresholds task.shots.many=N task.shots.few=N."
    )
    return message("--frontier", problem, advice=advice)


def _point(row: Row, metric: str, group: str) -> tuple[float | None, float]:
    """Return mean and standard error; the mean is None if no seed has a value."""
    over = row.spread.get((metric, group))
    if over is None or over.n == 0:
        return None, 0.0
    return over.mean, over.sd / math.sqrt(over.n) if over.n > 1 else 0.0


def _draw_line(axes: Any, line: list[tuple[float, Row]], metric: str) -> tuple[list[Note], list[tuple[float, float]]]:
    """Draw the methods with weights count^-p; return the texts beside them, and points along the line."""
    if not line:
        return [], []
    points = [(_point(row, metric, "many"), _point(row, metric, "few")) for _, row in line]
    places = [(float(many[0] or 0.0), float(few[0] or 0.0)) for many, few in points]
    axes.errorbar(
        [x for x, _ in places],
        [y for _, y in places],
        xerr=[many[1] for many, _ in points],
        yerr=[few[1] for _, few in points],
        color="#555555",
        ecolor="#55555570",
        marker=".",
        linewidth=1.4,
        elinewidth=0.7,
        label="weights count^-p, p beside the point",
    )
    along = [
        (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
        for start, end in itertools.pairwise(places)
        for share in (0.25, 0.5, 0.75)
    ]
    names = [f"{row.label} (p = 0)" if row.label == "vanilla" else f"{p:g}" for p, row in line]
    return [Note(name, at, "#555555") for name, at in zip(names, places, strict=True)], along


def _draw_point(axes: Any, row: Row, metric: str, number: int) -> Note:
    """Draw a method; return the text beside it, its number in the legend."""
    (many, many_error), (few, few_error) = _point(row, metric, "many"), _point(row, metric, "few")
    _, colour, marker = next(family for family in _FAMILIES if family[0].search(row.label))
    axes.errorbar(
        [many],
        [few],
        xerr=[many_error],
        yerr=[few_error],
        color=colour,
        ecolor=f"{colour}70",
        marker=marker,
        markersize=5,
        elinewidth=0.7,
        linestyle="none",
        label=f"{number} {row.label}",
    )
    return Note(str(number), (float(many or 0.0), float(few or 0.0)), colour)
