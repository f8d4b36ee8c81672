"""Two settings of histogram_prior on validation, compared by trials that differ in nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.settle.plan import OBJECTIVE, TRAININGS
from benchmarks.settle.queue import read_results
from dir.compare.report import Grid

# Column, and the overrides of the trials that are compared: a ratio below 1 speaks for the first.
PAIRS = (
    ("loss_power 0.5 / 0", ("method.loss_power=0.5",), ("method.loss_power=0.0",)),
    ("sigma 6 / 3", ("method.loss_power=0.5", "method.cells.sigma=6.0"), ("method.loss_power=0.5",)),
)
RATES = (1.0, 3.0)


def prior_trials_grid(names: Sequence[str]) -> Grid:
    """Return the ratio of the objectives of two trials at the same learning rate, and its geometric mean."""
    columns = [(f"{label}, rate x {rate:g}", first, second, rate) for label, first, second in PAIRS for rate in RATES]
    ratios = {name: [_ratio(name, first, second, rate) for _, first, second, rate in columns] for name in names}
    rows = [(name, *(_shown(value) for value in values)) for name, values in ratios.items()]
    mean, lower = ["**geometric mean**"], ["**below 1**"]
    for values in zip(*ratios.values(), strict=True):
        known = [value for value in values if not math.isnan(value)]
        mean.append(_shown(math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan))
        lower.append(f"{sum(value < 1 for value in known)} of {len(known)}")
    caption = (
        f"Ratio of the {OBJECTIVE} on validation of two trials with one seed, each at the power that is best for it. "
        "Below 1 the first setting is better. Sigma is compared at loss_power 0.5."
    )
    header = ("data", *(column[0] for column in columns))
    return Grid("trials of histogram_prior", header, (*rows, tuple(mean), tuple(lower)), caption)


def _ratio(name: str, first: tuple[str, ...], second: tuple[str, ...], rate: float) -> float:
    pairs = TRAININGS["histogram_prior"].pairs
    trials = {
        line["number"]: line["objective"]
        for line in read_results(name)
        if line["role"] == "trial" and line["training"] == "histogram_prior" and line["objective"] is not None
    }
    found = [trials.get(pairs.index((rate, overrides)), math.nan) for overrides in (first, second)]
    return found[0] / found[1]


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
