"""One table of the measurements: ``python -m benchmarks.summary JSON... [--markdown]``.

JSON are files of ``pytest benchmarks --benchmark-json=JSON``; where two hold the same row, the later one counts.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gates import ROWS, Row, judged

_HEADER = ("what", "ours", "naive", "floor", "ratios", "gates")
_MISSING = "not measured"


class Measured(NamedTuple):
    """A row as one benchmark wrote it into ``extra_info``."""

    title: str
    unit: str
    values: dict[str, float]
    note: str
    where: str


def read(paths: Sequence[Path]) -> dict[str, Measured]:
    """Rows by key, in the order in which they were measured."""
    found: dict[str, Measured] = {}
    for path in paths:
        for entry in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]:
            info: dict[str, Any] = entry["extra_info"]
            if "key" not in info:
                raise ValueError(f"{path}: {entry['name']} has no key; it was not measured by these benchmarks")
            threads = "1 thread" if info["threads"] == 1 else f"{info['threads']} threads"
            where = f"{info['device']}, {threads}, torch {info['torch']}, commit {info['commit']}"
            found[info["key"]] = Measured(info["title"], info["unit"], info["values"], info["note"], where)
    return found


def quantity(value: float, unit: str) -> str:
    """A measured value with its unit, seconds in ms or us where they are short."""
    if value != value:
        return _MISSING
    if unit == "calls":
        return f"{value:.0f}"
    if unit != "s":
        return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
    factor, name = (1.0, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "us")
    return f"{value * factor:.3g} {name}"


def _ratio(value: float) -> str:
    return _MISSING if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def cells(row: Row | None, measured: Measured | None) -> tuple[str, ...]:
    """One line of the table."""
    title = row.title if row else measured.title if measured else ""
    title = f"GPU: {title}" if row and row.gpu else title
    values = measured.values if measured else {}
    if row is None:  # any regulariser of the package
        row = Row(title, ratios=("ours / floor",))
    entries = judged(row, values)
    if measured is None:
        bounds = [f"{entry['ratio']} {entry['gate']}" for entry in entries if entry["gate"]]
        return (title, _MISSING, "", "", "; ".join(bounds), _MISSING if bounds else "")
    if measured.note:
        title = f"{title}; {measured.note}"
    shown = {name: quantity(value, measured.unit) for name, value in values.items()}
    rest = [f"{text} ({name})" for name, text in shown.items() if name not in ("ours", "naive", "floor")]
    ratios = [
        (f"{entry['ratio']} = {_ratio(entry['value'])}" if " / " in entry["ratio"] else "")
        + (f" ({entry['gate']})" if entry["gate"] else "")
        for entry in entries
    ]
    verdicts = ["met" if entry["met"] else "**missed**" for entry in entries if entry["met"] is not None]
    return (
        title,
        shown.get("ours", ""),
        shown.get("naive", ""),
        "; ".join([shown["floor"]] if "floor" in shown else rest),
        "; ".join(ratio.strip() for ratio in ratios),
        "; ".join(verdicts),
    )


def table(found: dict[str, Measured]) -> list[tuple[str, ...]]:
    """All lines: the rows with gates on the CPU, then what has no gate, then those that need a GPU."""
    others = [cells(None, measured) for key, measured in found.items() if key not in ROWS]
    on_cpu, on_gpu = (
        [cells(row, found.get(key)) for key, row in ROWS.items() if row.gpu is gpu] for gpu in (False, True)
    )
    return [*on_cpu, *others, *on_gpu]


def markdown(found: dict[str, Measured]) -> str:
    """The table as it stands in docs/benchmarks.md."""
    lines = [f"Measured on: {where}." for where in dict.fromkeys(measured.where for measured in found.values())]
    rows = [_HEADER, ("---",) * len(_HEADER), *table(found)]
    return "\n".join([*lines, "", *("| " + " | ".join(row) + " |" for row in rows)])


def plain(found: dict[str, Measured]) -> str:
    """The table for a terminal."""
    rows = [_HEADER, *table(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    where = [f"Measured on: {where}." for where in dict.fromkeys(measured.where for measured in found.values())]
    return "\n".join([*where, "", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; with ``--markdown`` as the block that docs/benchmarks.md holds."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description=__doc__)
    parser.add_argument("json", nargs="+", type=Path, metavar="JSON")
    parser.add_argument("--markdown", action="store_true", help="print the block of docs/benchmarks.md")
    options = parser.parse_args(given)
    found = read(options.json)
    if options.markdown:
        print(f"<!-- python -m benchmarks.summary {shlex.join(given)} -->\n\n{markdown(found)}\n\n<!-- end -->")
    else:
        print(plain(found))


if __name__ == "__main__":
    main()
