"""The tables that a run prints: one row per shot group, one column per metric."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from dir.metrics.target_groups import MEANS, heading_of

# The metrics of one split: group -> metric -> value, None where a group is empty or a statistic is undefined. Groups
# of several targets are valence/few and so on, and few is the mean over the targets.
Groups = dict[str, dict[str, float | int | None]]


def number(value: float | int | None) -> str:
    """Return a number as text: four decimals, whole numbers without decimals, a dash for None.

    Example:
        >>> number(7.123456), number(250), number(None)
        ('7.1235', '250', '-')
    """
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def summary(title: str, groups: Groups) -> Table:
    """Return a rich table of one split's shot metrics."""
    names = list(groups["all"])
    table = Table(title=title, title_justify="left")
    table.add_column("shot")
    for name in names:
        table.add_column(name, justify="right")
    for group, values in groups.items():
        table.add_row(heading_of(group, groups), *(number(values[name]) for name in names))
    return table


def print_summary(splits: dict[str, Groups], unit: str) -> None:
    """Print the table of each split; without a terminal, wide enough for all columns."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    for split, groups in splits.items():
        console.print(summary(f"{split} (label unit: {unit})", groups))
    if any("/" in group for groups in splits.values() for group in groups):
        console.print(MEANS, markup=False, highlight=False)
