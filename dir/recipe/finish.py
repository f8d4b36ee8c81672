"""The end of a run: its predictions and metrics are written, and its tables are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from dir.recipe.parts import RunSettings
from dir.recipe.predictions import Results
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import commit
from dir.recipe.summary import print_summary


@dataclass(frozen=True)
class Training:
    """How a run was trained.

    Args:
        seconds: time that the training took.
        device: type of the device, such as ``"cpu"``.
        epochs: ``epochs`` and ``best_epoch``; empty for estimators, which have no epochs.
    """

    seconds: float
    device: str
    epochs: dict[str, int]


def finish_run(
    folder: RunFolder,
    settings: RunSettings,
    training: Training,
    results: Results,
    arrays: dict[str, NDArray[Any]],
    run_info: dict[str, Any],
    print_tables: bool = True,
) -> float:
    """Write predictions.npz and metrics.json, and print the tables of the run.

    Args:
        folder: run folder.
        settings: plain settings of the run.
        training: how the run was trained.
        results: metrics and predictions of val and test.
        arrays: arrays of predictions.npz, see :func:`dir.recipe.prediction_file.prediction_arrays`.
        run_info: further entries of metrics.json about the run, such as the method's name.
        print_tables: False where the predictions mean nothing, so that a table would mislead.

    Returns:
        ``val/all/<monitor>``.
    """
    run = (
        run_info
        | results.fitted
        | {"name": settings.name, "seed": settings.seed}
        | training.epochs
        | {
            "seconds": round(training.seconds, 2),
            "device": training.device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "commit": commit(),
        }
    )
    folder.finish({**results.metrics, "run": run}, arrays)
    if print_tables:
        print_summary(results.metrics, settings.unit)
    epochs = training.epochs
    best = f"best epoch {epochs['best_epoch']} of {epochs['epochs']}, " if epochs else ""
    print(f"{best}{training.seconds:.1f} s, written to {folder.path}")
    value = results.metrics["val"]["all"][settings.monitor]
    return float("nan") if value is None else float(value)
