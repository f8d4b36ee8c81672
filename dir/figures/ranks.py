"""The critical-difference diagram: average ranks of methods over several data sets, and which of them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from dir._checks import message
from dir.figures.style import COLOURS, INK, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA = 0.05
# Heights in lines of text: from the axis to the first bar, from bar to bar, and from the last bar to the first name.
_FIRST_BAR, _BAR, _NAMES = 0.5, 0.4, 0.9


class RankDiagram(NamedTuple):
    """The content of one diagram. ``dir.compare.ranks.diagram`` makes it of runs.

    Args:
        average: average rank of each method over the data sets; 1 is best.
        critical_difference: average ranks further apart differ at 5 % by Nemenyi's test.
        datasets: number of data sets.
        friedman: p-value of Friedman's test. Without a difference at 5 % one bar joins all methods, however far apart
            they are. Default: NaN, not tested (two methods).
        baseline: method of the p-values. Default: none.
        p_values: p-value of each method against the baseline, after Holm's correction. Methods below 5 % get a star.
        title: metric and labels of the ranks.
    """

    average: Mapping[str, float]
    critical_difference: float
    datasets: int
    friedman: float = math.nan
    baseline: str = ""
    p_values: Mapping[str, float] = {}
    title: str = ""


def rank_groups(average: Mapping[str, float], critical_difference: float) -> list[tuple[str, ...]]:
    """Return the largest groups of two or more methods whose average ranks lie within the critical difference.

    Args:
        average: average rank of each method.
        critical_difference: largest distance of the ranks of a group.

    Returns:
        The groups from the best to the worst ranks, each with its best method first. They may overlap.

    Example:
        >>> rank_groups({"a": 1.2, "b": 2.0, "c": 2.8}, 1.0)
        [('a', 'b'), ('b', 'c')]
    """
    order = sorted(average, key=lambda method: average[method])
    groups: list[tuple[str, ...]] = []
    last = 0
    for start, method in enumerate(order):
        end = start
        # A distance equal to the critical difference does not exceed it, whatever rounding says.
        while end < len(order) and average[order[end]] - average[method] <= critical_difference + 1e-9:
            end += 1
        if end - start > 1 and end > last:
            groups.append(tuple(order[start:end]))
            last = end
    return groups


@styled
def critical_difference_figure(*diagrams: RankDiagram) -> Figure:
    """Return critical-difference diagrams, one below the other.

    Each method hangs at its average rank; the best one is at the left. A bar joins methods whose ranks differ by less
    than Nemenyi's critical difference, so that the data sets do not tell them apart. If Friedman's test finds no
    difference at 5 %, one bar joins all methods. A star marks a method that differs from the baseline at 5 % by the
    given p-values.

    Args:
        diagrams: at least one, each with two methods or more.

    Raises:
        ValueError: no diagram, or one with fewer than two methods.

    Reference:
        Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 2006, Section 3.2.2 and Figure 1.
    """
    from matplotlib.figure import Figure

    if not diagrams:
        raise ValueError(message("diagrams", "expected at least one", 0))
    for one in diagrams:
        if len(one.average) < 2:
            raise ValueError(message("average", "expected the ranks of two methods or more", list(one.average)))
    groups = [_groups(one) for one in diagrams]
    heights = [_height(one, len(found)) for one, found in zip(diagrams, groups, strict=True)]
    inches = [0.17 * height + 1.0 for height in heights]
    figure = Figure(figsize=(7.4, sum(inches)), layout="constrained")
    parts = figure.subfigures(len(diagrams), 1, squeeze=False, height_ratios=inches)[:, 0]
    for part, one, found, height in zip(parts, diagrams, groups, heights, strict=True):
        _draw(part.subplots(), one, found, height)
        part.suptitle(one.title, x=0.01, ha="left", fontsize=10)
        part.supxlabel(fill(_remark(one), 118), x=0.01, ha="left", fontsize=8)
    return figure


def _groups(one: RankDiagram) -> list[tuple[str, ...]]:
    limit = math.inf if one.friedman >= ALPHA else one.critical_difference
    return rank_groups(one.average, limit)


def _height(one: RankDiagram, bars: int) -> float:
    return _FIRST_BAR + _BAR * bars + _NAMES + math.ceil(len(one.average) / 2)


def _draw(axes: Any, one: RankDiagram, groups: Sequence[Sequence[str]], height: float) -> None:
    order = sorted(one.average, key=lambda method: one.average[method])
    k = len(order)
    axes.set_xlim(1, k)
    axes.set_ylim(height, 0)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", pad=1)
    axes.set_xticks(range(1, k + 1) if k <= 20 else range(1, k + 1, math.ceil(k / 15)))
    axes.set_yticks([])
    axes.spines["top"].set_visible(True)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for number, group in enumerate(groups):
        ends = [one.average[group[0]] - 0.006 * k, one.average[group[-1]] + 0.006 * k]
        axes.plot(ends, [_FIRST_BAR + _BAR * number] * 2, color=COLOURS[1], linewidth=3, solid_capstyle="round")
    first, half = _FIRST_BAR + _BAR * len(groups) + _NAMES, math.ceil(k / 2)
    for position, method in enumerate(order):
        left = position < half
        # The best and the worst method hang highest, so that no line crosses another.
        y, rank = first + (position if left else k - 1 - position), one.average[method]
        end = 1 - 0.02 * (k - 1) if left else k + 0.02 * (k - 1)
        axes.plot([rank, rank, end], [0, y, y], color=INK, linewidth=0.8, clip_on=False)
        name = f"{method}{_star(one, method)}  {rank:.2f}"
        axes.annotate(
            name, (end, y), (-3 if left else 3, 0), textcoords="offset points", va="center",
            ha="right" if left else "left", fontsize=8.5, fontweight="bold" if method == one.baseline else None,
            annotation_clip=False,
        )  # fmt: skip
    _ruler(axes, one, k)


def _ruler(axes: Any, one: RankDiagram, k: int) -> None:
    """Draw the critical difference above the right end of the axis, unless it is longer than the axis."""
    if one.critical_difference >= k - 1 or one.friedman >= ALPHA:
        return
    from matplotlib.transforms import ScaledTranslation

    # Above the names of the ticks, whatever the height of the axes is.
    place = axes.get_xaxis_transform() + ScaledTranslation(0, 20 / 72, axes.figure.dpi_scale_trans)
    start = k - one.critical_difference
    axes.plot([start, k], [1, 1], color=INK, linewidth=1, marker="|", markersize=6, transform=place, clip_on=False)
    text = f"critical difference {one.critical_difference:.2f}"
    axes.text(start - 0.01 * k, 1, text, transform=place, ha="right", va="center", fontsize=8)


def _star(one: RankDiagram, method: str) -> str:
    return "*" if one.p_values.get(method, math.nan) < ALPHA else ""


def _remark(one: RankDiagram) -> str:
    text = f"Average rank over {one.datasets} data sets, 1 is best."
    if one.friedman >= ALPHA:
        text += f" One bar joins all methods: Friedman's test finds no difference (p = {one.friedman:.2g})."
    else:
        tested = f" (Friedman p = {one.friedman:.2g})" if math.isfinite(one.friedman) else ""
        text += f" A bar joins methods whose ranks lie within {one.critical_difference:.2f} (Nemenyi, 5 %){tested}."
    if any(_star(one, method) for method in one.average):
        text += f" *: differs from {one.baseline} (bold) at 5 % (Wilcoxon, Holm)."
    elif any(math.isfinite(one.p_values.get(method, math.nan)) for method in one.average):
        text += f" No method differs from {one.baseline} (bold) at 5 % (Wilcoxon, Holm)."
    return text
