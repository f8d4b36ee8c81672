"""The callbacks of a run."""

from __future__ import annotations

import math
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from dir.callbacks.lightning import EndEpoch
from dir.fds import FDS
from dir.figures import FDSHistory
from dir.recipe.callbacks import (
    EndsTogether,
    EpochSeed,
    KeepFolder,
    PlainProgress,
    StopEarly,
    TrainingLoss,
)
from dir.recipe.checkpoints import RunCheckpoint
from dir.recipe.light_steps import CallbackGroup
from dir.recipe.module import RegressionModule
from dir.recipe.parts import RunSettings
from dir.recipe.run_folder import RunFolder


class EndRecipeEpoch(EndEpoch):
    """EndEpoch whose diagnostics go to the loggers of a run directly, see :meth:`RegressionModule.log_epoch`.

    For each FDS it adds how far the statistics drift from epoch to epoch.

    Attributes:
        histories: diagnostics of each FDS over the epochs since the start or the resume of the run, by their prefix.
    """

    def __init__(self) -> None:
        self.histories: dict[str, FDSHistory] = {}
        # Those of the last epoch, kept in checkpoints: a resumed run may have no epoch left to train.
        self._last: dict[str, dict[str, float | None]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = self.modules(pl_module).items()
        self.histories = {prefix: FDSHistory(module) for prefix, module in found if isinstance(module, FDS)}

    def last_diagnostics(self) -> dict[str, Any]:
        """Return the entry of metrics.json about FDS: the diagnostics of the last epoch, by prefix and name."""
        return {"fds": self._last} if self._last else {}

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last} if self._last else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._last = state_dict["last"]

    def log_diagnostics(self, pl_module: LightningModule, diagnostics: dict[str, float]) -> None:
        for prefix in {name.rpartition("/")[0] for name in diagnostics} & set(self.histories):
            own = {name.removeprefix(f"{prefix}/"): value for name, value in diagnostics.items()}
            drift = self.histories[prefix].add(own)
            # The first epoch has no drift, and a logger no use for NaN.
            known = {f"{prefix}/{name}": value for name, value in drift.items() if math.isfinite(value)}
            diagnostics = diagnostics | known
            values = {name: one[-1] for name, one in self.histories[prefix].values.items()}
            self._last[prefix] = {name: value if math.isfinite(value) else None for name, value in values.items()}
        cast("RegressionModule", pl_module).log_epoch(diagnostics)


def make_callbacks(settings: RunSettings, folder: RunFolder, ends: EndRecipeEpoch) -> list[Callback]:
    """Return the callbacks of a run: FDS epochs, random state, checkpoints, early stopping and progress.

    Args:
        settings: plain settings of the run.
        folder: folder of the run.
        ends: closes the epochs of FDS.
    """
    monitor = f"val/all/{settings.monitor}"
    on_terminal = settings.show_progress and Console().is_terminal
    small: list[Callback] = [
        KeepFolder(folder),
        TrainingLoss(),
        EpochSeed(settings.seed),
        EndsTogether(),
        *([PlainProgress(monitor)] if settings.show_progress and not on_terminal else []),
    ]
    callbacks: list[Callback] = [
        # Outside of the group: FDS looks for it among the callbacks of the trainer.
        ends,
        CallbackGroup(small),
        # Saves at the end of an epoch, after EndEpoch, or after each validation if validations are counted in steps.
        RunCheckpoint(
            folder.checkpoints,
            "best",
            monitor=monitor,
            mode="min",
            save_weights_only=True,
            enable_version_counter=False,
        ),
        RunCheckpoint(folder.checkpoints, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    if settings.patience is not None:
        callbacks.append(StopEarly(monitor, patience=settings.patience, mode="min", check_on_train_epoch_end=False))
    if on_terminal:
        callbacks.append(RichProgressBar())
    return callbacks
