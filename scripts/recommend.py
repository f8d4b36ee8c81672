"""Recommend a model: `python scripts/recommend.py data.path=FILE.csv data.target=COLUMN --objective balanced`."""

from dir.commands.recommend import main

if __name__ == "__main__":
    main()
