"""Figures of a comparison for a report: errors along the label, maps of predictions, rare over frequent labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dir.compare.html.series import LabelSeries
from dir.compare.html.svg import Hover, svg_text
from dir.compare.statistics import Comparison
from dir.figures.style import (
    COLOUR_MAP,
    COLOURS,
    INK,
    MARKERS,
    SHOT_SHADES,
    behind,
    label_name,
    legend,
    mark_every,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A point of a figure: x and y in data units, and the text that a pointer on it shows.
Point = tuple[float, float, str, str]


def style(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of a row: the same in all figures of a page."""
    at = list(labels).index(label)
    return COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]


def method_id(label: str, labels: Sequence[str]) -> str:
    """Return the name that joins a row of a table with its lines in the figures."""
    return f"m{list(labels).index(label)}"


@styled
def error_by_label(found: LabelSeries, labels: Sequence[str], unit: str, what: str, prefix: str) -> str:
    """Return the figure of the error (``mae``) or the bias (``bias``) along the label, over the density of labels."""
    figure, axes = new_figure(7.4, 3.6)
    centres, widths = (found.edges[:-1] + found.edges[1:]) / 2, np.diff(found.edges)
    back = behind(axes, "test rows")
    bottom = np.zeros(len(centres))
    for shot, counts in found.shots.items():
        if counts.sum():
            back.bar(
                centres, counts, widths, bottom, color=INK, alpha=SHOT_SHADES[shot], label=f"test rows, {shot}-shot"
            )
            bottom = bottom + counts
    points: list[Point] = []
    for one in found.series:
        values = one.mae if what == "mae" else one.bias
        colour, marker = style(one.label, labels)
        seen = np.isfinite(values)
        axes.plot(
            centres[seen],
            values[seen],
            color=colour,
            marker=marker,
            markersize=4,
            markevery=mark_every(len(found.edges) - 1),
            linewidth=1.5,
            label=one.label,
            gid=f"line--{method_id(one.label, labels)}",
        )
        points += [
            (
                x,
                y,
                f"{one.label}, labels {low:g} to {high:g}: {what} {y:.4g}, {n:g} rows",
                method_id(one.label, labels),
            )
            for x, y, low, high, n in zip(centres, values, found.edges[:-1], found.edges[1:], one.rows, strict=True)
            if math.isfinite(y)
        ]
    if what == "bias":
        axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(label_name(unit))
    axes.set_ylabel("mean absolute error" if what == "mae" else "prediction minus label, mean")
    legend(figure, [axes, back], "outside right upper", 1)
    return svg_text(figure, f"{prefix}-{what}", _pixels(figure, axes, points))


@styled
def prediction_maps(found: LabelSeries, unit: str, prefix: str) -> str:
    """Return one panel per row of the table: where its predictions lie for each label. The diagonal is right."""
    shown = found.series[:6]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, panels = new_figure(2.6 * columns + 0.6, 2.5 * rows + 0.4, rows, columns)
    for axes, one in zip(np.atleast_1d(panels).flat, shown, strict=False):
        axes.pcolormesh(
            found.edges,
            found.edges,
            np.ma.masked_invalid(one.map).T,
            cmap=COLOUR_MAP,
            vmin=0,
            vmax=0.5,
            rasterized=True,
        )
        axes.plot(found.edges[[0, -1]], found.edges[[0, -1]], color="white", linewidth=0.8, linestyle="--")
        axes.set_title(one.label, fontsize=9)
        axes.set_aspect("equal")
    for axes in np.atleast_1d(panels).flat[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel(label_name(unit), fontsize=9)
    figure.supylabel("prediction", fontsize=9)
    return svg_text(figure, f"{prefix}-map")


@styled
def frequent_and_rare(
    one: Comparison, labels: Sequence[str], groups: tuple[str, str], metric: str, prefix: str
) -> str:
    """Return the figure of the error on rare over that on frequent labels, with standard errors over the seeds."""
    figure, axes = new_figure(7.4, 4.0)
    points: list[Point] = []
    for row in one.rows:
        (x, x_error), (y, y_error) = (_mean_and_error(row.spread[metric, group]) for group in groups)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        colour, marker = style(row.label, labels)
        name = method_id(row.label, labels)
        bars = axes.errorbar([x], [y], xerr=[x_error], yerr=[y_error], color=colour, elinewidth=1)
        for bar in bars.lines[2]:
            bar.set_gid(f"bar--{name}")
        axes.plot(
            [x], [y], color=colour, marker=marker, markersize=7, linestyle="none", gid=f"dot--{name}", label=row.label
        )
        points.append((x, y, f"{row.label}: {groups[0]} {x:.4g}, {groups[1]} {y:.4g}, {len(row.seeds)} seeds", name))
    axes.set_xlabel(f"{metric} on {groups[0]}-shot labels")
    axes.set_ylabel(f"{metric} on {groups[1]}-shot labels")
    legend(figure, [axes], "outside right upper", 1)
    return svg_text(figure, f"{prefix}-frontier", _pixels(figure, axes, points))


def _mean_and_error(over: Any) -> tuple[float, float]:
    return over.mean, over.sd / math.sqrt(over.n) if over.n > 1 else 0.0


def _pixels(figure: Figure, axes: Any, points: Sequence[Point]) -> list[Hover]:
    """Return points in the units of the SVG, whose origin is the upper left corner and whose dpi is 72."""
    # The layout is only known once the figure is drawn.
    figure.draw_without_rendering()
    height = figure.get_figheight() * 72
    scale = 72 / figure.dpi
    return (
        [
            (x * scale, height - y * scale, text, name)
            for (x, y), (_, _, text, name) in zip(
                axes.transData.transform([point[:2] for point in points]), points, strict=True
            )
        ]
        if points
        else []
    )
