"""Reports of a comparison: markdown, tables for the terminal, and compact tables for a README."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dir._atomic import write_atomic
from dir._checks import check_choice
from dir.compare.published import BENCHMARKS, ENCODERS, PAPERS, published
from dir.compare.statistics import Comparison, Difference, Row, Spread, as_json
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER
from dir.metrics.target_groups import MEANS, heading_of

EMPTY = "-"


@dataclass(frozen=True)
class Grid:
    """The text of a table: title, header, rows and caption."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def decimals(values: Iterable[float]) -> int:
    """Return the number of decimals of a table: three below 10, two below 100, one above.

    Example:
        >>> decimals([0.6, 0.845]), decimals([9.9, 31.2]), decimals([1200.0])
        (3, 2, 1)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


def spread_cell(value: Spread, places: int, seeds: int) -> str:
    """Return 'mean ± sd'; '-' if no seed has a value; with '(n)' behind it if only n of the seeds have a value."""
    if value.n == 0:
        return EMPTY
    text = f"{value.mean:.{places}f}"
    if math.isfinite(value.sd):
        text += f" ± {value.sd:.{places}f}"
    return text if value.n == seeds else f"{text} ({value.n})"


def difference_cell(value: Difference, places: int, pairs: int) -> str:
    """Return 'mean [low, high]' with signs; no interval for one pair; '-' for no pair; '(n)' as in `spread_cell`."""
    if value.n == 0:
        return EMPTY
    text = f"{value.mean:+.{places}f}"
    if math.isfinite(value.low):
        text += f" [{value.low:+.{places}f}, {value.high:+.{places}f}]"
    return text if value.n == pairs else f"{text} ({value.n})"


def _places(comparison: Comparison, columns: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], int]:
    """Return the number of decimals of each (metric, group), the same for all groups of a target."""

    def of(metric: str, group: str) -> int:
        same = [one for one in comparison.groups if one.rpartition("/")[0] == group.rpartition("/")[0]]
        return decimals(row.spread[metric, one].mean for row in comparison.rows for one in same)

    return {(metric, group): of(metric, group) for _, metric, group in columns}


def _columns(comparison: Comparison, metric: str, also: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (heading, metric, group) per column: the groups of the metric, and `all` of each metric in `also`."""
    extra = [name for name in also if name in comparison.metrics and name != metric]
    groups = [(heading_of(group, comparison.groups), metric, group) for group in comparison.groups]
    return [*groups, *((name, name, "all") for name in extra)]


def spread_grid(comparison: Comparison, metric: str, also: Sequence[str] = ()) -> Grid:
    """Return a table of methods (rows) by shot groups (columns) with cells 'mean ± sd' over the seeds."""
    columns = _columns(comparison, metric, also)
    places = _places(comparison, columns)

    def line(row: Row) -> tuple[str, ...]:
        cells = (spread_cell(row.spread[m, g], places[m, g], len(row.seeds)) for _, m, g in columns)
        return (row.label, str(len(row.seeds)), *cells)

    better = "higher is better" if metric in HIGHER_IS_BETTER else "lower is better"
    return Grid(
        f"{metric} ({f'best at {BEST_AT[metric]}' if metric in BEST_AT else better})",
        ("method", "seeds", *(heading for heading, _, _ in columns)),
        tuple(line(row) for row in comparison.rows),
        "Mean ± standard deviation over the seeds."
        + (f" All runs: {', '.join(comparison.common)}." if comparison.common else ""),
    )


def difference_grid(comparison: Comparison, metric: str, also: Sequence[str] = ()) -> Grid:
    """Return a table of methods by shot groups with cells 'mean [low, high]' of the difference to the baseline."""
    columns = _columns(comparison, metric, also)
    places = _places(comparison, columns)

    def line(row: Row) -> tuple[str, ...]:
        pairs = max((row.difference[m, g].n for _, m, g in columns), default=0)
        cells = (difference_cell(row.difference[m, g], places[m, g], pairs) for _, m, g in columns)
        # A row with overrides may be compared with the baseline that has the same overrides. The label names it then.
        label = row.label if row.against == comparison.baseline else f"{row.label} - {row.against}"
        return (label, str(pairs), *cells)

    return Grid(
        f"{metric}: difference to {comparison.baseline}",
        ("method", "pairs", *(heading for heading, _, _ in columns)),
        tuple(line(row) for row in comparison.rows if row.difference),
        "Method minus baseline, paired by seed: mean [95 % interval of Student's t over the pairs], not "
        "corrected for the number of comparisons.",
    )


def summary_grid(comparison: Comparison) -> Grid:
    """Return one table for a first look: the first metric by shot group, and the balanced error.

    A star marks a cell whose paired difference to the baseline has a 95 % interval without 0.
    """
    metric = comparison.metrics[0]
    # Few-shot labels of each target stand beside the means. The other shot groups are in the other tables.
    shown = [group for group in comparison.groups if "/" not in group or group.endswith(("/all", "/few"))]
    comparison = replace(comparison, groups=tuple(shown))
    grid = spread_grid(comparison, metric, ("balanced_mae",))
    columns = _columns(comparison, metric, ("balanced_mae",))
    lines = []
    for row, cells in zip(comparison.rows, grid.rows, strict=True):
        sure = (row.difference.get((m, g)) for _, m, g in columns)
        marks = ("*" if one is not None and (one.low > 0 or one.high < 0) else "" for one in sure)
        lines.append((*cells[:2], *(cell + mark for cell, mark in zip(cells[2:], marks, strict=True))))
    star = f"* differs from {comparison.baseline}: the paired 95 % interval does not hold 0."
    starred = any(cell.endswith("*") for line in lines for cell in line)
    title = f"{comparison.title}, {comparison.split}: {grid.title}"
    return Grid(title, grid.header, tuple(lines), f"{grid.caption} {star}" if starred else grid.caption)


