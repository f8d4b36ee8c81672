"""Exports a trained model: ``python scripts/export.py model=outputs/RUN format=onnx|torch_export output=FILE``."""

from __future__ import annotations

import sys

from dir.bundle.cli import export_main

if __name__ == "__main__":
    export_main(sys.argv[1:])
