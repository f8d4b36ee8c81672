"""The table of the metrics that runs report: name, function, better direction, and whether a run may monitor it.

``ShotMetrics`` reads from it which metrics to compute, ``dir.compare`` reads which direction is better, and the
recipes read which metrics may choose the best epoch. The module imports neither torch nor torchmetrics.

To add a metric, write its function in ``dir/metrics/functional`` and add a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricInfo:
    """One row of the table.

    Args:
        name: key of the metric in ``ShotMetrics``, in metrics.json and in the tables.
        function: its function in :mod:`dir.metrics.functional`.
        description: one line for tables and documentation.
        better: "lower" or "higher", or "nearest" for a metric whose best value is ``best``.
        best: best value of a metric with ``better="nearest"``.
        by_shot: whether :class:`~dir.metrics.ShotMetrics` computes it from predictions and labels. The other metrics
            need predicted variances, the importance of each row, or a cost.
        default: whether ``ShotMetrics`` computes it without being asked. The others are named in ``metrics``.
        unit_power: power of the label's unit in which the value is given. The mean over several targets divides the
            value by that power of the scale of a target.
        monitored: whether the value on the validation set may choose the best epoch of a run. The lowest value wins,
            so ``better`` must be "lower".
    """

    name: str
    function: str
    description: str
    better: Literal["lower", "higher", "nearest"] = "lower"
    best: float | None = None
    by_shot: bool = True
    default: bool = True
    monitored: bool = False
    unit_power: int = 1


TABLE = (
    MetricInfo("mae", "mae", "mean absolute error", monitored=True),
    MetricInfo("mse", "mse", "mean squared error", monitored=True, unit_power=2),
    MetricInfo("gm", "geometric_mean", "geometric mean of the absolute errors", monitored=True),
    MetricInfo("pearson", "pearson", "Pearson correlation of predictions and labels", "higher", unit_power=0),
    MetricInfo("spearman", "spearman", "Spearman rank correlation of predictions and labels", "higher", unit_power=0),
    MetricInfo("balanced_mae", "balanced_mae", "mean over the label bins of each bin's MAE", monitored=True),
    MetricInfo("nll", "gaussian_nll", "Gaussian negative log-likelihood of the labels", by_shot=False),
    MetricInfo(
        "coverage90",
        "interval_coverage",
        "share of labels inside the 90 % interval",
        "nearest",
        0.9,
        by_shot=False,
        unit_power=0,
    ),
    MetricInfo("ause", "ause", "area under the sparsification error curve", by_shot=False),
    MetricInfo("cost", "mean_cost", "mean cost in your units, by the cost of the run", by_shot=False),
    MetricInfo("weighted_cost", "mean_cost", "mean cost, weighted by importance", by_shot=False),
    MetricInfo("weighted_mae", "mean_cost", "mean absolute error, weighted by importance", by_shot=False),
    MetricInfo(
        "weighted_mse", "mean_cost", "mean squared error, weighted by importance", by_shot=False, unit_power=2
    ),
    MetricInfo("rmse", "rmse", "root of the mean squared error", default=False),
    MetricInfo(
        "abs_rel",
        "abs_rel",
        "mean absolute error relative to the label, over labels above 0",
        default=False,
        unit_power=0,
    ),
    MetricInfo(
        "delta1",
        "delta1",
        "share of predictions within a factor of 1.25 of labels above 0",
        "higher",
        default=False,
        unit_power=0,
    ),
)

# Shot groups, from frequent to missing labels.
SHOTS = ("many", "median", "few", "zero")
REPORTED = tuple(info.name for info in TABLE)
# The metrics that ShotMetrics can compute, and those that it computes by default.
BY_SHOT = tuple(info.name for info in TABLE if info.by_shot)
METRICS = tuple(info.name for info in TABLE if info.by_shot and info.default)
MONITORS = tuple(info.name for info in TABLE if info.monitored)
HIGHER_IS_BETTER = tuple(info.name for info in TABLE if info.better == "higher")
# Best value of each metric for which neither lower nor higher is better.
BEST_AT = {info.name: info.best for info in TABLE if info.best is not None}
