"""The command line of the comparison; scripts/compare.py calls it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dir.compare.forest import forest_plot
from dir.compare.frontier import frontier_plot
from dir.compare.overview import overview
from dir.compare.ranks import rank_methods, report_ranks
from dir.compare.report import marked, readme_tables, report
from dir.compare.runs import Run, collect, find_runs
from dir.compare.statistics import compare

# Options, and those that they leave nothing to do for.
_WITHOUT = {
    "ranks": ("overview", "readme", "forest", "frontier", "collect"),
    "overview": ("readme", "forest", "frontier", "collect", "out"),
    "readme": ("out",),
}


def only(runs: list[Run], methods: Sequence[str] | None) -> list[Run]:
    """The runs of these methods, whatever else they override.

    Raises:
        ValueError: a method without a run.
    """
    if methods is None:
        return runs
    missing = sorted(set(methods) - {run.method for run in runs})
    if missing:
        raise ValueError(f"methods: no run of {', '.join(missing)} under {runs[0].experiment}")
    return [run for run in runs if run.method in methods]


def main(arguments: Sequence[str] | None = None) -> None:
    """Tables of one experiment, or ranks or an overview of several; ``arguments`` are those of the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description="Mean, spread and paired differences over seeds, by shot group.")
    parser.add_argument(
        "runs", type=Path, nargs="+", help="folder of METHOD/seed_S/metrics.json or METHOD/seed_S.json"
    )
    parser.add_argument("--baseline", help="row that the others are paired with (default: vanilla)")
    parser.add_argument("--split", default="test", help="test (default) or val")
    parser.add_argument("--metrics", nargs="+", help="which, in this order (default: all)")
    parser.add_argument("--out", type=Path, help="folder for the tables as files (default: RUNS; none for --ranks)")
    parser.add_argument("--readme", metavar="METRIC", help="print two compact markdown tables of it instead")
    parser.add_argument("--forest", nargs=2, metavar=("METRIC", "FILE"), help="also draw its differences into FILE")
    parser.add_argument(
        "--frontier", nargs=2, metavar=("METRIC", "FILE"), help="also draw few-shot over many-shot error"
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="only these (default: all)")
    parser.add_argument("--ranks", metavar="METRIC", help="rank the methods over several folders, one per data set")
    parser.add_argument(
        "--overview", metavar="METRIC", help="change against the baseline over several folders, markdown"
    )
    parser.add_argument("--collect", type=Path, metavar="DIR", help="also copy runs to DIR/METHOD/seed_S.json")
    parser.add_argument("--force", action="store_true", help="let --collect replace what differs")
    args = parser.parse_args(arguments)
    for name, others in _WITHOUT.items():
        given = [other for other in others if getattr(args, other)]
        if getattr(args, name) and given:
            parser.error(f"--{name} does not go with --{given[0]}")
    if args.force and not args.collect:
        parser.error("--force goes with --collect")
    command = f"python scripts/compare.py {shlex.join(arguments)}"
    try:
        found = [(only(runs, args.methods), left) for runs, left in map(find_runs, args.runs)]
        results = [compare(runs, args.split, args.baseline, args.metrics, left) for runs, left in found]
        if args.ranks:
            report_ranks([rank_methods(results, args.ranks, group) for group in ("all", "few")], args.out)
            return
        if args.overview:
            print(marked(command, overview(results, args.overview)))
            return
        if len(results) > 1:
            raise ValueError("several folders: expected --ranks or --overview METRIC; else compare them one by one")
        if args.collect:
            collect(found[0][0], args.collect, args.force)
        if args.readme:
            print(marked(command, readme_tables(results[0], args.readme)))
        else:
            report(results[0], args.out or args.runs[0])
        if args.forest:
            forest_plot(results[0], args.forest[0], Path(args.forest[1]))
        if args.frontier:
            frontier_plot(results[0], args.frontier[0], Path(args.frontier[1]))
    except ValueError as error:
        parser.error(str(error))
