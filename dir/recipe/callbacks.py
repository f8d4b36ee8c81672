"""Small Lightning callbacks of the recipes: random state by epoch, early stopping, progress without a terminal."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

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


# Steps between two looks at a loss that is not on the CPU.
EVERY = 50


def due(device: torch.device, step: int) -> bool:
    """Whether to look at the loss after this step, counted from 0: elsewhere than on the CPU, looking waits."""
    return device.type == "cpu" or step % EVERY == EVERY - 1


class ExplodingLoss(Callback):
    """Raises RuntimeError for a loss that is not finite, with epoch, step, and the batch's labels and weights.

    The first such step is kept on the device, and looked at when it is :func:`due` and at the end of an epoch. The
    loss is checked, not the gradients: those that a gradient scaler skips are its own business.
    """

    def __init__(self) -> None:
        # Step, and lowest and highest label and weight of the batch; the step is -1 as long as all is well.
        self._first: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss, labels = outputs["loss"].detach(), batch[1]
        lds: nn.Module | None = getattr(pl_module, "lds", None)
        weights = torch.ones_like(labels) if lds is None else lds(labels)
        if self._first is None or self._first.device != loss.device:
            self._first = torch.full((5,), -1.0, device=loss.device)
        step = torch.full((), batch_idx, dtype=labels.dtype, device=labels.device)
        now = torch.stack([step, *labels.aminmax(), *weights.aminmax()]).to(self._first)
        exploded = ~torch.isfinite(loss) & (self._first[0] < 0)
        self._first = torch.where(exploded, now, self._first)
        if due(loss.device, batch_idx):
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if self._first is None:
            return
        step, *ranges = self._first.tolist()
        if step >= 0:
            low, high, lightest, heaviest = ranges
            raise RuntimeError(
                f"training diverged: the loss is not finite in epoch {trainer.current_epoch + 1}, "
                f"step {int(step) + 1}; labels of that batch {low:g} to {high:g}, weights {lightest:g} to "
                f"{heaviest:g}. Lower optimizer.lr, set trainer.gradient_clip_val or method.lds.max_weight, or look "
                "for extreme inputs"
            )
