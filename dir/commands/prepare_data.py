"""Command line of ``dir-prepare-data`` and scripts/prepare_data.py. dir/data/prepare.py has the rules.

pandas and SciPy take a second to import. The module parses the arguments before it imports them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dir._program import program

# The benchmarks that dir/data/prepare.py can prepare.
NAMES = ("agedb", "imdb_wiki", "utkface")

_ABOUT = """Write the csv (age, path, split) of a benchmark from its image folder.

%(prog)s agedb --images FOLDER --out agedb.csv
%(prog)s utkface --images FOLDER --out utkface.csv
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the csv, and print the rows of each split and the pictures that were left out."""
    parser = argparse.ArgumentParser(
        prog=program("prepare-data"), description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES, help="the benchmark")
    parser.add_argument("--images", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--out", type=Path, required=True, help="csv file to write")
    parser.add_argument("--seed", type=int, default=0, help="draws the splits (default 0)")
    parser.add_argument("--force", action="store_true", help="overwrite --out if it exists")
    args = parser.parse_args(arguments)

    from dir.data.prepare import prepare_csv
    from dir.data.splits import SPLITS

    try:
        prepared = prepare_csv(args.name, args.images, args.out, args.seed, args.force)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    counts = {name: int((prepared.table["split"] == name).sum()) for name in SPLITS}
    print(f"{args.out}: {counts}, left out: {prepared.report()}")
