"""The report of ``dir-describe`` for the terminal, and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dir.commands.judging import INTERVALS
from dir.commands.screen_targets import closing_lines, target_lines
from dir.compare.report import Grid, print_grids
from dir.metrics.table import SHOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERRORS = ("all", "balanced", "many", "few")
LINES, BAR, WIDTH = 16, 46, 114


def print_report(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the report on one screen."""
    # A pipe counts as 80 columns.
    console = console or Console(width=max(WIDTH, Console().width))
    if "targets" in report:
        _print_targets(console, report["name"], report["targets"])
    else:
        _say(console, f"{report['name']}: label {report['unit']}, {_sizes(report)} rows", style="bold")
        _say(console, "")
        console.print(histogram(report["histogram"], report["bins"]["kind"] == "integers"))
        console.print(Columns([shot_table(report), weight_grid(report["weights"])], padding=(0, 3)))
        _print_lines(console, sentences(report))
    for note in report["notes"]:
        _say(console, note)
    if report["suggested"] or report["command"]:
        _say(console, "")
    for override, reason in report["suggested"]:
        _say(console, f"{override}: {reason}")
    if report["command"]:
        console.print(Text(report["command"], style="bold"), soft_wrap=True)


def _print_targets(console: Console, name: str, reports: Mapping[str, Any]) -> None:
    """Print a short block for each of several targets."""
    first = next(iter(reports.values()))
    _say(console, f"{name}: {len(reports)} targets, {_sizes(first)} rows", style="bold")
    for target, report in reports.items():
        _say(console, "")
        _print_lines(console, target_lines(target, report))
    if first["inputs"] is not None:
        _say(console, "")
        away = {target: report["inputs"]["disagreement"] for target, report in reports.items()}
        _print_lines(console, input_sentences(first["inputs"], away))
    _say(console, "")
    for line in closing_lines(reports):
        _say(console, line)


def _print_lines(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    for heading, text in lines:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=15, no_wrap=True)
        grid.add_column()
        grid.add_row(Text(heading, style="bold"), Text(text))
        console.print(grid)


def _sizes(report: Mapping[str, Any]) -> str:
    return ", ".join(f"{split} {values['rows']:,}" for split, values in report["labels"].items())


