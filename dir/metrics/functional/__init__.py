"""Metrics of imbalanced regression as pure functions. Names are imported on first use, without torchmetrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.metrics.functional.correlation import pearson as pearson
    from dir.metrics.functional.correlation import spearman as spearman
    from dir.metrics.functional.cost import mean_cost as mean_cost
    from dir.metrics.functional.density import error_density_correlation as error_density_correlation
    from dir.metrics.functional.errors import balanced_mae as balanced_mae
    from dir.metrics.functional.errors import geometric_mean as geometric_mean
    from dir.metrics.functional.errors import mae as mae
    from dir.metrics.functional.errors import mse as mse
    from dir.metrics.functional.errors import rmse as rmse
    from dir.metrics.functional.ratios import abs_rel as abs_rel
    from dir.metrics.functional.ratios import delta1 as delta1
    from dir.metrics.functional.relevance import relevance_mae as relevance_mae
    from dir.metrics.functional.relevance import relevance_mse as relevance_mse
    from dir.metrics.functional.relevance import ser_curve as ser_curve
    from dir.metrics.functional.relevance import sera as sera
    from dir.metrics.functional.scaled import balanced_mase as balanced_mase
    from dir.metrics.functional.scaled import freedman_diaconis_bins as freedman_diaconis_bins
    from dir.metrics.functional.shots import shot_metrics as shot_metrics
    from dir.metrics.functional.uncertainty import ause as ause
    from dir.metrics.functional.uncertainty import gaussian_nll as gaussian_nll
    from dir.metrics.functional.uncertainty import interval_coverage as interval_coverage
    from dir.metrics.functional.uncertainty import sparsification_curve as sparsification_curve
    from dir.metrics.functional.utility import smooth_accuracy as smooth_accuracy
    from dir.metrics.functional.utility import utility_f1 as utility_f1
    from dir.metrics.functional.utility import utility_precision as utility_precision
    from dir.metrics.functional.utility import utility_recall as utility_recall

_HOMES = {
    "pearson": "correlation",
    "spearman": "correlation",
    "mean_cost": "cost",
    "error_density_correlation": "density",
    "balanced_mae": "errors",
    "geometric_mean": "errors",
    "mae": "errors",
    "mse": "errors",
    "rmse": "errors",
    "abs_rel": "ratios",
    "delta1": "ratios",
    "relevance_mae": "relevance",
    "relevance_mse": "relevance",
    "ser_curve": "relevance",
    "sera": "relevance",
    "balanced_mase": "scaled",
    "freedman_diaconis_bins": "scaled",
    "shot_metrics": "shots",
    "ause": "uncertainty",
    "gaussian_nll": "uncertainty",
    "interval_coverage": "uncertainty",
    "sparsification_curve": "uncertainty",
    "smooth_accuracy": "utility",
    "utility_f1": "utility",
    "utility_precision": "utility",
    "utility_recall": "utility",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
