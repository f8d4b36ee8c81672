"""The content of a report, from finished runs, and the page made of it."""

from __future__ import annotations

import html
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dir._checks import message
from dir.compare.html.cautions import warnings
from dir.compare.html.drawings import drawings
from dir.compare.html.figures import method_id
from dir.compare.html.new_data import new_data_part, read_reports
from dir.compare.html.pair import can_pair, pair_section
from dir.compare.html.ranks import ranks_section
from dir.compare.report import EMPTY, decimals, difference_cell, remarks, spread_cell
from dir.compare.runs import Run
from dir.compare.statistics import Comparison, compare
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER

# Circle over a point of a figure, see svg_text(): its method, and the values that it shows.
_POINT = re.compile(r'<circle [^>]*data-method="(\w+)"><title>(.*?)</title>')
_TEMPLATE = Path(__file__).with_name("page.html.j2")


def report_page(
    found: Sequence[tuple[Sequence[Run], Sequence[Path]]],
    split: str = "test",
    baseline: str | None = None,
    monitor: Sequence[Path] = (),
) -> str:
    """Return the HTML of the report.

    Args:
        found: runs of each experiment with its unfinished folders, see :func:`dir.compare.runs.find_runs`.
        split: "test" or "val".
        baseline: row that the others are compared with. Default: "vanilla", if it exists.
        monitor: reports of ``dir-monitor`` about some of the runs.

    Raises:
        ValueError: no runs, a run without the split, an unknown baseline, or a file that is no report of
            ``dir-monitor`` about one of the runs.
    """
    try:
        from jinja2 import Environment, select_autoescape
    except ImportError as error:
        raise ImportError(message("dir-report", "needs Jinja2", advice="pip install jinja2.")) from error
    if not found:
        raise ValueError(message("runs", "expected at least one folder of finished runs", len(found)))
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    new = read_reports(monitor, [run for runs, _ in found for run in runs])
    comparisons = [compare(runs, split, baseline, None, unfinished) for runs, unfinished in found]
    sections = [
        _section(runs, one, f"s{number}")
        | {
            "new": [
                new_data_part(run, one, f"new{at}")
                for at, (run, _, one) in enumerate(new)
                if any(run is other for other in runs)
            ]
        }
        for number, ((runs, _), one) in enumerate(zip(found, comparisons, strict=True), 1)
    ]
    return template.render(sections=sections, ranks=ranks_section(comparisons), split=split)


def _section(runs: Sequence[Run], one: Comparison, prefix: str) -> dict[str, Any]:
    """Return the content of the section of one experiment; ``prefix`` is unique on the page."""
    labels = [row.label for row in one.rows]
    unit = _unit(runs)
    pair = len(runs) == 2 and one.split == "test" and can_pair(runs[0], runs[1])
    return {
        "title": one.title,
        "pair": pair_section(runs[0], runs[1], unit, prefix) if pair else None,
        "rows": [{"label": label, "id": method_id(label, labels)} for label in labels],
        "tables": [_table(one, metric, labels) for metric in one.metrics],
        "figures": [_figure(*drawing) for drawing in drawings(runs, one, unit, prefix)],
        "remarks": remarks(one),
        "warnings": warnings(runs, one),
        "commands": commands(runs),
        "facts": _facts(runs),
        "baseline": one.baseline,
    }


def _figure(svg: str, caption: str) -> dict[str, Any]:
    """Return a figure with its caption, and the values of its points in words, for readers who cannot point."""
    values = [(method, html.unescape(text)) for method, text in _POINT.findall(svg)]
    return {"svg": svg, "caption": caption, "points": values, "name": caption.partition(".")[0]}


def _table(one: Comparison, metric: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return a table: mean and spread by group, and the paired difference to the baseline, with values to sort by."""
    groups = [group for group in one.groups if any(row.spread[metric, group].n for row in one.rows)]
    places = decimals(row.spread[metric, group].mean for row in one.rows for group in groups)
    lines = []
    for row in one.rows:
        cells: list[dict[str, Any]] = [
            {
                "text": spread_cell(row.spread[metric, group], places, len(row.seeds)),
                "value": _sortable(row.spread[metric, group].mean),
            }
            for group in groups
        ]
        for group in groups:
            difference = row.difference.get((metric, group))
            text = "" if difference is None else difference_cell(difference, places, len(row.seeds))
            sure = difference is not None and (difference.low > 0 or difference.high < 0)
            value = math.inf if difference is None else difference.mean
            cells.append({"text": text, "value": _sortable(value), "sure": sure})
        lines.append(
            {"label": row.label, "id": method_id(row.label, labels), "seeds": len(row.seeds), "cells": cells}
        )
    better = (
        "higher is better"
        if metric in HIGHER_IS_BETTER
        else f"best at {BEST_AT[metric]:g}"
        if metric in BEST_AT
        else "lower is better"
    )
    return {"metric": metric, "better": better, "groups": groups, "lines": lines}


def _sortable(value: float) -> str:
    return f"{value:.8g}" if math.isfinite(value) else "inf"


def _unit(runs: Sequence[Run]) -> str:
    target = next(
        (part.split("=", 1)[1] for run in runs for part in _overrides(run) if part.startswith("data.target=")), None
    )
    return target or "label unit"


def _overrides(run: Run) -> list[str]:
    return [str(part) for part in run.content.get("run", {}).get("overrides") or []]


def commands(runs: Sequence[Run]) -> list[str]:
    """Return the command that repeats each method, over its seeds. Paths are those of the runs."""
    by_line: dict[tuple[str, ...], list[int]] = {}
    for run in runs:
        parts = _overrides(run)
        if parts:
            by_line.setdefault(tuple(part for part in parts if not part.startswith("seed=")), []).append(run.seed)
    return [
        f"dir-train {'-m ' if len(seeds) > 1 else ''}{shlex.join(line)} seed={','.join(map(str, sorted(seeds)))}"
        for line, seeds in by_line.items()
    ]


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return facts of the runs: data, environment and duration, each with its distinct values."""
    facts = [run.content.get("run", {}) for run in runs]
    rows = [fact["data"]["rows"] for fact in facts if fact.get("data")]
    shown = {
        "rows": ", ".join(f"{split} {count}" for split, count in rows[0].items()) if rows else EMPTY,
        "data (hash of files, settings and rows)": _distinct(
            str((fact.get("data") or {}).get("hash", ""))[:12] for fact in facts
        ),
        "best epoch chosen by": _distinct(str(fact.get("monitor", "")) for fact in facts),
        "shot groups": _distinct(_shots(fact.get("shots")) for fact in facts),
        "device": _distinct(str(fact.get("device", "")) for fact in facts),
        "PyTorch": _distinct(str(fact.get("torch", "")) for fact in facts),
        "commit": _distinct(str(fact.get("commit") or "")[:12] for fact in facts),
        "seconds of training, all runs": f"{sum(float(fact.get('seconds') or 0) for fact in facts):.0f}",
    }
    return list(shown.items())


def _shots(shots: Any) -> str:
    if not isinstance(shots, dict):
        return ""
    return f"by {shots.get('by', 'count')}: many above {shots.get('many')}, few below {shots.get('few')}"


def _distinct(values: Any) -> str:
    found = sorted({value for value in values if value})
    shown = ", ".join(found[:4])
    return f"{shown} and {len(found) - 4} more" if len(found) > 4 else shown or EMPTY
