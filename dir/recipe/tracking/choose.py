"""Which log belongs to which logger."""

from __future__ import annotations

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from dir.recipe.tracking.mlflow_logger import MLflowLog, MLflowLogger
from dir.recipe.tracking.run_log import CSVLog, RunLog, TensorBoardLog, WandbLog


def run_log(logger: Logger | None) -> RunLog | None:
    """Return the log of a run for its logger; None for a run without a logger."""
    if logger is None:
        return None
    kinds: dict[type[Logger], type[RunLog]] = {
        TensorBoardLogger: TensorBoardLog,
        CSVLogger: CSVLog,
        WandbLogger: WandbLog,
        MLflowLogger: MLflowLog,
    }
    return next((log for kind, log in kinds.items() if isinstance(logger, kind)), RunLog)(logger)