def published_grid(comparison: Comparison, metric: str) -> Grid:
    """Return a table of the results that papers report for this benchmark, with the papers' encoders."""
    lines = published(comparison.experiment, metric)
    benchmark = BENCHMARKS.get(comparison.experiment, "")
    columns = [group for group in ("all", "many", "median", "few") if any(group in p.values[metric] for p in lines)]
    # Show as many decimals as the papers give.
    numbers = [number for row in lines for number in row.values[metric].values()]
    places = max((len(str(number).partition(".")[2]) for number in numbers), default=0)
    rows = (
        (
            row.method,
            *(
                f"{row.values[metric][group]:.{places}f}" if group in row.values[metric] else EMPTY
                for group in columns
            ),
            f"{row.paper}, {row.note}" if row.note else row.paper,
        )
        for row in lines
    )
    return Grid(
        f"{metric}: published on {benchmark}",
        ("method", *columns, "source"),
        tuple(rows),
        f"PUBLISHED, not run here; published encoder: {ENCODERS.get(benchmark, '')}; `few` includes labels "
        f"that never occur in training.",
    )


def grids(comparison: Comparison) -> list[Grid]:
    """Return all tables that have rows, metric by metric."""
    functions = (spread_grid, difference_grid, published_grid)
    return [
        grid for metric in comparison.metrics for function in functions if (grid := function(comparison, metric)).rows
    ]


def remarks(comparison: Comparison) -> list[str]:
    """Return lines about the numbers: sizes of the groups, seeds, published sources and unfinished runs."""
    sizes = (
        f"{heading_of(group, comparison.sizes)} {low}" + ("" if low == high else f" to {high}")
        for group, (low, high) in comparison.sizes.items()
    )
    lines = [f"{comparison.split} rows: {', '.join(sizes)}. '{EMPTY}': no row in the group, or no finite value."]
    lines += [MEANS] if any("/" in group for group in comparison.groups) else []
    for seeds in dict.fromkeys(row.seeds for row in comparison.rows):
        labels = ", ".join(row.label for row in comparison.rows if row.seeds == seeds)
        lines.append(f"Seeds {', '.join(map(str, seeds))}: {labels}.")
    if not any(row.difference for row in comparison.rows):
        lines.append(f"No other row shares a seed with the baseline {comparison.baseline!r}: no paired differences.")
    shown = [row.paper for metric in comparison.metrics for row in published(comparison.experiment, metric)]
    lines += [f"Published source {paper}: {PAPERS[paper]}." for paper in dict.fromkeys(shown)]
    lines += [f"Left out, unfinished (no metrics.json): {path}" for path in comparison.unfinished]
    return [*comparison.notes, *lines]


def markdown_table(grid: Grid) -> str:
    """Return the table in markdown, without title and caption."""
    rows = [grid.header, tuple("---" for _ in grid.header), *grid.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def markdown(comparison: Comparison) -> str:
    """Return the report of the whole comparison in markdown."""
    parts = [f"# {comparison.experiment}, {comparison.split}"]
    parts.append("\n".join(f"- {line}" for line in remarks(comparison)))
    for grid in grids(comparison):
        parts += [f"## {grid.title}", markdown_table(grid), grid.caption]
    return "\n\n".join(parts) + "\n"


def readme_tables(comparison: Comparison, metric: str) -> str:
    """Return two markdown tables of one metric, with Pearson over all rows: mean and spread, and paired differences.

    Raises:
        ValueError: the comparison does not have the metric.
    """
    check_choice("--readme", metric, comparison.metrics)
    tables = (function(comparison, metric, ("pearson",)) for function in (spread_grid, difference_grid))
    return "\n\n".join(f"{grid.caption}\n\n{markdown_table(grid)}" for grid in tables if grid.rows)


def with_command(command: str, tables: str) -> str:
    """Return tables between two comments. The first comment is the command, which a test runs again."""
    return f"<!-- {command} -->\n\n{tables}\n\n<!-- end -->"


def _width(grid: Grid) -> int:
    columns = zip(grid.header, *grid.rows, strict=True)
    return 1 + sum(max(map(len, column)) + 3 for column in columns)


def print_report(comparison: Comparison) -> None:
    """Print all tables and remarks."""
    console = print_grids(grids(comparison))
    for line in remarks(comparison):
        console.print(line, markup=False, highlight=False)


def print_summary(comparison: Comparison, more: str) -> None:
    """Print one table, the remarks, and a line that says where the other tables are."""
    console = print_grids([summary_grid(comparison)])
    others = len(grids(comparison)) - 1
    for line in (*remarks(comparison), *([f"{others} other tables: {more}."] if others else [])):
        console.print(line, markup=False, highlight=False)


def print_grids(tables: Sequence[Grid]) -> Console:
    """Print tables, and return a console wide enough for them."""
    # A pipe counts as 80 columns. Widen the console instead, so that rich never cuts a number.
    console = Console(width=max(Console().width, *map(_width, tables)))
    for grid in tables:
        table = Table(title=Text(grid.title), caption=Text(grid.caption))
        for at, heading in enumerate(grid.header):
            table.add_column(heading, justify="left" if at == 0 else "right", no_wrap=at > 0)
        for row in grid.rows:
            table.add_row(*map(Text, row))
        console.print(table)
    return console


def write_report(comparison: Comparison, folder: Path) -> None:
    """Write the report to compare.md and all numbers, unrounded, to compare.json."""
    write_atomic(folder / "compare.md", markdown(comparison).encode())
    write_atomic(folder / "compare.json", as_json(comparison).encode())
