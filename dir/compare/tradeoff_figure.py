"""Picture of trade-off curves: few-shot error over many-shot error, with the powers along each curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dir._checks import message
from dir._figure_text import Note, add_notes
from dir.compare.frontier import power_of
from dir.compare.statistics import Comparison, Spread
from dir.compare.tradeoff import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito: colours that readers with any colour vision tell apart. Markers differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_GREY = "#6b6b6b"


def tradeoff_figure(
    found: Sequence[Curve],
    comparison: Comparison | None,
    title: str,
    metric: str = "mae",
    groups: tuple[str, str] = ("many", "few"),
) -> Figure:
    """Return the picture.

    Args:
        found: curves of one data set and one split.
        comparison: other methods, drawn as grey points behind the curves; None for none. The methods with weights
            count^-p are joined by a dashed line.
        title: title of the picture.
        metric: metric of both axes.
        groups: shot groups of the horizontal and of the vertical axis.

    Raises:
        ValueError: a curve without rows in one of the groups.
    """
    # Importing matplotlib takes half a second. pyplot would need a backend.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 5.4), layout="constrained")
    axes = figure.subplots()
    notes: list[Note] = []
    obstacles: list[tuple[float, float]] = []
    if comparison is not None:
        notes += _draw_points(axes, comparison, metric, groups, obstacles)
    front: list[Note] = []
    for number, curve in enumerate(found):
        front += _draw_curve(axes, curve, metric, groups, number, obstacles)
    axes.set_xlabel(f"{metric} on {groups[0]}-shot labels")
    axes.set_ylabel(f"{metric} on {groups[1]}-shot labels")
    axes.set_title(title, fontsize=10)
    axes.grid(color="#ececec")
    axes.set_axisbelow(True)
    axes.margins(0.09)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    add_notes(axes, [*front, *notes], obstacles)
    return figure


def _place(values: Mapping[tuple[str, str], Spread], metric: str, group: str) -> tuple[float, float]:
    """Return mean and standard error."""
    over = values.get((group, metric), Spread(math.nan, math.nan, 0))
    return over.mean, over.sd / math.sqrt(over.n) if over.n > 1 else 0.0


def _draw_curve(
    axes: Any,
    curve: Curve,
    metric: str,
    groups: tuple[str, str],
    number: int,
    obstacles: list[tuple[float, float]],
) -> list[Note]:
    places = [[_place(values, metric, group) for group in groups] for values in curve.values.values()]
    for at, group in enumerate(groups):
        if not all(math.isfinite(place[at][0]) for place in places):
            problem = f"{curve.label} has no rows of the group {group!r}"
            raise ValueError(message("groups", problem, advice="Choose other groups, such as groups=[median,few]."))
    x, y = [place[0][0] for place in places], [place[1][0] for place in places]
    colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
    seeds = f"{len(curve.seeds)} seeds" if len(curve.seeds) > 1 else "1 seed"
    axes.errorbar(
        x,
        y,
        xerr=[place[0][1] for place in places],
        yerr=[place[1][1] for place in places],
        color=colour,
        ecolor=f"{colour}60",
        marker=marker,
        markersize=4.5,
        linewidth=1.6,
        elinewidth=0.8,
        zorder=4,
        label=f"{curve.label}, power beside the point ({seeds})",
    )
    obstacles += [*zip(x, y, strict=True), *_along(x, y)]
    (kept_x, _), (kept_y, _) = (_place(curve.kept, metric, group) for group in groups)
    low, high = min(curve.kept_powers), max(curve.kept_powers)
    kept = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    axes.plot(
        [kept_x],
        [kept_y],
        marker="*",
        markersize=14,
        color=colour,
        markeredgecolor="white",
        linestyle="none",
        zorder=5,
        label=f"{curve.label} at the power that each run keeps ({kept})",
    )
    return [Note(f"{power:g}", (at_x, at_y), colour) for power, at_x, at_y in zip(curve.powers, x, y, strict=True)]


def _along(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """Return points along a line through the given points."""
    return [
        (x[at] + share * (x[at + 1] - x[at]), y[at] + share * (y[at + 1] - y[at]))
        for at in range(len(x) - 1)
        for share in (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
    ]


def _draw_points(
    axes: Any,
    comparison: Comparison,
    metric: str,
    groups: tuple[str, str],
    obstacles: list[tuple[float, float]],
) -> list[Note]:
    notes, line = [], []
    for row in comparison.rows:
        values = {(group, metric): over for (name, group), over in row.spread.items() if name == metric}
        (x, x_error), (y, y_error) = (_place(values, metric, group) for group in groups)
        if not math.isfinite(x) or not math.isfinite(y):
            continue
        axes.errorbar(
            [x],
            [y],
            xerr=[x_error],
            yerr=[y_error],
            color=_GREY,
            ecolor="#bdbdbd",
            marker="x",
            markersize=4.5,
            elinewidth=0.6,
            linestyle="none",
            zorder=2,
        )
        obstacles.append((x, y))
        power = power_of(row.label)
        if power is not None:
            line.append((power, x, y))
        name = row.label if power is None or row.label == "vanilla" else f"p = {power:g}"
        notes.append(Note(name, (x, y), _GREY, 7.0))
    if len(line) > 1:
        line.sort()
        obstacles += _along([x for _, x, _ in line], [y for _, _, y in line])
        axes.plot(
            [x for _, x, _ in line],
            [y for _, _, y in line],
            color=_GREY,
            linestyle="--",
            linewidth=0.9,
            zorder=1,
            label="weights count^-p, one training for each p",
        )
    return notes
