"""Small Lightning callbacks of the recipes: random state by epoch, early stopping, progress without a terminal."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import EarlyStopping

from dir.data.seeds import seed_all


class EpochSeed(Callback):
    """Seeds torch, NumPy and Python at each epoch from (seed, epoch, rank).

    The random state of an epoch then does not depend on what ran before it, and a run that was killed and
    resumed draws the same augmentation and dropout masks as one that was not.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    # Lightning leaves out on_train_epoch_start in the first epoch after some resumes.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seed_all(self.seed, trainer.current_epoch, trainer.global_rank)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seed_all(self.seed, trainer.current_epoch, trainer.global_rank)


class EndsTogether(Callback):
    """SIGTERM ends each of several ranks at once, with the checkpoint of the last epoch that was finished.

    Lightning's own handler broadcasts the signal, and ranks that it meets at different points of a step wait for each
    other for ever. On gloo a rank that waits for one that has ended loses the connection, and ends as well. What
    requeues SLURM's jobs is Lightning's and stays as it is; so does the end of a single process.
    """

    # Between the signal and the end of a process that did not get there by itself.
    grace = 10.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._before = signal.getsignal(signal.SIGTERM)  # Lightning adds its own behind this

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        environment = getattr(trainer.strategy, "cluster_environment", None)
        requeued = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
        if trainer.world_size < 2 or requeued or threading.current_thread() is not threading.main_thread():
            return

        def end(number: int, frame: Any) -> None:
            signal.signal(number, signal.SIG_IGN)  # once is enough:
            last = threading.Timer(self.grace, os._exit, [1])  # an exception raised here may get lost
            last.daemon = True
            last.start()
            launcher: Any = trainer.strategy.launcher
            if launcher is not None:  # the other ranks are this one's children
                launcher.kill(number)
            if callable(self._before):
                self._before(number, frame)
            raise SystemExit(1)

        signal.signal(signal.SIGTERM, end)  # Lightning puts the one from before the training back


class StopEarly(EarlyStopping):
    """Early stopping that stays stopped: a run killed after its last epoch does not train on when it is resumed."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class PlainProgress(Callback):
    """One line per epoch, for logs and pipes where a progress bar would only be noise."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            shown = [
                f"{k} {trainer.callback_metrics[k]:.4f}"
                for k in ("train/loss", self.monitor)
                if k in trainer.callback_metrics
            ]
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {'  '.join(shown)}", flush=True)
