"""Forest plot of a comparison: paired differences to the baseline with their intervals."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

from dir._checks import check_choice, message
from dir.compare.statistics import Comparison
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER

# Colours that colour-blind readers can tell apart: better, worse, and an interval that contains zero.
BETTER, WORSE, UNCLEAR = "#2c7bb6", "#c1440e", "#8a8a8a"


def forest_plot(comparison: Comparison, metric: str, path: Path) -> None:
    """Draw the mean difference and the 95 % interval: one panel per shot group, one line per method.

    Args:
        comparison: see :func:`dir.compare.statistics.compare`.
        metric: metric to draw.
        path: picture to write. Its suffix chooses the format (.png, .svg, .pdf).

    Raises:
        ValueError: the comparison lacks the metric, no row has a difference with an interval, or matplotlib does not
            know the suffix.
    """
    # Import here, because importing matplotlib takes half a second. Use Figure, because pyplot needs a backend.
    from matplotlib.figure import Figure

    check_choice("--forest", metric, comparison.metrics)
    rows = [row for row in comparison.rows if row.difference]
    groups = [
        group for group in comparison.groups if any(math.isfinite(row.difference[metric, group].low) for row in rows)
    ]
    if not groups:
        problem = f"no method shares two seeds with {comparison.baseline!r}, so there is no interval"
        raise ValueError(message("--forest", problem))
    figure = Figure(figsize=(1.9 + 2.1 * len(groups), 1.3 + 0.27 * len(rows)), layout="constrained")
    if path.suffix.lstrip(".").lower() not in figure.canvas.get_supported_filetypes():
        raise ValueError(message("--forest", "expected a file that ends in .png, .svg or .pdf", str(path)))
    # Draw all differences grey if neither lower nor higher is better.
    sign = 0.0 if metric in BEST_AT else -1.0 if metric in HIGHER_IS_BETTER else 1.0
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups, strict=True):
        for height, row in enumerate(rows):
            difference = row.difference[metric, group]
            if difference.n == 0:
                continue
            # A single pair has no interval (NaN), so it stays grey.
            colour = BETTER if sign * difference.high < 0 and sign * difference.low < 0 else UNCLEAR
            colour = WORSE if sign * difference.low > 0 and sign * difference.high > 0 else colour
            if math.isfinite(difference.low):
                axes.plot(
                    [difference.low, difference.high],
                    [height, height],
                    color=colour,
                    linewidth=2,
                    solid_capstyle="butt",
                )
            axes.plot(difference.mean, height, "o", color=colour, markersize=4.5)
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
