"""Trade-off curve of runs with a label prior: `python scripts/tradeoff.py runs=outputs/NAME/histogram_prior`."""

from dir.compare.tradeoff_cli import main

if __name__ == "__main__":
    main()
