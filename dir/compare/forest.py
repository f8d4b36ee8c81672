"""Forest plot of a comparison: paired differences to the baseline with their intervals."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from dir._checks import check_choice, check_figure_file, message
from dir.compare.statistics import Comparison
from dir.figures.style import GREY, INK, new_figure, styled
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that colour-blind readers can tell apart: better, worse, and an interval that contains zero.
BETTER, WORSE, UNCLEAR = "#2c7bb6", "#c1440e", "#8a8a8a"


def forest_plot(comparison: Comparison, metric: str, path: Path) -> None:
    """Write the picture of :func:`forest_figure`.

    Args:
        comparison: see :func:`dir.compare.statistics.compare`.
        metric: metric to draw.
        path: picture to write. Its suffix chooses the format (.png, .svg, .pdf).

    Raises:
        ValueError: as :func:`forest_figure`, or the file has another suffix.
    """
    check_figure_file("--forest", path)
    figure = forest_figure(comparison, metric)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def can_draw(comparison: Comparison, metric: str) -> bool:
    """Whether a row has a difference of the metric with an interval."""
    return bool(_groups(comparison, metric))


def _groups(comparison: Comparison, metric: str) -> list[str]:
    rows = [row for row in comparison.rows if row.difference]
    return [
        group for group in comparison.groups if any(math.isfinite(row.difference[metric, group].low) for row in rows)
    ]


@styled
def forest_figure(comparison: Comparison, metric: str) -> Figure:
    """Return the figure of the mean difference and the 95 % interval: a panel per shot group, a line per method.

    The group id (gid) of each line is the label of its row.

    Args:
        comparison: see :func:`dir.compare.statistics.compare`.
        metric: metric to draw.

    Raises:
        ValueError: the comparison lacks the metric, or no row has a difference with an interval.
    """
    check_choice("--forest", metric, comparison.metrics)
    rows = [row for row in comparison.rows if row.difference]
    groups = _groups(comparison, metric)
    if not groups:
        problem = f"no method shares two seeds with {comparison.baseline!r}, so there is no interval"
        raise ValueError(message("--forest", problem))
    # Draw all differences grey if neither lower nor higher is better.
    sign = 0.0 if metric in BEST_AT else -1.0 if metric in HIGHER_IS_BETTER else 1.0
    size = 1.9 + 2.1 * len(groups), 1.3 + 0.27 * len(rows)
    figure, found = new_figure(*size, 1, len(groups), sharey=True, squeeze=False)
    panels = found[0]
    for axes, group in zip(panels, groups, strict=True):
        for height, row in enumerate(rows):
            difference = row.difference[metric, group]
            if difference.n == 0:
                continue
            # A single pair has no interval (NaN), so it stays grey.
            colour = BETTER if sign * difference.high < 0 and sign * difference.low < 0 else UNCLEAR
            colour = WORSE if sign * difference.low > 0 and sign * difference.high > 0 else colour
            if math.isfinite(difference.low):
                ends = [difference.low, difference.high]
                axes.plot(ends, [height] * 2, color=colour, linewidth=2, solid_capstyle="butt", gid=row.label)
            axes.plot(difference.mean, height, "o", color=colour, markersize=4.5, gid=row.label)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="x", color=GREY, alpha=0.25)
        axes.set_axisbelow(True)
        axes.set_title(group, fontsize=10)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(rows)), [row.label for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    seeds = max(row.difference[metric, group].n for row in rows for group in groups)
    side = "right" if sign < 0 else "left"
    better = f"; {side} of 0 is better (blue better, red worse, grey not told apart)" if sign else ""
    figure.suptitle(f"{comparison.experiment}: {metric} minus {comparison.baseline}'s", fontsize=11)
    width = int(24 * size[0] / 1.6)
    texts = [f"{comparison.split}; mean and 95 % interval over up to {seeds} paired seeds{better}"]
    texts += [f"all runs: {', '.join(comparison.common)}"] if comparison.common else []
    figure.supxlabel("\n".join(fill(text, width) for text in texts), fontsize=8)
    return figure
