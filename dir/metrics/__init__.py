"""Metrics of imbalanced regression as torchmetrics classes, pooled and by shot group."""

from __future__ import annotations

from dir.metrics.correlation import Pearson, Spearman
from dir.metrics.errors import GM, MAE, MSE, BalancedMAE
from dir.metrics.shot_groups import SHOTS, STSB_DIR_SHOTS, shot_of_bins
from dir.metrics.shots import METRICS, ShotMetrics

__all__ = [
    "GM",
    "MAE",
    "METRICS",
    "MSE",
    "SHOTS",
    "STSB_DIR_SHOTS",
    "BalancedMAE",
    "Pearson",
    "ShotMetrics",
    "Spearman",
    "shot_of_bins",
]
