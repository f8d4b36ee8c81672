"""Command line of ``dir-ensemble`` and scripts/ensemble.py.

PyTorch and SciPy take seconds to import. The module parses the arguments before it imports them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dir._atomic import write_atomic
from dir._checks import message
from dir._program import program
from dir.compare.groups import GROUPS, METRICS

if TYPE_CHECKING:
    from dir.compare.ensemble import Ensemble
    from dir.compare.report import Grid


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("ensemble"),
        description="Average the predictions of finished runs on the same rows. Members are chosen on validation.",
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, or folders that hold run folders")
    parser.add_argument("--metric", default="balanced_mae", choices=METRICS, help="metric of the greedy selection")
    parser.add_argument("--group", default="all", choices=GROUPS, help="shot group of that metric (default: all)")
    parser.add_argument("--size", type=int, default=5, help="largest number of selected members (default: 5)")
    parser.add_argument("--show", default="mae", choices=METRICS, help="metric of the printed tables (default: mae)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write errors and weights as json")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the errors of single members and of ensembles, and the weights of the greedy selection."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        runs = run_folders(args.runs)

        from dir.compare.ensemble import ensembles, read_members
        from dir.compare.report import print_grids

        found = ensembles(read_members(runs), args.metric, args.group, args.size)
    except ValueError as error:
        parser.error(str(error))
    print_grids([grid(found, split, args.show) for split in ("val", "test")])
    greedy = found[-1]
    print(f"Greedy selection on the validation split, by {args.group}/{args.metric}:")
    for run, weight in zip(runs, greedy.weights, strict=True):
        if weight > 0:
            print(f"  {weight:.2f}  {run}")
    if args.out is not None:
        content = [
            {"name": e.name, "size": e.size, "weights": dict(zip(map(str, runs), e.weights.tolist(), strict=True))}
            | {"errors": _without_nan(e.errors)}
            for e in found
        ]
        write_atomic(args.out, (json.dumps(content, indent=1) + "\n").encode())


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the run folders among the paths and below them, each once.

    Raises:
        ValueError: a path that does not exist, or holds no finished run.
    """
    found: dict[Path, None] = {}
    for path in paths:
        below = sorted(file.parent for file in path.rglob("predictions.npz") if "stage_1" not in file.parts)
        if not below:
            advice = "Give folders of finished runs, such as outputs/NAME/METHOD/seed_0."
            raise ValueError(message(str(path), "has no finished run (predictions.npz)", advice=advice))
        found.update(dict.fromkeys(below))
    return list(found)


def grid(found: Sequence[Ensemble], split: str, metric: str) -> Grid:
    """Return a table of ensembles (rows) by shot groups (columns)."""
    from dir.compare.report import Grid, decimals

    groups = [group for group in GROUPS if found[0].errors[split][group]["n"] > 0]
    places = decimals(e.errors[split][group][metric] for e in found for group in groups)
    rows = tuple(
        (e.name, str(e.size), *(f"{e.errors[split][group][metric]:.{places}f}" for group in groups)) for e in found
    )
    return Grid(f"{split}: {metric}", ("ensemble", "members", *groups), rows)


def _without_nan(errors: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        split: {
            group: {name: None if math.isnan(value) else value for name, value in values.items()}
            for group, values in groups.items()
        }
        for split, groups in errors.items()
    }
