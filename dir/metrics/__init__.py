"""Metrics of imbalanced regression: torchmetrics classes, pooled and by shot group, and their functional forms.

Names are imported on first use: torchmetrics takes seconds to import. ``dir.metrics.functional`` and
``dir.metrics.table`` work without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.metrics.correlation import Pearson as Pearson
    from dir.metrics.correlation import Spearman as Spearman
    from dir.metrics.cost import MeanCost as MeanCost
    from dir.metrics.errors import GM as GM
    from dir.metrics.errors import MAE as MAE
    from dir.metrics.errors import MSE as MSE
    from dir.metrics.errors import BalancedMAE as BalancedMAE
    from dir.metrics.functional.uncertainty import ause as ause
    from dir.metrics.functional.uncertainty import gaussian_nll as gaussian_nll
    from dir.metrics.functional.uncertainty import interval_coverage as interval_coverage
    from dir.metrics.functional.uncertainty import sparsification_curve as sparsification_curve
    from dir.metrics.relevance_errors import ErrorDensityCorrelation as ErrorDensityCorrelation
    from dir.metrics.relevance_errors import RelevanceMAE as RelevanceMAE
    from dir.metrics.relevance_errors import RelevanceMSE as RelevanceMSE
    from dir.metrics.sera import SERA as SERA
    from dir.metrics.sera import SERCurve as SERCurve
    from dir.metrics.shot_groups import SHOTS as SHOTS
    from dir.metrics.shot_groups import STSB_DIR_SHOTS as STSB_DIR_SHOTS
    from dir.metrics.shot_groups import shot_of_bins as shot_of_bins
    from dir.metrics.shots import ShotMetrics as ShotMetrics
    from dir.metrics.table import METRICS as METRICS
    from dir.metrics.targets import TargetMetrics as TargetMetrics
    from dir.metrics.utility import UtilityF1 as UtilityF1
    from dir.metrics.utility import UtilityPrecision as UtilityPrecision
    from dir.metrics.utility import UtilityRecall as UtilityRecall

_HOMES = {
    "GM": "errors",
    "MAE": "errors",
    "METRICS": "table",
    "MSE": "errors",
    "SERA": "sera",
    "SERCurve": "sera",
    "SHOTS": "shot_groups",
    "STSB_DIR_SHOTS": "shot_groups",
    "BalancedMAE": "errors",
    "ErrorDensityCorrelation": "relevance_errors",
    "MeanCost": "cost",
    "Pearson": "correlation",
    "RelevanceMAE": "relevance_errors",
    "RelevanceMSE": "relevance_errors",
    "ShotMetrics": "shots",
    "Spearman": "correlation",
    "TargetMetrics": "targets",
    "UtilityF1": "utility",
    "UtilityPrecision": "utility",
    "UtilityRecall": "utility",
    "ause": "functional.uncertainty",
    "gaussian_nll": "functional.uncertainty",
    "interval_coverage": "functional.uncertainty",
    "shot_of_bins": "shot_groups",
    "sparsification_curve": "functional.uncertainty",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
