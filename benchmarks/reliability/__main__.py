"""Test the promises of docs/reliability.md: ``python -m benchmarks.reliability --json FILE``.

    python -m benchmarks.reliability --json benchmarks/results/reliability.json            # all rows
    python -m benchmarks.reliability --json benchmarks/results/reliability.json --only kills
    python -m benchmarks.reliability --json /tmp/x.json --short                              # a few cases of each row
    python -m benchmarks.reliability --table benchmarks/results/reliability.json           # the block of the page

``--only`` measures some rows, and keeps the other rows of an existing file. The exit status is 1 if a promise was
broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import machine
from benchmarks.reliability import bad_inputs, commands, flips, kills, poison
from benchmarks.reliability.rows import HELD, measure

ROWS = {row.key: row for row in (kills.ROW, *flips.ROWS, *poison.ROWS, *bad_inputs.ROWS)}


def table(path: Path) -> str:
    """Return the block of docs/reliability.md that shows a result file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    lines = ["| promise | test | cases | held | outcomes |", "|---|---|---|---|---|"]
    for key, entry in content["rows"].items():
        row = ROWS[key]
        outcomes = ", ".join(f"{count:,} {name}" for name, count in entry["outcomes"].items())
        held = f"{entry['held']:,}" if entry["held"] == entry["cases"] else f"**{entry['held']:,}**"
        lines.append(f"| {row.promise} | {row.test} | {entry['cases']:,} | {held} | {outcomes} |")
    total, held = (sum(entry[key] for entry in content["rows"].values()) for key in ("cases", "held"))
    where = sorted({describe(entry["machine"]) for entry in content["rows"].values()})
    lines += ["", f"{held:,} of {total:,} cases held. Measured on: {'; '.join(where)}."]
    return "\n".join(lines)


def describe(about: dict[str, Any]) -> str:
    """Return the machine, the versions, the commit and the date of a measurement in one line."""
    versions = ", ".join(f"{name} {about[name]}" for name in ("python", "torch", "numpy", "pandas"))
    return f"{about['device']}, {versions}, commit {about['commit']}, {about['date']}"


def block(path: Path, shown: str) -> str:
    """Return the table between the markers that name the command."""
    return f"<!-- python -m benchmarks.reliability --table {shown} -->\n\n{table(path)}\n\n<!-- end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--json", type=Path, metavar="FILE", help="measure and write the result")
    action.add_argument("--table", type=Path, metavar="FILE", help="print the block of docs/reliability.md")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--short", action="store_true", help="a few cases of each row")
    args = parser.parse_args(arguments)
    if args.table is not None:
        print(block(args.table, str(args.table)))
        return 0
    known: dict[str, Any] = {}
    if args.only and args.json.is_file():
        known = json.loads(args.json.read_text(encoding="utf-8"))["rows"]
    commands.import_everything()
    about = machine() | {"numpy": np.__version__, "pandas": pd.__version__, "date": time.strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory() as folder:
        for key in args.only or ROWS:
            begin = time.monotonic()
            entry = measure(ROWS[key], Path(folder) / key, args.short)
            known[key] = entry | {"seconds": round(time.monotonic() - begin), "short": args.short, "machine": about}
            print(f"{key}: {entry['held']} of {entry['cases']} held, {known[key]['seconds']} s", flush=True)
            for case in entry["broken"][:5]:
                print(f"  {case['case']}: {case['outcome']}\n    {case['detail'][-300:]}", flush=True)
            rows = {name: known[name] for name in ROWS if name in known}
            args.json.write_text(json.dumps({"held": HELD, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return int(any(entry["held"] < entry["cases"] for entry in known.values()))


if __name__ == "__main__":
    sys.exit(main())
