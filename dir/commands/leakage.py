"""Command line of ``dir-leakage`` and scripts/leakage.py.

pandas and PyTorch take seconds to import. The module parses the arguments before it imports them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dir._checks import message
from dir._program import program

_ABOUT = """Report the groups that the splits of a benchmark share.

%(prog)s agedb.csv [--group identity] [--out agedb_with_identity.csv]
%(prog)s FOLDER_OF_STSB_DIR
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the groups that val and test share with train, and test with val."""
    parser = argparse.ArgumentParser(
        prog=program("leakage"), description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="csv with the columns path and split, or the folder of STS-B-DIR")
    parser.add_argument("--group", default="identity", help="column of the csv (default: identity)")
    parser.add_argument("--out", type=Path, help="write the csv with its group column, for data.group")
    args = parser.parse_args(arguments)
    if not args.data.exists():
        sys.exit(message(str(args.data), "no such file or folder"))
    if args.out is not None and args.out.exists():
        sys.exit(message("--out", "the file exists", str(args.out), "Remove it, or choose another file."))

    from dir.data.leakage import csv_groups, leakage, stsb_groups

    try:
        table = None
        if args.data.is_dir():
            groups = stsb_groups(args.data)
        else:
            groups, table = csv_groups(args.data, args.group)
        for line in leakage(groups):
            print(line)
        if args.out is not None and table is not None:
            table.to_csv(args.out, index=False, lineterminator="\n")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
