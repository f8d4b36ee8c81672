"""Command line of ``dir-report`` and scripts/report.py. It parses the arguments before matplotlib is imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dir._atomic import write_atomic
from dir._program import program
from dir.compare.runs import Run, find_runs, in_table_order


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report of one or several experiments.

    Args:
        arguments: arguments of the command line. Default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog=program("report"),
        description="One page of HTML about finished runs: tables, figures, warnings, commands.",
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="folder of METHOD/seed_S/metrics.json, or a result file (EXPERIMENT.jsonl). Two run folders are paired.",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write (default: report.html)")
    parser.add_argument("--baseline", help="row that the other rows are compared with (default: vanilla)")
    parser.add_argument(
        "--monitor",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also show new rows of one of the runs: a report of dir-monitor --json FILE; may be given several times",
    )
    parser.add_argument("--split", default="test", choices=("test", "val"), help="test (default) or val")
    args = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        if args.out.suffix.lower() not in (".html", ".htm"):
            parser.error(f"--out: expected a file that ends in .html, got {args.out}.")
        found: Sequence[tuple[Sequence[Run], Sequence[Path]]] = [find_runs(path) for path in args.runs]
        found = together(found) if args.split == "test" else found

        from dir.compare.html.page import report_page

        text = report_page(found, args.split, args.baseline, args.monitor)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(args.out, text.encode())
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    print(f"{args.out}: {sum(len(runs) for runs, _ in found)} runs, {len(text.encode()) / 1024:.0f} KiB")


def together(found: Sequence[tuple[Sequence[Run], Sequence[Path]]]) -> list[tuple[Sequence[Run], Sequence[Path]]]:
    """Return two single runs of one experiment as one experiment, so that the report compares them.

    Raises:
        ValueError: the two runs have other test rows.
    """
    if len(found) == 2 and all(len(runs) == 1 for runs, _ in found):
        (first,), (second,) = (runs for runs, _ in found)
        if first.experiment == second.experiment and first.source != second.source:
            from dir.compare.html.pair import differences  # imports PyTorch

            differences(first, second)  # refuses runs that cannot be paired
            return [(in_table_order([first, second]), [*found[0][1], *found[1][1]])]
    return list(found)


if __name__ == "__main__":
    main()
