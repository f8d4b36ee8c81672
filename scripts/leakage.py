"""Report the groups that the splits of a benchmark share: `python scripts/leakage.py agedb.csv`, or a folder."""

from dir.commands.leakage import main

if __name__ == "__main__":
    main()
