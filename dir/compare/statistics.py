"""Statistics of the runs of one experiment: mean and spread over seeds, and paired differences to a baseline.

Each method, metric and shot group gets the mean and the standard deviation (ddof 1) over the seeds. The difference to
the baseline is paired by seed, because two runs with the same seed share their split and their order of batches. Its
95 % interval is Student's t over the pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from dir._checks import check_choice, message, suggestion
from dir.compare.comparable import comparability_notes
from dir.compare.groups import GROUPS
from dir.compare.published import PAPERS, published
from dir.compare.runs import Run
from dir.metrics.table import REPORTED as METRICS


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the `n` finite values; NaN if there are too few values."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences (method - baseline) over `n` seeds, with the ends of its interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Row:
    """Row of a table: one method with its overrides; `spread` and `difference` by (metric, group)."""

    label: str
    seeds: tuple[int, ...]
    against: str | None
    spread: Mapping[tuple[str, str], Spread]
    difference: Mapping[tuple[str, str], Difference]


@dataclass(frozen=True)
class Comparison:
    """Content of the tables of one experiment; `common` are the overrides that all runs share."""

    experiment: str
    common: tuple[str, ...]
    split: str
    baseline: str
    metrics: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]
    rows: tuple[Row, ...]
    unfinished: tuple[Path, ...]
    # Reasons why rows are not comparable, see dir.compare.comparable.
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Return the name of the experiment with the overrides that all its runs share."""
        return f"{self.experiment} ({', '.join(self.common)})" if self.common else self.experiment


def spread(values: Iterable[float]) -> Spread:
    """Return mean and sample standard deviation over the finite values.

    Example:
        >>> spread([1.0, 3.0, float("nan")])
        Spread(mean=2.0, sd=1.4142135623730951, n=2)
    """
    finite = np.array([value for value in values if math.isfinite(value)])
    mean = float(finite.mean()) if len(finite) else math.nan
    sd = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
    return Spread(mean, sd, len(finite))


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95
) -> Difference:
    """Return the paired difference over the seeds that both have, with its interval.

    With `d = value - baseline`, the interval is mean(d) +- t(n - 1) * sd(d) / sqrt(n).

    Args:
        values: metric of the method by seed.
        baseline: metric of the baseline by seed.
        confidence: confidence level of the interval. The ends are NaN for a single pair.

    Example:
        >>> paired_difference({0: 1.0, 1: 2.0, 7: 9.0}, {0: 2.0, 1: 2.5}).n
        2
    """
    seeds = sorted(set(values) & set(baseline))
    over = spread(values[seed] - baseline[seed] for seed in seeds)
    if over.n < 2:
        return Difference(over.mean, math.nan, math.nan, over.n)
    half = float(stats.t.ppf(0.5 + confidence / 2, over.n - 1)) * over.sd / math.sqrt(over.n)
    return Difference(over.mean, over.mean - half, over.mean + half, over.n)


def _by_seed(runs: Sequence[Run], split: str, group: str, metric: str) -> dict[int, float]:
    return {run.seed: run.metrics[split].get(group, {}).get(metric, math.nan) for run in runs}


