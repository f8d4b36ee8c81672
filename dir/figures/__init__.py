"""Figures of labels, features, methods and runs: functions that return a matplotlib figure.

Reading order: ``style`` (colours and sizes of all figures), ``density`` (labels and weights), ``errors``
(predictions), ``power`` (the curve of a label prior), ``feature_statistics`` and ``similarity`` (are the features of
near labels alike), ``fds`` (what FDS does), ``ranks`` (methods over several data sets), ``new_data``. The functions
take tensors, arrays, numbers and modules and read no run folder.
``dir.recipe`` draws them into TensorBoard, and ``dir-report`` into its page.
"""

from __future__ import annotations

from dir.figures.density import density_figure, weights_figure
from dir.figures.errors import (
    bin_errors,
    coverage,
    density_correlation,
    error_density_figure,
    reliability_figure,
    residual_figure,
)
from dir.figures.fds import FDSHistory, bin_diagnostics, fds_bins_figure, fds_epochs_figure
from dir.figures.feature_statistics import (
    FeatureStatistics,
    calibrated,
    cosine_similarity_of_bins,
    fds_statistics,
    feature_statistics,
)
from dir.figures.new_data import density_shift_figure
from dir.figures.power import power_figure
from dir.figures.ranks import RankDiagram, critical_difference_figure, rank_groups
from dir.figures.similarity import similarity_figure
from dir.figures.training import training_figure

__all__ = [
    "FDSHistory",
    "FeatureStatistics",
    "RankDiagram",
    "bin_diagnostics",
    "bin_errors",
    "calibrated",
    "cosine_similarity_of_bins",
    "coverage",
    "critical_difference_figure",
    "density_correlation",
    "density_figure",
    "density_shift_figure",
    "error_density_figure",
    "fds_bins_figure",
    "fds_epochs_figure",
    "fds_statistics",
    "feature_statistics",
    "power_figure",
    "rank_groups",
    "reliability_figure",
    "residual_figure",
    "similarity_figure",
    "training_figure",
    "weights_figure",
]
