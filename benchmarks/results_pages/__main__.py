"""Command line of the pages: see the package."""

from __future__ import annotations

import argparse

from benchmarks.results_pages.files import write

if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.results_pages", description=__doc__).parse_args()
    write()
