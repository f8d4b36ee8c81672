"""Compare runs: `python scripts/compare.py outputs/stsb_minilm`, or several data sets with `--ranks METRIC`."""

from dir.compare.cli import main

if __name__ == "__main__":
    main()
