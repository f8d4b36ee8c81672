"""Shot groups and metrics of the reports made from saved predictions. The module imports no PyTorch."""

from __future__ import annotations

from dir.metrics.table import SHOTS

METRICS = ("mae", "mse", "balanced_mae")
# The shot groups and "all".
GROUPS = ("all", *SHOTS)
