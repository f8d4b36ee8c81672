"""Losses with one weight per sample: a pure function and a Module of the same maths per family."""

from __future__ import annotations

from dir.losses.focal import FocalR, focal_r
from dir.losses.huber import WeightedHuber, weighted_huber
from dir.losses.l1 import WeightedL1, weighted_l1
from dir.losses.mse import WeightedMSE, weighted_mse

__all__ = [
    "FocalR",
    "WeightedHuber",
    "WeightedL1",
    "WeightedMSE",
    "focal_r",
    "weighted_huber",
    "weighted_l1",
    "weighted_mse",
]
