"""The forest plot of a comparison: paired differences to the baseline with their intervals."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

from dir.compare.report import BEST_AT, HIGHER_IS_BETTER
from dir.compare.statistics import Comparison

# Colour-blind safe: better, worse, and not told apart from zero.
BETTER, WORSE, UNCLEAR = "#2c7bb6", "#c1440e", "#8a8a8a"


def forest_plot(comparison: Comparison, metric: str, path: Path) -> None:
    """Draws one panel per shot group, one line per method: mean difference and its 95 % interval.

    Args:
        comparison: see :func:`dir.compare.statistics.compare`.
        metric: which.
        path: the picture to write; its ending says which kind (.png, .svg, .pdf).

    Raises:
        ValueError: the comparison lacks the metric, or no row has a difference with an interval; an ending that
            matplotlib does not know.
    """
    # matplotlib takes half a second to import; pyplot would need a backend.
    from matplotlib.figure import Figure

    if metric not in comparison.metrics:
        raise ValueError(f"forest: expected one of {', '.join(comparison.metrics)}, got {metric!r}")
    rows = [row for row in comparison.rows if row.difference]
    groups = [
        group for group in comparison.groups if any(math.isfinite(row.difference[metric, group].low) for row in rows)
    ]
    if not groups:
        raise ValueError(f"forest: no method shares two seeds with {comparison.baseline!r}, so there is no interval")
    figure = Figure(figsize=(1.9 + 2.1 * len(groups), 1.3 + 0.27 * len(rows)), layout="constrained")
    if path.suffix.lstrip(".").lower() not in figure.canvas.get_supported_filetypes():
        raise ValueError(f"forest: expected a file that ends in .png, .svg or .pdf, got {path}")
    # Where neither direction is better, no difference is coloured.
    sign = 0.0 if metric in BEST_AT else -1.0 if metric in HIGHER_IS_BETTER else 1.0
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups, strict=True):
        for place, row in enumerate(rows):
            one = row.difference[metric, group]
            if one.n == 0:
                continue
            # Without an interval (a single pair) nothing is told apart from zero.
            colour = BETTER if sign * one.high < 0 and sign * one.low < 0 else UNCLEAR
            colour = WORSE if sign * one.low > 0 and sign * one.high > 0 else colour
            if math.isfinite(one.low):
                axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot(one.mean, place, "o", color=colour, markersize=4.5)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.grid(axis="x", color="#e4e4e4")
        axes.set_axisbelow(True)
        axes.set_title(group, fontsize=10)
        axes.tick_params(labelsize=8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(rows)), [row.label for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    seeds = max(row.difference[metric, group].n for row in rows for group in groups)
    side = "right" if sign < 0 else "left"
    better = f"; {side} of 0 is better (blue better, red worse, grey not told apart)" if sign else ""
    figure.suptitle(f"{comparison.experiment}: {metric} minus {comparison.baseline}'s", fontsize=11)
    figure.supxlabel(
        f"{comparison.split}; mean and 95 % interval over up to {seeds} paired seeds{better}"
        + ("\n" + fill(f"all runs: {', '.join(comparison.common)}", 140) if comparison.common else ""),
        fontsize=8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
