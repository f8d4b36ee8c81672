"""Report the groups that the splits of a benchmark share.

python scripts/leakage.py agedb.csv [--group identity] [--out agedb_with_identity.csv]
python scripts/leakage.py FOLDER_OF_STSB_DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dir.data.leakage import csv_groups, leakage, stsb_groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="csv with the columns path and split, or the folder of STS-B-DIR")
    parser.add_argument("--group", default="identity", help="column of the csv (default: identity)")
    parser.add_argument("--out", type=Path, help="write the csv with its group column, for data.group")
    args = parser.parse_args()
    try:
        if args.out is not None and args.out.exists():
            raise FileExistsError(f"--out: {args.out} exists. Choose another file.")
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
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
