"""Write the csv of a benchmark: `python scripts/prepare_data.py agedb --images FOLDER --out agedb.csv`."""

from dir.commands.prepare_data import main

if __name__ == "__main__":
    main()
