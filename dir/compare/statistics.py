"""Many runs of one experiment, compared: mean and spread over seeds, and paired differences to a baseline.

Per method, metric and shot group: mean and standard deviation (ddof 1) over the seeds. The difference to the
baseline is paired by seed (two runs with the same seed share their split and their order of batches) and
comes with the 95 % interval of Student's t over the pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from dir.compare.published import PAPERS, published
from dir.compare.runs import Run

GROUPS = ("all", "many", "median", "few", "zero")
# The last three are of methods that predict a variance.
METRICS = ("mae", "mse", "gm", "pearson", "spearman", "balanced_mae", "nll", "coverage90", "ause")


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the `n` finite values; NaN where there are too few for them."""

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
    """One method, with what was overridden; `spread` and `difference` by (metric, group)."""

    label: str
    seeds: tuple[int, ...]
    against: str | None
    spread: Mapping[tuple[str, str], Spread]
    difference: Mapping[tuple[str, str], Difference]


@dataclass(frozen=True)
class Comparison:
    """All that the tables show; `common` are the overrides of all runs."""

    experiment: str
    common: tuple[str, ...]
    split: str
    baseline: str
    metrics: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]
    rows: tuple[Row, ...]
    unfinished: tuple[Path, ...]

    @property
    def title(self) -> str:
        """The experiment, and what all its runs override."""
        return f"{self.experiment} ({', '.join(self.common)})" if self.common else self.experiment


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation over the finite values.

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
    """Paired difference over the seeds that both have.

    `d = value - baseline`, mean(d) +- t(n - 1) * sd(d) / sqrt(n).

    Args:
        values: a metric by seed.
        baseline: the baseline's, by seed.
        confidence: of the interval. With one pair there is none (NaN).

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
    there = set(names)
    return (*(name for name in known if name in there), *sorted(there - set(known)))


def _baseline_of(own: Sequence[Run], rows: Mapping[str, Sequence[Run]], baseline: str) -> str | None:
    """The row to compare with: the baseline under the same overrides, else the plain one, else none."""
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
    """The comparison of `runs` (of one experiment, from `find_runs`) on one split.

    Args:
        runs: in the order of the rows.
        split: "test" or "val".
        baseline: a row's label that the others are compared with; None: "vanilla", if it is there.
        metrics: which, in this order; None: all that the runs have.
        unfinished: run folders to mention as left out.

    Raises:
        ValueError: a run lacks the split, no run has a metric asked for, no row is the baseline named.
    """
    for run in runs:
        if split not in run.metrics:
            raise ValueError(f"{run.path}: expected the split {split!r}, got {', '.join(run.metrics)}")
    there = _known_first((name for run in runs for name in run.metrics[split]["all"] if name != "n"), METRICS)
    unknown = [name for name in metrics or () if name not in there]
    if unknown:
        raise ValueError(f"metrics: expected some of {', '.join(there)}, got {', '.join(unknown)}")
    chosen = tuple(metrics) if metrics else there
    groups = _known_first((group for run in runs for group in run.metrics[split]), GROUPS)
    rows: dict[str, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.label, []).append(run)
    # The whole name of a row will do, also where all runs share its overrides.
    baseline = {f"{run.method} {run.suffix}": run.label for run in runs}.get(baseline or "", baseline)
    if baseline is not None and baseline not in rows:
        raise ValueError(f"baseline: expected one of {', '.join(rows)}, got {baseline!r}")
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
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_json(comparison: Comparison) -> str:
    """All numbers, unrounded; NaN is null."""

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
