"""Command line of the table: see the package."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.settle.plan import DATA
from benchmarks.settle.queue import add_result, done, next_item, plan


def work(folder: Path, names: list[str], scratch: Path, max_items: int) -> None:
    """Train items until none is left, or ``max_items`` are done."""
    from benchmarks.settle.training import code_commit, run_item
    from dir.recipe.schema import register_configs

    register_configs()
    code_commit()  # at the start: the checkout may change while the worker runs, but its imported code does not
    for _ in range(max_items):
        item = next_item(scratch / "claims", names)
        if item is None:
            print("nothing is left to train")
            return
        started = time.perf_counter()
        line = run_item(item, folder, scratch)
        add_result(line)
        shown = line.get("error") or line.get("objective") or "done"
        print(f"{item.name}: {str(shown)[:100]} ({time.perf_counter() - started:.1f} s)", flush=True)


def status() -> None:
    """Print how many items of each data set are done."""
    planned = set(plan())
    total, ready = Counter(item.data for item in planned), Counter(item.data for item in done() & planned)
    for name in DATA:
        print(f"{name}: {ready[name]} of {total[name]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("work", help="train what is missing")
    worker.add_argument("--data", type=Path, required=True, help="folder that holds the data files at any depth")
    worker.add_argument("--only", nargs="*", default=[], choices=list(DATA), help="data sets; default: all")
    worker.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "settle")
    worker.add_argument("--max-items", type=int, default=1_000_000, help="end after so many trainings")
    commands.add_parser("status", help="print what is done")
    commands.add_parser("report", help="write docs/settle.md and its pictures from the results")
    arguments = parser.parse_args()
    if arguments.command == "status":
        status()
    elif arguments.command == "report":
        from benchmarks.settle.report import write_page

        write_page()
    else:
        work(arguments.data, arguments.only, arguments.scratch, arguments.max_items)


if __name__ == "__main__":
    main()
