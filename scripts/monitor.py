"""Compare new rows with those of a run: `python scripts/monitor.py model=RUN new.csv`."""

from dir.commands.monitor import main

if __name__ == "__main__":
    main()
