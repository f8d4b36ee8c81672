"""Placement of texts beside the points of a figure, so that texts cover neither each other nor the points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Distances of a text from its point in typographic points, the nearest first, and directions in degrees.
_DISTANCES = (5.0, 9.0, 14.0, 20.0, 28.0, 38.0)
_DIRECTIONS = (45, 135, 315, 225, 0, 180, 90, 270, 20, 70, 110, 160, 200, 250, 290, 340)
# A text at least this far away gets a thin line to its point.
_FAR = 14.0

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Note:
    """A text for a point in data coordinates."""

    text: str
    at: Point
    colour: str = "#333333"
    size: float = 8.0


def add_notes(axes: Any, notes: Sequence[Note], obstacles: Sequence[Point] = ()) -> None:
    """Write notes beside their points; the first notes get the best places.

    The limits and the layout of the figure stay fixed from here on.

    Args:
        axes: axes of a matplotlib figure, with everything else drawn.
        notes: texts.
        obstacles: points in data coordinates that texts should not cover, such as points along a line.
    """
    # The canvas of a bare Figure cannot measure texts.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    figure = axes.figure
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib has no types for the methods below
    canvas.draw()
    figure.set_layout_engine("none")
    renderer, scale = canvas.get_renderer(), figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    points = [tuple(axes.transData.transform(at)) for at in (*(note.at for note in notes), *obstacles)]
    placed: list[Box] = []
    for note in notes:
        probe = axes.text(0, 0, note.text, fontsize=note.size)
        extent = probe.get_window_extent(renderer)
        probe.remove()
        x, y = axes.transData.transform(note.at)
        best: tuple[float, float, float, Box] | None = None
        for distance in _DISTANCES:
            for direction in _DIRECTIONS:
                dx, dy, box = _candidate(x, y, extent.width, extent.height, distance * scale, direction)
                outside = box[0] < frame.x0 or box[1] < frame.y0 or box[2] > frame.x1 or box[3] > frame.y1
                cost = 40.0 * sum(_overlap(box, other) for other in placed) + 40.0 * outside
                cost += 6.0 * sum(_inside(box, point) for point in points) + distance / 10
                if best is None or cost < best[0]:
                    best = (cost, dx, dy, box)
        assert best is not None
        _, dx, dy, box = best
        placed.append(box)
        far = math.hypot(dx, dy) >= _FAR * scale
        axes.annotate(
            note.text,
            note.at,
            xytext=(dx / scale, dy / scale),
            textcoords="offset points",
            fontsize=note.size,
            color=note.colour,
            ha="center",
            va="center",
            zorder=6,
            # A white outline keeps the text readable where a line passes below.
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": note.colour, "linewidth": 0.4, "shrinkB": 2} if far else None,
        )


def _candidate(
    x: float, y: float, width: float, height: float, distance: float, direction: int
) -> tuple[float, float, Box]:
    """Return the offset of the middle of a text, and its box, both in pixels."""
    cos, sin = math.cos(math.radians(direction)), math.sin(math.radians(direction))
    dx, dy = cos * (distance + width / 2), sin * (distance + height / 2)
    return dx, dy, (x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Box, point: Any, margin: float = 3.0) -> bool:
    x, y = point
    return bool(box[0] - margin < x < box[2] + margin and box[1] - margin < y < box[3] + margin)
