"""Prints a checkpoint's tables again: ``python scripts/evaluate.py ckpt=outputs/.../checkpoints/best.ckpt``."""

from __future__ import annotations

import sys

from dir.recipe.cli import evaluate_main

if __name__ == "__main__":
    evaluate_main(sys.argv[1:])
