"""Command line of ``dir-compare`` and scripts/compare.py.

SciPy and rich take seconds to import. The module parses the arguments before it imports them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dir._checks import check_figure_file, message, suggestion
from dir._program import program
from dir.compare.runs import Run, collect, find_runs

# Options that an option would leave without effect.
_EXCLUDED = {
    "ranks": ("overview", "readme", "forest", "frontier", "collect"),
    "overview": ("readme", "forest", "frontier", "collect", "out"),
    "readme": ("out",),
}


def filter_methods(runs: list[Run], methods: Sequence[str] | None) -> list[Run]:
    """Return the runs of the given methods, with all their overrides; all runs if ``methods`` is None.

    Raises:
        ValueError: a method has no run.
    """
    if methods is None:
        return runs
    names = {run.method for run in runs}
    missing = sorted(set(methods) - names)
    if missing:
        problem = f"{runs[0].experiment} has no run of {', '.join(missing)}"
        raise ValueError(message("--methods", problem, advice=suggestion(missing[0], names)))
    return [run for run in runs if run.method in methods]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("compare"), description="Mean, spread and paired differences over seeds, by shot group."
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="folder of METHOD/seed_S/metrics.json, or a result file (EXPERIMENT.jsonl)",
    )
    parser.add_argument("--baseline", help="row that the other rows are compared with (default: vanilla)")
    parser.add_argument("--split", default="test", help="test (default) or val")
    parser.add_argument("--metrics", nargs="+", help="print all tables of these metrics, in this order")
    parser.add_argument("--all", action="store_true", help="print all tables of all metrics (default: one table)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for compare.md and compare.json (default: RUNS; for a result file and --ranks: print only)",
    )
    parser.add_argument("--readme", metavar="METRIC", help="print two compact markdown tables of the metric instead")
    parser.add_argument("--forest", nargs=2, metavar=("METRIC", "FILE"), help="also draw the differences into FILE")
    parser.add_argument(
        "--frontier", nargs=2, metavar=("METRIC", "FILE"), help="also draw few-shot over many-shot error"
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="show these methods only (default: all)")
    parser.add_argument("--ranks", metavar="METRIC", help="rank the methods over several data sets")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="with --ranks: also draw the ranks and which of them differ"
    )
    parser.add_argument(
        "--overview", metavar="METRIC", help="print the change against the baseline over several data sets"
    )
    parser.add_argument(
        "--collect", type=Path, metavar="FILE", help="also add the runs to the result file EXPERIMENT.jsonl"
    )
    parser.add_argument("--force", action="store_true", help="allow --collect to replace runs with other content")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of one experiment, or the ranks or the overview of several.

    Args:
        arguments: arguments of the command line. Default: those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    args = parser.parse_args(arguments)
    for name, others in _EXCLUDED.items():
        given = [other for other in others if getattr(args, other)]
        if getattr(args, name) and given:
            parser.error(f"--{name}: cannot be combined with --{given[0]}. Remove one of them.")
    if args.all and (args.metrics or args.readme or args.ranks or args.overview):
        parser.error("--all: cannot be combined with an option that names a metric. Remove one of them.")
    if args.force and not args.collect:
        parser.error("--force: only applies to --collect. Add --collect FILE, or remove --force.")
    if args.picture and not args.ranks:
        problem = "only applies to --ranks. Add --ranks METRIC, or remove --picture"
        parser.error(f"--picture: {problem}. --forest and --frontier take a file of their own.")
    try:
        if args.picture:
            check_figure_file("--picture", args.picture)
        for option, given in (("--forest", args.forest), ("--frontier", args.frontier)):
            if given:
                check_figure_file(option, Path(given[1]))
        _run(args, f"python scripts/compare.py {shlex.join(arguments)}")
    except ValueError as error:
        parser.error(str(error))


def _run(args: argparse.Namespace, command: str) -> None:
    found = [(filter_methods(runs, args.methods), unfinished) for runs, unfinished in map(find_runs, args.runs)]

    from dir.compare.forest import forest_plot
    from dir.compare.frontier import frontier_plot
    from dir.compare.overview import overview
    from dir.compare.ranks import rank_methods, ranks_plot, report_ranks
    from dir.compare.report import print_report, print_summary, readme_tables, with_command, write_report
    from dir.compare.statistics import compare

    results = [compare(runs, args.split, args.baseline, args.metrics, unfinished) for runs, unfinished in found]
    if args.ranks:
        ranks = [rank_methods(results, args.ranks)]
        try:
            ranks.append(rank_methods(results, args.ranks, "few"))
        except ValueError as error:  # fewer than two data sets have few-shot labels
            print(f"few-shot labels are not ranked. {error}")
        report_ranks(ranks, args.out)
        if args.picture:
            ranks_plot(ranks, args.picture)
        return
    if args.overview:
        print(with_command(command, overview(results, args.overview)))
        return
    if len(results) > 1:
        advice = "Add --ranks METRIC or --overview METRIC, or compare the data sets one by one."
        raise ValueError(message("runs", "expected one data set", len(results), advice))
    (result,) = results
    if args.collect:
        collect(found[0][0], args.collect, args.force)
    if args.readme:
        print(with_command(command, readme_tables(result, args.readme)))
    else:
        # A result file is committed: its folder is no place for reports.
        folder = args.out or (args.runs[0] if args.runs[0].is_dir() else None)
        if args.all or args.metrics:
            print_report(result)
        else:
            print_summary(result, "--all prints all tables" + (f", {folder}/compare.md holds them" if folder else ""))
        if folder is not None:
            write_report(result, folder)
    if args.forest:
        forest_plot(result, args.forest[0], Path(args.forest[1]))
    if args.frontier:
        frontier_plot(result, args.frontier[0], Path(args.frontier[1]))
