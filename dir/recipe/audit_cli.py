"""Command line of ``dir-audit`` and scripts/audit.py."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dir._atomic import write_atomic
from dir._checks import message
from dir._program import program


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("audit"), description="List training rows of a run whose label looks wrong rather than rare."
    )
    parser.add_argument("run", type=Path, help="run folder; its settings train the networks of the audit")
    parser.add_argument(
        "--out", type=Path, help="csv with all training rows, most suspicious first (default: RUN/audit.csv)"
    )
    parser.add_argument("--folds", type=int, default=5, help="parts of the training rows (default: 5)")
    parser.add_argument("--repeats", type=int, default=1, help="divisions into folds (default: 1)")
    parser.add_argument("--show", type=int, default=20, help="rows to print (default: 20)")
    parser.add_argument("--trust", action="store_true", help="build your own classes from the config of the run")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Audit the training labels of a run, print the most suspicious rows and write all rows to a csv."""
    parser = _parser()
    args = parser.parse_args(arguments)
    out = args.out or args.run / "audit.csv"
    if out.exists():
        parser.error(message("--out", "the file exists", str(out), "Remove it, or choose another file."))

    import pandas as pd

    from dir.recipe.audit import audit_run
    from dir.recipe.cli import is_user_error
    from dir.recipe.schema import register_configs

    register_configs()
    try:
        found = audit_run(args.run / "checkpoints" / "best.ckpt", args.folds, args.repeats, args.trust)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not is_user_error(error):
            raise
        sys.exit(str(error))
    table = pd.DataFrame(asdict(found))
    # Position of the row in the training split, from 0: the order of row ids in split.json.gz.
    table.insert(0, "train_row", range(len(table)))
    table = table.sort_values("score", ascending=False, kind="stable")
    write_atomic(out, table.to_csv(index=False).encode())
    print(f"\nThe {min(args.show, len(table))} most suspicious of {len(table)} training labels:")
    with pd.option_context("display.width", 200, "display.float_format", "{:.4g}".format):
        print(table.head(args.show).to_string(index=False))
    print(f"all rows: {out}")
