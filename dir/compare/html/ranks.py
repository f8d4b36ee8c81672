"""Several data sets together: the ranks of the methods that all of them have, and which methods differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dir.compare.html.svg import svg_text
from dir.compare.ranks import Ranks, diagram, rank_grid, rank_methods
from dir.compare.statistics import Comparison
from dir.figures.ranks import critical_difference_figure
from dir.metrics.table import BEST_AT


def ranks_section(found: Sequence[Comparison]) -> dict[str, Any] | None:
    """Return the content of the section on all data sets: a table and a diagram each for all and for few-shot labels.

    Args:
        found: one comparison per data set. A single one has no such section (None).
    """
    if len(found) < 2:
        return None
    common = [name for name in found[0].metrics if name not in BEST_AT and all(name in one.metrics for one in found)]
    if not common:
        problem = "The data sets share no metric for which lower or higher is better."
        return {"metric": "", "parts": [], "problems": [problem]}
    parts, problems = [], []
    for group in ("all", "few"):
        try:
            parts.append(_part(rank_methods(found, common[0], group)))
        except ValueError as error:
            problems.append(f"No ranks by {common[0]}, {group}: {error}")
    return {"metric": common[0], "parts": parts, "problems": problems}


def _part(ranks: Ranks) -> dict[str, Any]:
    grid = rank_grid(ranks)
    return {
        "title": grid.title,
        "header": grid.header,
        "rows": grid.rows,
        "caption": grid.caption,
        "svg": svg_text(critical_difference_figure(diagram(ranks)), f"ranks-{ranks.group}"),
    }
