"""Exports a trained model: ``python scripts/export.py model=outputs/RUN format=onnx|torch_export output=FILE``."""

from dir.bundle.cli import export_main

if __name__ == "__main__":
    export_main()
