"""Metrics of imbalanced regression as torchmetrics classes, pooled and by shot group."""

from __future__ import annotations

from dir.metrics.correlation import Pearson, Spearman
from dir.metrics.errors import GM, MAE, MSE, BalancedMAE
from dir.metrics.relevance_errors import ErrorDensityCorrelation, RelevanceMAE, RelevanceMSE
from dir.metrics.sera import SERA, SERCurve
from dir.metrics.shot_groups import SHOTS, STSB_DIR_SHOTS, shot_of_bins
from dir.metrics.shots import METRICS, ShotMetrics
from dir.metrics.uncertainty import ause, gaussian_nll, interval_coverage, sparsification_curve
from dir.metrics.utility import UtilityF1, UtilityPrecision, UtilityRecall

__all__ = [
    "GM",
    "MAE",
    "METRICS",
    "MSE",
    "SERA",
    "SHOTS",
    "STSB_DIR_SHOTS",
    "BalancedMAE",
    "ErrorDensityCorrelation",
    "Pearson",
    "RelevanceMAE",
    "RelevanceMSE",
    "SERCurve",
    "ShotMetrics",
    "Spearman",
    "UtilityF1",
    "UtilityPrecision",
    "UtilityRecall",
    "ause",
    "gaussian_nll",
    "interval_coverage",
    "shot_of_bins",
    "sparsification_curve",
]
