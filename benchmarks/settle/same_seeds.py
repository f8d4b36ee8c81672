"""TabM beside the mlp and boosted trees, on the seeds that TabM has, which may be fewer than those of other rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.settle.queue import read_results
from dir.compare.report import Grid

# Label, training and row.
ROWS = (
    ("`model=tabm method=histogram_prior`", "tabm_prior", "tabm_prior_chosen"),
    ("`model=mlp method=histogram_prior`", "histogram_prior", "histogram_prior_chosen"),
    ("`hist_gbdt`", "hist_gbdt", "hist_gbdt"),
    ("`hist_gbdt`, `sqinv` weights", "hist_gbdt_sqinv", "hist_gbdt_sqinv"),
)


def same_seeds_grid(names: Sequence[str]) -> Grid:
    """Return the mean bMASE of each row over the seeds of TabM, for the data sets that have some."""
    header, columns = ["bMASE"], []
    for name in names:
        tests = [line for line in read_results(name) if line["role"] == "test"]
        seeds = {line["number"] for line in tests if line["training"] == "tabm_prior"}
        if seeds:
            header.append(f"{name} ({len(seeds)} seeds)")
            columns.append([_mean(tests, training, row, seeds) for _, training, row in ROWS])
    rows = [(label, *(_shown(column[at], column) for column in columns)) for at, (label, _, _) in enumerate(ROWS)]
    return Grid("TabM on the same seeds", tuple(header), tuple(rows))


def _shown(value: float, column: Sequence[float]) -> str:
    """Return the value with three decimals, in bold if none of its column is lower."""
    if math.isnan(value):
        return "-"
    text = f"{value:.3f}"
    lowest = min(one for one in column if not math.isnan(one))
    return f"**{text}**" if text == f"{lowest:.3f}" else text


def _mean(tests: Sequence[dict[str, Any]], training: str, row: str, seeds: set[int]) -> float:
    values = [
        line["rows"][row]["bmase"] for line in tests if line["training"] == training and line["number"] in seeds
    ]
    return sum(values) / len(values) if len(values) == len(seeds) else math.nan
