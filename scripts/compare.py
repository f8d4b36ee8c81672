"""Compares the runs of one experiment: `python scripts/compare.py outputs/stsb_minilm`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dir.recipe.compare import compare
from dir.recipe.compare_report import report
from dir.recipe.runs import collect, find_runs


def main() -> None:
    parser = argparse.ArgumentParser(description="Mean, spread and paired differences over seeds, by shot group.")
    parser.add_argument("runs", type=Path, help="folder of METHOD/seed_S/metrics.json or METHOD/seed_S.json")
    parser.add_argument("--baseline", help="row that the others are paired with (default: vanilla)")
    parser.add_argument("--split", default="test", help="test (default) or val")
    parser.add_argument("--metrics", nargs="+", help="which, in this order (default: all)")
    parser.add_argument("--out", type=Path, help="folder for compare.md and compare.json (default: RUNS)")
    parser.add_argument("--readme", metavar="METRIC", help="print two compact markdown tables of it instead")
    parser.add_argument("--collect", type=Path, metavar="DIR", help="also copy runs to DIR/METHOD/seed_S.json")
    parser.add_argument("--force", action="store_true", help="let --collect replace what differs")
    args = parser.parse_args()
    try:
        runs, unfinished = find_runs(args.runs)
        result = compare(runs, args.split, args.baseline, args.metrics, unfinished)
        if args.collect:
            collect(runs, args.collect, args.force)
        report(result, args.out or args.runs, args.readme)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
