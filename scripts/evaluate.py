"""Prints a checkpoint's tables again: ``python scripts/evaluate.py ckpt=outputs/.../checkpoints/best.ckpt``."""

from dir.recipe.cli import evaluate_main

if __name__ == "__main__":
    evaluate_main()