def _known_first(names: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    available = set(names)
    return (*(name for name in known if name in available), *sorted(available - set(known)))


def _baseline_of(own: Sequence[Run], rows: Mapping[str, Sequence[Run]], baseline: str) -> str | None:
    """Return the label of the row to compare with: the baseline with the same overrides, else without, else None."""
    for label in (f"{baseline} {own[0].overrides}", baseline):
        if label in rows:
            return label
    return None


def compare(
    runs: Sequence[Run],
    split: str = "test",
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    unfinished: Sequence[Path] = (),
) -> Comparison:
    """Return the comparison of the runs of one experiment on one split.

    Args:
        runs: runs of one experiment in the order of the rows, see :func:`dir.compare.runs.find_runs`.
        split: "test" or "val".
        baseline: label of the row that the other rows are compared with. None: "vanilla", if it exists.
        metrics: metrics to show, in this order. None: all that the runs have.
        unfinished: unfinished run folders, which the report mentions.

    Raises:
        ValueError: a run lacks the split, no run has one of ``metrics``, or no row is the baseline.
    """
    for run in runs:
        if split not in run.metrics:
            problem = f"has no split {split!r} (found: {', '.join(run.metrics)})"
            raise ValueError(message(run.source, problem))
    available = _known_first((name for run in runs for name in run.metrics[split]["all"] if name != "n"), METRICS)
    for metric in metrics or ():
        check_choice("--metrics", metric, available)
    chosen = tuple(metrics) if metrics else available
    # Groups of several targets (valence/few) keep their order.
    found = dict.fromkeys(group for run in runs for group in run.metrics[split])
    groups = (*(group for group in GROUPS if group in found), *(group for group in found if group not in GROUPS))
    rows: dict[str, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.label, []).append(run)
    # Also accept the full name of a row, with the overrides that all runs share.
    baseline = {f"{run.method} {run.suffix}": run.label for run in runs}.get(baseline or "", baseline)
    if baseline is not None:
        check_choice("--baseline", baseline, rows, suggestion(baseline, rows))
    name = baseline or "vanilla"
    sizes = {
        group: [int(run.metrics[split][group]["n"]) for run in runs if group in run.metrics[split]]
        for group in groups
    }
    cells = [(metric, group) for metric in chosen for group in groups]
    table = []
    for label, own in rows.items():
        against = _baseline_of(own, rows, name)
        values = {(m, g): _by_seed(own, split, g, m) for m, g in cells}
        differences = {}
        if against is not None and against != label:
            differences = {
                (m, g): paired_difference(values[m, g], _by_seed(rows[against], split, g, m)) for m, g in cells
            }
        table.append(
            Row(
                label,
                tuple(run.seed for run in own),
                against if differences else None,
                {cell: spread(by_seed.values()) for cell, by_seed in values.items()},
                differences,
            )
        )
    return Comparison(
        experiment=runs[0].experiment,
        common=runs[0].common,
        split=split,
        baseline=name,
        metrics=chosen,
        groups=groups,
        sizes={group: (min(counts), max(counts)) for group, counts in sizes.items()},
        rows=tuple(table),
        unfinished=tuple(unfinished),
        notes=tuple(comparability_notes(runs)),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_json(comparison: Comparison) -> str:
    """Return all numbers, unrounded, as json with null for NaN."""

    def nested(cells: dict[tuple[str, str], dict[str, float | int | None]]) -> dict[str, dict[str, object]]:
        return {m: {g: cells[m, g] for g in comparison.groups} for m in comparison.metrics} if cells else {}

    def row(one: Row) -> dict[str, object]:
        return {
            "method": one.label,
            "seeds": one.seeds,
            "metrics": nested(
                {cell: {"mean": _number(s.mean), "sd": _number(s.sd), "n": s.n} for cell, s in one.spread.items()}
            ),
            "against": one.against,
            "difference": nested(
                {
                    cell: {"mean": _number(d.mean), "low": _number(d.low), "high": _number(d.high), "n": d.n}
                    for cell, d in one.difference.items()
                }
            ),
        }

    report = {
        "experiment": comparison.experiment,
        "overrides": comparison.common,
        "split": comparison.split,
        "baseline": comparison.baseline,
        "sizes": comparison.sizes,
        "notes": comparison.notes,
        "rows": [row(one) for one in comparison.rows],
        "published": [
            {
                "method": p.method,
                "source": PAPERS[p.paper],
                "note": p.note,
                "metric": metric,
                "values": p.values[metric],
            }
            for metric in comparison.metrics
            for p in published(comparison.experiment, metric)
        ],
    }
    return json.dumps(report, indent=2, allow_nan=False) + "\n"
