"""Schema of ``model``: the network of a run, and the settings with which ``+experiment=tabular`` trains it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Recipe:
    """How ``+experiment=tabular`` trains a model. The defaults were tuned on the validation split of abalone.csv."""

    max_epochs: int = 30
    batch_size: int = 128
    lr: float = 3e-3
    weight_decay: float = 1e-2
    gradient_clip_val: float | None = None


@dataclass
class Model:
    """The network: the encoder. Its head belongs to the method."""

    encoder: Any = MISSING
    recipe: Recipe = field(default_factory=Recipe)


@dataclass
class TextModel(Model):
    """A network on one or two texts; ``symmetric``: the order of two texts does not matter."""

    symmetric: bool = False


@dataclass
class TimmModel(Model):
    """A network by name, see :class:`dir.models.TimmEncoder` and :class:`dir.models.ResNetMapEncoder`."""

    name: str = "resnet18"
    pretrained: bool = False
    weights: str | None = None
