"""Figures of a report as SVG text: no script, no font, no link; lines and texts follow the page's colours."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dir.compare.html.series import LabelSeries
from dir.compare.statistics import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, readable with any colour vision, on white and on dark grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#808080")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# A colour that no figure uses otherwise. The page replaces it by the colour of its text.
_INK = "#010203"
_SHOT_SHADES = {"many": 0.30, "median": 0.20, "few": 0.12, "zero": 0.06}
# A point of a figure: x and y in data units, and the text that a pointer on it shows.
Point = tuple[float, float, str, str]


def style(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of a row: the same in all figures of a page."""
    at = list(labels).index(label)
    return COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]


def method_id(label: str, labels: Sequence[str]) -> str:
    """Return the name that joins a row of a table with its lines in the figures."""
    return f"m{list(labels).index(label)}"


def error_by_label(found: LabelSeries, labels: Sequence[str], unit: str, what: str) -> str:
    """Return the figure of the error (``mae``) or the bias (``bias``) along the label, over the density of labels."""
    figure, axes = _figure(7.4, 3.6)
    centres, widths = (found.edges[:-1] + found.edges[1:]) / 2, np.diff(found.edges)
    back = axes.twinx()
    bottom = np.zeros(len(centres))
    for shot, counts in found.shots.items():
        if counts.sum():
            back.bar(
                centres, counts, widths, bottom, color=_INK, alpha=_SHOT_SHADES[shot], label=f"test rows, {shot}-shot"
            )
            bottom = bottom + counts
    back.set_ylabel("test rows")
    axes.set_zorder(back.get_zorder() + 1)
    axes.patch.set_visible(False)
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
        axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_xlabel(f"label ({unit})")
    axes.set_ylabel("mean absolute error" if what == "mae" else "prediction minus label, mean")
    _legend(figure, axes, back)
    return _svg(figure, what, lambda: _pixels(figure, axes, points))


def prediction_maps(found: LabelSeries, labels: Sequence[str], unit: str) -> str:
    """Return one panel per row of the table: where its predictions lie for each label. The diagonal is right."""
    shown = found.series[:6]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, panels = _figure(2.6 * columns + 0.6, 2.5 * rows + 0.4, rows, columns)
    for axes, one in zip(panels.flat, shown, strict=False):
        axes.pcolormesh(
            found.edges,
            found.edges,
            np.ma.masked_invalid(one.map).T,
            cmap="cividis",
            vmin=0,
            vmax=0.5,
            rasterized=True,
        )
        axes.plot(found.edges[[0, -1]], found.edges[[0, -1]], color="white", linewidth=0.8, linestyle="--")
        axes.set_title(one.label, fontsize=9, color=_INK)
        axes.set_aspect("equal")
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel(f"label ({unit})", fontsize=9, color=_INK)
    figure.supylabel("prediction", fontsize=9, color=_INK)
    return _svg(figure, "map", list)


def frequent_and_rare(one: Comparison, labels: Sequence[str], groups: tuple[str, str], metric: str) -> str:
    """Return the figure of the error on rare over that on frequent labels, with standard errors over the seeds."""
    figure, axes = _figure(7.4, 4.0)
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
    _legend(figure, axes)
    return _svg(figure, "frontier", lambda: _pixels(figure, axes, points))


def _mean_and_error(over: Any) -> tuple[float, float]:
    return over.mean, over.sd / math.sqrt(over.n) if over.n > 1 else 0.0


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    # Importing matplotlib takes half a second. pyplot would need a backend.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_visible(False)
    panels = figure.subplots(rows, columns, squeeze=rows * columns == 1)
    for axes in np.atleast_1d(panels).flat:
        axes.patch.set_visible(False)
    return figure, panels


def _legend(figure: Figure, *parts: Any) -> None:
    handles, names = [], []
    for axes in parts:
        found = axes.get_legend_handles_labels()
        handles += found[0]
        names += found[1]
    legend = figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_color(_INK)


def _pixels(figure: Figure, axes: Any, points: Sequence[Point]) -> list[tuple[float, float, str, str]]:
    """Return points in the units of the SVG, whose origin is the upper left corner and whose dpi is 72."""
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


def _svg(figure: Figure, name: str, overlay: Callable[[], list[tuple[float, float, str, str]]]) -> str:
    """Return the SVG of a figure, with an invisible circle and a title over each point."""
    import matplotlib

    for axes in figure.axes:
        axes.tick_params(colors=_INK, labelsize=8)
        for side, spine in axes.spines.items():
            spine.set_color(_INK)
            spine.set_visible(side in ("left", "bottom"))
        axes.xaxis.label.set(color=_INK, fontsize=9)
        axes.yaxis.label.set(color=_INK, fontsize=9)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # Identities are unique on the page; the groups of the lines keep theirs as data-method.
    text = re.sub(r'<g id="\w+--(m\d+)">', r'<g data-method="\1">', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    circles = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="transparent" data-method="{method}">'
        f"<title>{html.escape(shown)}</title></circle>"
        for x, y, shown, method in overlay()
    )
    return text.replace("</svg>", f"{circles}</svg>")
