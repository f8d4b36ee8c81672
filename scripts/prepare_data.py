"""Write the csv (age, path, split) of a benchmark from its image folder. dir/data/prepare.py has the rules.

python scripts/prepare_data.py agedb --images FOLDER --out agedb.csv
python scripts/prepare_data.py utkface --images FOLDER --out utkface.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dir.data.prepare import CAPS, prepare_csv
from dir.data.splits import SPLITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(CAPS), help="the benchmark")
    parser.add_argument("--images", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--out", type=Path, required=True, help="csv file to write")
    parser.add_argument("--seed", type=int, default=0, help="draws the splits (default 0)")
    parser.add_argument("--force", action="store_true", help="overwrite --out if it exists")
    args = parser.parse_args()
    try:
        prepared = prepare_csv(args.name, args.images, args.out, args.seed, args.force)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    counts = {name: int((prepared.table["split"] == name).sum()) for name in SPLITS}
    print(f"{args.out}: {counts}, left out: {prepared.report()}")


if __name__ == "__main__":
    main()
