"""Trains a recipe: ``python scripts/train.py +experiment=age_synthetic method=lds_fds seed=1``.

Sweeps, in one process: ``python scripts/train.py -m +experiment=age_synthetic method=vanilla,lds seed=0,1,2``.
"""

from __future__ import annotations

from dir.recipe.cli import train_main

if __name__ == "__main__":
    train_main()
