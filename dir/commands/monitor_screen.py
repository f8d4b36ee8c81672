"""The report of ``dir-monitor`` for the terminal, and its picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dir._atomic import write_atomic
from dir.monitor.reference import GROUPS
from dir.monitor.words import SHOWN, STATUSES, drift_text, expected_text, worst_first

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 110


def print_report(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the report."""
    # A pipe counts as 80 columns.
    console = console or Console(width=max(WIDTH, Console().width))

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style))

    say(f"{report['input']}: {report['rows']:,} rows, compared with {report['model']}", "bold")
    if report["unpredicted"]:
        say(f"{100 * report['unpredicted']:.1f} % of the rows cannot be predicted and are left out below")
    if report["inputs"] is not None:
        console.print(column_table(report["inputs"]))
    densities = [report["predictions"], *([report["labels"]] if report["labels"] else [])]
    console.print(column_table(densities, "density"))
    shares = report["predictions"]["groups"]
    table = Table("predictions in", "run", "new", title="shot groups")
    for name in GROUPS:
        table.add_row(name, *(f"{100 * shares[name][key]:.1f} %" for key in ("reference", "new")))
    console.print(table)
    say(expected_text(report["expected_error"], report["unit"]))
    if report["realised_error"] is not None:
        console.print(error_table(report["realised_error"]))
    say("")
    for reason in report["reasons"]:
        say(reason, "bold")
    say(f"status {report['status']}: " + STATUSES[report["status"]], "bold")
    if report["status"] and report["retrain"]:
        say("Train again, with the new rows in the file of the run or in another one (data.path=FILE):")
        console.print(Text(report["retrain"], style="bold"), soft_wrap=True)


def column_table(columns: Sequence[Mapping[str, Any]], heading: str = "column") -> Table:
    """Return the drift of at most 15 columns: first those that drift, then the others by their PSI."""
    order = worst_first(columns)
    more = f"{len(order) - SHOWN} more columns: see --json" if len(order) > SHOWN else ""
    table = Table(heading, "psi", "by chance", "ks", "p", "missing (run)", "unknown", "drift", caption=more or None)
    for one in order[:SHOWN]:
        ks = f"{one['ks']:.3f}" if "ks" in one else "-"
        table.add_row(
            Text(one["column"]),
            f"{one['psi']:.3f}",
            f"{one['psi_by_chance']:.3f}",
            ks,
            f"{one['p_value']:.2g}" if "p_value" in one else "-",
            f"{100 * one['missing']:.1f} % ({100 * one['reference_missing']:.1f} %)",
            f"{100 * one['unknown']:.1f} %" if "unknown" in one else "-",
            drift_text(one),
        )
    for column in table.columns[1:7]:
        column.justify = "right"
    return table


def error_table(found: Mapping[str, Any]) -> Table:
    """Return the realised errors by shot group."""
    table = Table("error", "rows", "new", "validation", "difference", "", title="mean absolute error, with labels")
    for name in ("all", *GROUPS):
        one = found.get(name)
        if one is None:
            continue
        interval = "-" if one["low"] is None else f"[{one['low']:+.4g}, {one['high']:+.4g}]"
        before = f"{one['reference']:.4g}"
        worse = "larger" if one["worse"] else ""
        table.add_row(name, f"{one['rows']:,}", f"{one['mae']:.4g}", before, interval, worse)
    for column in table.columns[1:5]:
        column.justify = "right"
    table.caption = "validation: the errors there, at the labels of the new rows"
    return table


def write_picture(report: Mapping[str, Any], path: Path) -> None:
    """Draw PSI by column, shot groups of the predictions, and errors, into a png, svg or pdf file."""
    # Importing matplotlib takes half a second.
    from matplotlib.figure import Figure

    columns = [*(report["inputs"] or []), report["predictions"], *([report["labels"]] if report["labels"] else [])]
    columns = sorted(columns, key=lambda one: one["psi"])[-20:]
    figure = Figure(figsize=(11, 1.6 + 0.28 * max(len(columns), 8)), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(2, 1, 1.3))
    colours = ["#b5432a" if one["drift"] else "#9db4c8" for one in columns]
    left.barh([one["column"] for one in columns], [one["psi"] for one in columns], color=colours)
    left.axvline(report["settings"]["psi"], color="#444444", linestyle="--", linewidth=1)
    left.set_xlabel("population stability index (red: drift)")
    _group_bars(middle, report["predictions"]["groups"])
    _error_bars(right, report)
    figure.suptitle(f"{report['input']}: status {report['status']}", fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=150, format=path.suffix[1:].lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, stream.getvalue())


def _group_bars(axes: Axes, shares: Mapping[str, Mapping[str, float]]) -> None:
    for offset, key, colour in ((-0.2, "reference", "#9db4c8"), (0.2, "new", "#44546a")):
        places = [place + offset for place in range(len(GROUPS))]
        axes.bar(places, [shares[name][key] for name in GROUPS], 0.4, color=colour, label=key)
    axes.set_xticks(range(len(GROUPS)), GROUPS)
    axes.set_ylabel("share of the predictions")
    axes.legend(frameon=False)


def _error_bars(axes: Axes, report: Mapping[str, Any]) -> None:
    expected, realised = report["expected_error"], report["realised_error"]
    axes.axhline(expected["reference"], color="#444444", linestyle="--", linewidth=1, label="validation, all rows")
    names = []
    if expected.get("label_shift"):
        names.append("expected")
        bar = [[expected["mae"] - expected["low"]], [expected["high"] - expected["mae"]]]
        axes.errorbar([0], [expected["mae"]], yerr=bar, fmt="o", color="#44546a")
    for name in ("all", *GROUPS):
        one = None if realised is None else realised.get(name)
        if one is None:
            continue
        place = len(names)
        names.append(name)
        axes.plot([place], [one["mae"]], "o", color="#b5432a" if one["worse"] else "#44546a")
        axes.plot([place], [one["reference"]], "_", color="#44546a", markersize=16)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(f"mean absolute error ({report['unit']}); dash: validation")
    axes.legend(frameon=False)
