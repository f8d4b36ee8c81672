"""One page of HTML about finished runs: `python scripts/report.py outputs/stsb_minilm`."""

from dir.compare.html.cli import main

if __name__ == "__main__":
    main()
