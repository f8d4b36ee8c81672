"""Recipe, the settings with which ``+experiment=tabular`` trains a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Recipe:
    """How ``+experiment=tabular`` trains a model. The defaults were tuned on the validation split of abalone.csv."""

    max_epochs: int = 30
    batch_size: int = 128
    lr: float = 3e-3
    weight_decay: float = 1e-2
    gradient_clip_val: float | None = None