def histogram(found: Mapping[str, Any], whole: bool = False) -> Text:
    """Return bars of the labels per bin, neighbouring bins joined to at most 16 lines.

    A bar is the mean number of labels per bin of the line, and the mark ``┃`` is the effective density at this scale.

    Args:
        found: entry ``histogram`` of the report.
        whole: whether each bin stands for a whole number.
    """
    edges, counts, effective = (np.asarray(found[name]) for name in ("edges", "counts", "effective"))
    step = -(-len(counts) // LINES)
    starts = range(0, len(counts), step)
    rows = [(at, min(at + step, len(counts))) for at in starts]
    means = [counts[a:b].mean() for a, b in rows]
    smooth = [effective[a:b].mean() for a, b in rows]
    top = max(*means, *smooth, 1e-12)
    if whole and bool((widths := np.diff(edges)).min() == widths.max() == 1):
        firsts = np.ceil(edges)
        names = [f"{firsts[a]:g}" if b == a + 1 else f"{firsts[a]:g} to {firsts[b - 1]:g}" for a, b in rows]
    else:
        names = [f"{edges[a]:.4g} to {edges[b]:.4g}" for a, b in rows]
    wide = max(map(len, names))
    text = Text(f"{'label'.rjust(wide)}  {'labels'.rjust(7)}  (┃ effective density)\n", style="dim")
    for name, (a, b), mean, density in zip(names, rows, means, smooth, strict=True):
        filled = round(BAR * mean / top)
        # A bin with labels is never drawn empty.
        bar = list(("▏" if counts[a:b].sum() and not filled else "█" * filled).ljust(BAR + 1))
        bar[round(BAR * density / top)] = "┃"
        text.append(f"{name.rjust(wide)}  {int(counts[a:b].sum()):7,}  {''.join(bar).rstrip()}\n", style="")
    return text


def shot_table(report: Mapping[str, Any]) -> Table:
    """Return bins and rows of each split by shot group."""
    splits = list(report["labels"])
    table = Table("shot group", "bins", *splits)
    for name in SHOTS:
        row = report["shots"][name]
        table.add_row(name, *(f"{row[key]:,}" for key in ("bins", *splits)))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def weight_grid(weights: Sequence[Mapping[str, Any]]) -> Table:
    """Return range and effective sample size of the weights of each reweighting."""
    table = Table("weights", "lowest", "highest", "effective rows")
    for one in weights:
        size = f"{one['effective_size']:,.0f} ({100 * one['effective_share']:.0f} %)"
        table.add_row(one["name"], f"{one['min']:.3g}", f"{one['max']:.3g}", size)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def sentences(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the numbers mean, as (heading, text)."""
    found, train = report["imbalance"], report["labels"]["train"]
    repeats, outliers, transform, bins = (report[key] for key in ("repeats", "outliers", "transform", "bins"))
    size = found["effective_share"] * train["rows"]
    empty = f"; bins without a label: {found['empty_bins']}" if found["empty_bins"] else ""
    often = ", ".join(f"{value:g} ({count:,})" for value, count in repeats["most_frequent"][:3])
    beyond = outliers["below"] + outliers["above"]
    lines = [
        ("imbalance", f"The labels are {found['verdict']}."),
        (
            f"  share {found['effective_share']:.3f}",
            f"Weights that make all labels equally frequent leave the information of {size:,.0f} of "
            f"{train['rows']:,} rows (1: uniform labels).",
        ),
        (
            f"  ratio {found['density_ratio']:,.0f}",
            f"The densest bin is {found['density_ratio']:,.0f} times as dense as the sparsest with labels{empty}.",
        ),
        (
            f"  distance {found['distance']:.2f}",
            f"{100 * found['distance']:.0f} % of the labels would have to change to make them uniform "
            f"({100 * found['distance_by_chance']:.0f} % by chance, if they were drawn uniformly).",
        ),
        (
            "label",
            f"{train['min']:.6g} to {train['max']:.6g}, median {train['median']:.6g}, mean {train['mean']:.6g}; "
            f"{repeats['distinct']:,} distinct values, {repeats['zeros']:,} zeros; most frequent: {often}; the five "
            f"most frequent values cover {100 * repeats['top_share']:.0f} % of the rows.",
        ),
        (
            "outliers",
            f"{beyond:,} labels lie outside {outliers['low_fence']:.4g} to {outliers['high_fence']:.4g} (box plot "
            f"adjusted for skewness). dir-audit tells rare from wrong labels after a training.",
        ),
        ("transform", f"{'log(1 + label)' if transform['log1p'] else 'none'}: {transform['reason']}."),
        ("bins", f"{bins['number']} {bins['kind']}: {bins['reason']}."),
    ]
    if report["inputs"] is not None:
        lines += input_sentences(report["inputs"], {"": report["inputs"]["disagreement"]})
    return lines


def input_sentences(found: Mapping[str, Any], disagreement: Mapping[str, float | None]) -> list[tuple[str, str]]:
    """Return what equal inputs mean, as (heading, text).

    Args:
        found: see :func:`dir.data.repeated_inputs.repeated_inputs`.
        disagreement: that of each target, by name; a single target has the name "".
    """
    if not found["rows"]:
        return [("equal inputs", "No two rows have the same input.")]
    away = ", ".join(f"{value:.4g}{f' ({name})' if name else ''}" for name, value in disagreement.items())
    text = (
        f"{found['rows']:,} rows in {found['groups']:,} groups have the same input as another row. Their labels lie "
    )
    text += f"{away} from the median of the group on average: no model can do better on them."
    shared = [one for one in found["leakage"] if one["shared_rows"]]
    leaks = "; ".join(
        f"{one['shared_rows']:,} of {one['rows']:,} {one['split']} rows have an input of {one['other']}"
        for one in shared
    )
    lines = [("equal inputs", text)]
    if found["leakage"]:
        lines.append(("between splits", f"{leaks}." if shared else "No input is in two splits."))
    return lines


def print_recommendation(result: Mapping[str, Any]) -> None:
    """Print the ranked candidates, the curve of the label prior, the advice and the command."""
    rows = []
    for one in result["candidates"]:
        gap = one["to_best"]
        worse = "" if one is result["candidates"][0] else f"{gap['mean']:.3f} [{gap['low']:.3f}, {gap['high']:.3f}]"
        value = f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
        rows.append((one["name"], str(one["seeds"]), value, worse, *map(_number, one["errors"].values())))
    title = f"validation, {result['rows']:,} rows, objective {result['objective']}"
    header = ("model", "seeds", result["metric"], "worse by", *ERRORS)
    tables = [Grid(title, header, tuple(rows), INTERVALS)]
    if result["curve"]:
        points = [
            (f"{point['power']:g}", *(_number(value) for key, value in point.items() if key != "power"))
            for point in result["curve"]
        ]
        tables.append(Grid("label prior, on validation", ("power", *ERRORS), tuple(points)))
    console = print_grids(tables)
    for run, reason in result["failed"].items():
        _say(console, f"Failed: {run}: {reason}")
    if result["not_tried"]:
        _say(console, f"Not tried, the budget ended: {'; '.join(result['not_tried'])}. The same command goes on.")
    _say(console, "")
    _say(console, result["advice"], style="bold")
    _say(console, f"written to {result['config']}")
    console.print(Text(result["command"], style="bold"), soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def picture(report: Mapping[str, Any]) -> Figure:
    """Return a picture of the labels per bin, their effective density, and the density of uniform labels.

    Several targets have a picture each, one below the other.
    """
    # Importing matplotlib takes half a second.
    from matplotlib.figure import Figure

    reports = report["targets"] if "targets" in report else {report["unit"]: report}
    figure = Figure(figsize=(7.5, 3.6 * len(reports)), layout="constrained")
    for axes, (unit, one) in zip(figure.subplots(len(reports), squeeze=False).flat, reports.items(), strict=True):
        found = one["histogram"]
        edges, counts = np.asarray(found["edges"]), np.asarray(found["counts"])
        centers, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        axes.bar(centers, counts, width=widths, color="#9db4c8", label="training labels per bin")
        axes.plot(centers, found["effective"], color="#b5432a", label="effective density")
        axes.axhline(counts.sum() / len(counts), color="#444444", linestyle="--", linewidth=1, label="uniform labels")
        axes.set_xlabel(f"label ({unit})")
        axes.set_ylabel("labels per bin")
        share = one["imbalance"]["effective_share"]
        title = f"{report['name']}: {one['imbalance']['verdict']}, effective share {share:.3f}"
        axes.set_title(title, fontsize=10)
        axes.legend(frameon=False)
    return figure


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style))
