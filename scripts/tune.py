"""Search settings: `python scripts/tune.py +experiment=NAME method=lds --objective balanced_mae --trials 30`."""

from dir.commands.tune import main

if __name__ == "__main__":
    main()
