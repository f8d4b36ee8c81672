"""Command line of ``dir-tradeoff`` and scripts/tradeoff.py.

PyTorch and SciPy take seconds to import. The module refuses wrong arguments before it imports them.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dir._atomic import write_atomic
from dir._checks import check_choice, check_figure_file, message, suggestion
from dir._program import answer_help, program
from dir.compare.cli import filter_methods
from dir.compare.ensemble_cli import run_folders
from dir.compare.groups import GROUPS, METRICS
from dir.compare.runs import find_runs

if TYPE_CHECKING:
    from dir.compare.report import Grid
    from dir.compare.statistics import Comparison
    from dir.compare.tradeoff import Curve

USAGE = (
    "usage: {program} runs=[RUN,...] [power=0,0.1,...,1] [metric=mae|mse|balanced_mae] [groups=[many,few]]\n"
    "       [csv=FILE] [json=FILE] [figure=FILE.png|FILE.svg] [split=test|val: of the figure]\n"
    "       [points=[RUNS or RESULTS.jsonl,...]] [methods=[METHOD,...]: of the points]"
)
_OPTIONS = ("runs", "power", "metric", "groups", "csv", "json", "figure", "split", "points", "methods")
_POWERS = "0,0.1,...,1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the errors of finished runs at each power of the label prior, on val and on test.

    Raises:
        SystemExit: wrong arguments, or runs that cannot be read.
    """
    given = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(given)
    except (ValueError, OSError) as error:
        sys.exit(str(error))


def _run(given: dict[str, str]) -> None:
    powers = parse_powers(given.get("power", _POWERS))
    metric, split = given.get("metric", "mae"), given.get("split", "test")
    check_choice("metric", metric, METRICS)
    check_choice("split", split, ("test", "val"))
    x, y = _two_groups(given.get("groups", "many,few"))
    folders = run_folders([Path(path) for path in _list(given["runs"])])
    figure = None if "figure" not in given else Path(given["figure"])
    if figure is not None:
        check_figure_file("figure", figure)
    if figure is None and "points" in given:
        raise ValueError(message("points", "only the figure shows points", advice="Add figure=FILE.png."))
    if "methods" in given and "points" not in given:
        raise ValueError(
            message("methods", "chooses among the points, and there are none", advice="Add points=RUNS.")
        )

    from dir.compare.report import print_grids
    from dir.compare.tradeoff import as_rows, curves, read_saved
    from dir.compare.tradeoff_figure import tradeoff_figure

    saved = [read_saved(folder) for folder in folders]
    found = {name: curves(saved, name, powers) for name in ("val", "test")}
    print_grids([grid(curve, name, metric) for name, of_split in found.items() for curve in of_split])
    rows = [row for name, of_split in found.items() for row in as_rows(name, of_split)]
    if "csv" in given:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(Path(given["csv"]), text.getvalue().encode())
    if "json" in given:
        write_atomic(Path(given["json"]), (json.dumps(rows, indent=1) + "\n").encode())
    if figure is not None:
        points = _points(given, split)
        remarks = dict.fromkeys(curve.remark for curve in found[split] if curve.remark)
        title = "\n".join((f"{saved[0].run.experiment}, {split}: mean and standard error over seeds", *remarks))
        picture = tradeoff_figure(found[split], points, title, metric, (x, y))
        figure.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(figure, dpi=150)


def grid(curve: Curve, split: str, metric: str) -> Grid:
    """Return a table of powers (rows) by shot groups (columns); the last row holds the powers that the runs keep."""
    from dir.compare.report import Grid, decimals, spread_cell

    groups = [group for group in GROUPS if any(values[group, metric].n for values in curve.values.values())]
    places = decimals(over.mean for values in curve.values.values() for over in values.values())
    lines = [(f"{power:g}", values) for power, values in curve.values.items()]
    kept = sorted(set(curve.kept_powers))
    lines.append((f"kept: {', '.join(f'{power:g}' for power in kept)}", curve.kept))
    seeds, spread = len(curve.seeds), "Mean ± standard deviation over the seeds."
    return Grid(
        f"{curve.label}, {split}: {metric}",
        ("power", *groups),
        tuple(
            (name, *(spread_cell(values[group, metric], places, seeds) for group in groups)) for name, values in lines
        ),
        " ".join(part for part in (spread if seeds > 1 else "", curve.remark) if part),
    )


def parse_powers(text: str) -> list[float]:
    """Return the powers of a list such as ``0,0.5,1`` or ``0,0.1,...,1``.

    Raises:
        ValueError: a part that is no number, a negative power, or ``...`` without two powers before and one behind.

    Example:
        >>> parse_powers("0,0.25,...,1"), parse_powers("0.5,1")
        ([0.0, 0.25, 0.5, 0.75, 1.0], [0.5, 1.0])
    """
    parts = _list(text)
    powers: list[float] = []
    for at, part in enumerate(parts):
        if part == "...":
            step = powers[-1] - powers[-2] if len(powers) > 1 else 0.0
            end = _number(parts[at + 1]) if at + 1 < len(parts) else math.nan
            if not step > 0 or not end > powers[-1]:
                raise ValueError(message("power", "expected two increasing powers before ... and a larger one", text))
            count = round((end - powers[-1]) / step)
            if count > 1000:
                raise ValueError(message("power", "expected at most 1000 powers", text))
            powers += [round(powers[-1] + step * number, 10) for number in range(1, count)]
        else:
            powers.append(_number(part))
    return powers


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(message("power", "expected numbers >= 0", text))
    return value


def _points(given: dict[str, str], split: str) -> Comparison | None:
    if "points" not in given:
        return None
    from dir.compare.statistics import compare

    methods = _list(given["methods"]) if "methods" in given else None
    runs = [run for path in _list(given["points"]) for run in find_runs(Path(path))[0]]
    return compare(filter_methods(runs, methods), split)


def _two_groups(text: str) -> tuple[str, str]:
    names = _list(text)
    if len(names) != 2:
        raise ValueError(message("groups", "expected two shot groups", text, "Such as groups=[many,few]."))
    for name in names:
        check_choice("groups", name, GROUPS)
    return names[0], names[1]


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",") if part.strip()]


def _parse(arguments: Sequence[str]) -> dict[str, str]:
    usage = USAGE.format(program=program("tradeoff"))
    answer_help(arguments, usage)
    given = dict(argument.partition("=")[::2] for argument in arguments if "=" in argument)
    unknown = [name for name in given if name not in _OPTIONS]
    if unknown:
        sys.exit(f"{message(unknown[0], 'no such argument', advice=suggestion(unknown[0], _OPTIONS))}\n{usage}")
    if len(given) < len(arguments) or not given.get("runs") or not all(given.values()):
        sys.exit(usage)
    return given
