"""What a run writes to its logger: TensorBoard, csv, MLflow or W&B.

Reading order: ``facts`` (settings, numbers and tags of a run), ``run_log`` (what every logger takes, and what
TensorBoard, csv and W&B take in their own way), ``mlflow_logger`` (MLflow), ``choose`` (the log of a
logger), ``closed`` (a service that is gone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.recipe.tracking.closed import neptune as neptune
    from dir.recipe.tracking.mlflow_logger import MLflowLogger as MLflowLogger

_HOMES = {"MLflowLogger": "mlflow_logger", "neptune": "closed"}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
