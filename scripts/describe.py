"""Describe labels and suggest settings: `python scripts/describe.py data.path=FILE.csv data.target=COLUMN`."""

from dir.commands.describe import main

if __name__ == "__main__":
    main()
