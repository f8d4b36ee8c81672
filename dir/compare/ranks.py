"""Ranks of methods over several data sets, with Friedman's, Nemenyi's and Wilcoxon's tests.

Each data set is one block of the tests. The value of a method on a data set is its mean over the seeds, because the
seeds of one data set are not independent evidence about another (Demsar, Statistical Comparisons of Classifiers over
Multiple Data Sets, JMLR 2006).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from dir._atomic import write_atomic
from dir._checks import message
from dir.compare.report import Grid, markdown_table, print_grids
from dir.compare.statistics import Comparison
from dir.figures.ranks import RankDiagram, critical_difference_figure
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER


@dataclass(frozen=True)
class Ranks:
    """Average ranks (1 is best) of the methods that all data sets have, best first, and the tests.

    ``nemenyi`` and ``wilcoxon`` hold one p-value per method against the baseline: Nemenyi's test, and Wilcoxon's
    signed-rank test after Holm's correction. A p-value is NaN if the test is not defined.
    """

    metric: str
    group: str
    baseline: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]
    ranks: Mapping[str, tuple[float, ...]]
    average: Mapping[str, float]
    friedman: float
    critical_difference: float
    nemenyi: Mapping[str, float]
    wilcoxon: Mapping[str, float]
    left_out: tuple[str, ...]
    # Data sets on which the ranked methods have other seeds than each other.
    unequal_seeds: tuple[str, ...] = ()


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    r"""Return Nemenyi's critical difference: average ranks further apart differ at level ``alpha``.

    .. math:: CD = \frac{q_\alpha}{\sqrt 2} \sqrt{\frac{k (k + 1)}{6 N}}

    for k methods and N data sets, with the quantile q of the studentized range at infinite degrees of freedom.

    Example:
        >>> round(critical_difference(4, 14), 2)  # q / sqrt 2 = 2.569 (Demsar 2006, Table 5a)
        1.25

    Reference:
        Demsar 2006, Section 3.2.2.
    """
    q = float(stats.studentized_range.ppf(1 - alpha, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction. NaN stays NaN and does not count as a test.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if math.isfinite(p))
    adjusted, running = [math.nan] * len(p_values), 0.0
    for position, (p, i) in enumerate(order):
        running = max(running, min(1.0, (len(order) - position) * p))
        adjusted[i] = running
    return adjusted


def rank_methods(comparisons: Sequence[Comparison], metric: str, group: str = "all") -> Ranks:
    """Return the ranks of the methods over several data sets.

    Args:
        comparisons: one per data set, see :func:`dir.compare.statistics.compare`.
        metric: metric to rank by. All data sets must have it.
        group: shot group. A data set whose group is empty is left out.

    Raises:
        ValueError: a data set is given twice, fewer than two data sets or methods are left, a data set lacks the
            metric, or neither lower nor higher is better.
    """
    if metric in BEST_AT:
        raise ValueError(message("--ranks", "expected a metric for which lower or higher is better", metric))
    names = [comparison.experiment for comparison in comparisons]
    if len(set(names)) < len(names):
        raise ValueError(message("runs", f"expected each data set once, found {', '.join(names)}"))
    tables: dict[str, dict[str, float]] = {}
    for comparison in comparisons:
        if metric not in comparison.metrics:
            raise ValueError(message("--ranks", f"{comparison.experiment} has no {metric!r}"))
        means = {row.label: row.spread[metric, group].mean for row in comparison.rows if group in comparison.groups}
        finite = {label: mean for label, mean in means.items() if math.isfinite(mean)}
        if finite:
            tables[comparison.title] = finite
    everywhere = set.intersection(*(set(table) for table in tables.values())) if tables else set()
    order = [row.label for comparison in comparisons for row in comparison.rows]
    methods = [label for label in dict.fromkeys(order) if label in everywhere]
    if len(tables) < 2 or len(methods) < 2:
        problem = (
            f"{metric} on {group} needs two data sets with two methods in common, found the data sets "
            f"{', '.join(tables) or 'none'} and the methods {', '.join(methods) or 'none'}"
        )
        raise ValueError(message("--ranks", problem))
    values = np.array([[table[method] for table in tables.values()] for method in methods])
    unequal = tuple(
        one.title
        for one in comparisons
        if one.title in tables and len({row.seeds for row in one.rows if row.label in methods}) > 1
    )
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    ranks = stats.rankdata(sign * values, axis=0)
    average = ranks.mean(1)
    baseline = comparisons[0].baseline
    nemenyi, wilcoxon = _against(baseline, methods, sign * values, average)
    best = [methods[i] for i in np.argsort(average, kind="stable")]
    at = {method: i for i, method in enumerate(methods)}
    return Ranks(
        metric,
        group,
        baseline,
        tuple(tables),
        tuple(best),
        {method: tuple(values[at[method]].tolist()) for method in best},
        {method: tuple(ranks[at[method]].tolist()) for method in best},
        {method: float(average[at[method]]) for method in best},
        # Friedman's test needs at least three methods.
        float(stats.friedmanchisquare(*values).pvalue) if len(methods) > 2 else math.nan,
        critical_difference(len(methods), len(tables)),
        {method: nemenyi[at[method]] for method in best},
        {method: wilcoxon[at[method]] for method in best},
        tuple(label for label in dict.fromkeys(order) if label not in everywhere),
        unequal,
    )


def _against(
    baseline: str, methods: Sequence[str], values: np.ndarray, average: np.ndarray
) -> tuple[list[float], list[float]]:
    if baseline not in methods:
        return [math.nan] * len(methods), [math.nan] * len(methods)
    base, (k, n) = methods.index(baseline), values.shape
    error = math.sqrt(k * (k + 1) / (6 * n))
    nemenyi, wilcoxon = [], []
    for i in range(k):
        gap = abs(average[i] - average[base]) / error * math.sqrt(2)
        nemenyi.append(math.nan if i == base else float(stats.studentized_range.sf(gap, k, math.inf)))
        differs = i != base and bool(np.any(values[i] != values[base]))
        wilcoxon.append(float(stats.wilcoxon(values[i], values[base]).pvalue) if differs else math.nan)
    return nemenyi, holm(wilcoxon)


def rank_grid(ranks: Ranks) -> Grid:
    """Return a table of methods (rows, best first): average rank, rank on each data set, and p-values."""

    def p(value: float) -> str:
        if not math.isfinite(value):
            return "-"
        return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"

    rows = tuple(
        (
            method,
            f"{ranks.average[method]:.2f}",
            *(f"{rank:g}" for rank in ranks.ranks[method]),
            p(ranks.nemenyi[method]),
            p(ranks.wilcoxon[method]),
        )
        for method in ranks.methods
    )
    smallest = 2.0 ** (1 - len(ranks.datasets))
    caption = (
        f"Rank 1 is best, by the mean over seeds. Friedman p = {p(ranks.friedman)} over {len(ranks.datasets)} data "
        f"sets; average ranks further apart than {ranks.critical_difference:.2f} differ at 5 % (Nemenyi). p-values "
        f"are against {ranks.baseline}; Wilcoxon's (after Holm) cannot fall below {smallest:.3g} before correction "
        "with so few data sets."
    )
    if ranks.left_out:
        caption += f" Not run on every data set: {', '.join(ranks.left_out)}."
    if ranks.unequal_seeds:
        caption += (
            f" The methods have different seeds on {', '.join(ranks.unequal_seeds)}: their means are over other runs."
        )
    header = ("method", "average rank", *ranks.datasets, "p Nemenyi", "p Wilcoxon")
    return Grid(f"ranks by {ranks.metric}, {ranks.group}", header, rows, caption)


def diagram(ranks: Ranks) -> RankDiagram:
    """Return the content of a critical-difference diagram, with the p-values of Wilcoxon's test."""
    labels = "all labels" if ranks.group == "all" else f"{ranks.group}-shot labels"
    return RankDiagram(
        ranks.average,
        ranks.critical_difference,
        len(ranks.datasets),
        ranks.friedman,
        ranks.baseline,
        ranks.wilcoxon,
        f"{ranks.metric}, {labels}",
    )


def ranks_plot(ranks: Sequence[Ranks], path: Path) -> None:
    """Write the critical-difference diagrams of the ranks into one picture; its suffix chooses the format."""
    figure = critical_difference_figure(*(diagram(one) for one in ranks))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def report_ranks(ranks: Sequence[Ranks], folder: Path | None) -> None:
    """Print the rank tables, and write them to ranks.md if a folder is given."""
    tables = [rank_grid(one) for one in ranks]
    print_grids(tables)
    if folder is not None:
        parts = [part for grid in tables for part in (f"## {grid.title}", markdown_table(grid), grid.caption)]
        write_atomic(folder / "ranks.md", ("\n\n".join(parts) + "\n").encode())
