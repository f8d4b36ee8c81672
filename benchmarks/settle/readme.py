"""The first table of README.md: the balanced error of the best-known methods on every data set that is complete."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dir.compare.report import Grid
from dir.compare.statistics import Comparison

# Rows of the table, and their names for a reader who has not read docs/settle.md.
ROWS = {
    "vanilla": "`vanilla`",
    "sqinv": "`sqinv`",
    "lds": "`lds`",
    "lds_fds": "`lds_fds`",
    "histogram_prior_chosen": "`histogram_prior`",
    "tabm_prior_chosen": "`histogram_prior`, `model=tabm`",
    "hist_gbdt_sqinv": "boosted trees, `sqinv` weights",
}
NAMES = {
    "stsb_minilm": "STS-B",
    "complex_single": "words",
    "blood_cells": "cells",
    "california_housing": "houses",
    "house_16h": "house 16H",
    "nuclei_patches": "nuclei",
    "sulfur_y1": "sulfur",
    "beijing_pm25": "PM2.5",
}


def readme_grid(found: Sequence[Comparison]) -> Grid:
    """Return bMASE of some rows on each data set, the lowest of the rows in bold; "-" where a row was not run."""
    means = [{row.label: row.spread["bmase", "all"].mean for row in one.rows} for one in found]
    header = ("bMASE", *(NAMES.get(one.experiment, one.experiment) for one in found))
    rows = []
    for row, name in ROWS.items():
        cells = []
        for values in means:
            value = values.get(row, math.nan)
            lowest = min(values[other] for other in ROWS if other in values)
            text = "-" if math.isnan(value) else f"{value:.2f}"
            cells.append(f"**{text}**" if value == lowest else text)
        rows.append((name, *cells))
    return Grid("bMASE", header, tuple(rows))
