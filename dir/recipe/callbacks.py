"""Lightning callbacks of the recipes: random state by epoch, early stopping, interrupts and progress lines."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from dir.data.seeds import seed_all
from dir.recipe.diverged import DivergedError
from dir.recipe.run_folder import RunFolder

if TYPE_CHECKING:
    from dir.recipe.module import RegressionModule


class KeepFolder(Callback):
    """Keep the run folder once the run has trained a step.

    A run that fails earlier leaves no folder behind, see :meth:`dir.recipe.run_folder.RunFolder.in_use`.

    Args:
        folder: folder of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.folder.keep()


class EpochSeed(Callback):
    """Seed torch, NumPy and Python at each epoch from (seed, epoch, rank).

    The random state of an epoch then depends on nothing that ran before the epoch. A run that was killed and resumed
    draws the same augmentation and dropout masks as an uninterrupted one.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    # After some resumes, Lightning does not call on_train_epoch_start in the first epoch.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seed_all(self.seed, trainer.current_epoch, trainer.global_rank)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seed_all(self.seed, trainer.current_epoch, trainer.global_rank)


class EndsTogether(Callback):
    """End every one of several ranks at once on SIGTERM; the checkpoint of the last finished epoch stays.

    Lightning's own handler broadcasts the signal, and ranks that receive it at different points of a step wait for
    each other for ever. On gloo, a rank that waits for an ended rank loses the connection and ends as well. The
    callback changes neither the requeueing of SLURM jobs nor the end of a single process.
    """

    # Seconds between the signal and the forced end of a process that has not ended by itself.
    grace = 10.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning adds its own handler after this call.
        self._before = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        environment = getattr(trainer.strategy, "cluster_environment", None)
        requeued = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
        if trainer.world_size < 2 or requeued or threading.current_thread() is not threading.main_thread():
            return

        def end(number: int, frame: Any) -> None:
            # Ignore further signals: an exception raised in a second handler may get lost.
            signal.signal(number, signal.SIG_IGN)
            forced = threading.Timer(self.grace, os._exit, [1])
            forced.daemon = True
            forced.start()
            launcher: Any = trainer.strategy.launcher
            if launcher is not None:  # the other ranks are children of this process
                launcher.kill(number)
            if callable(self._before):
                self._before(number, frame)
            raise SystemExit(1)

        # Lightning restores the handler from before the training.
        signal.signal(signal.SIGTERM, end)


class StopEarly(EarlyStopping):
    """Early stopping that survives a resume: a run killed after its last epoch does not train on."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class PlainProgress(Callback):
    """Print a line per epoch, for logs and pipes.

    Args:
        monitor: name of the logged metric that the line shows beside the training loss.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            found = {**trainer.callback_metrics, **cast("RegressionModule", pl_module).epoch_values}
            shown = [f"{name} {found[name]:.4f}" for name in ("train/loss", self.monitor) if name in found]
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {'  '.join(shown)}", flush=True)


class Watch(Callback):
    """Give the metrics of each validation to a function, which may end the training by an exception.

    Args:
        see: called with the epoch, counted from 0, or with the number of training steps where a run validates by
            steps; and with the metrics, such as ``"val/few/mae"``. A group without validation labels has none.
    """

    def __init__(self, see: Callable[[int, dict[str, float]], None]) -> None:
        self.see = see

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        by_steps = trainer.check_val_every_n_epoch is None or trainer.val_check_interval != 1.0
        step = trainer.global_step if by_steps else trainer.current_epoch
        values = cast("RegressionModule", pl_module).validated
        self.see(step, {name: float(value) for name, value in values.items()})


# Steps between two checks of a loss that is not on the CPU.
EVERY = 50


def should_check(device: torch.device, step: int) -> bool:
    """Whether to check the loss after this step, counted from 0.

    Every step is checked on the CPU. On other devices a check waits for the device, so only every 50th step is.
    """
    return device.type == "cpu" or step % EVERY == EVERY - 1


class TrainingLoss(Callback):
    """Log the mean loss of each epoch as ``train/loss``, and raise a RuntimeError for a loss that is not finite.

    The mean weighs each batch by its rows. The callback keeps a running sum and logs once per epoch. Lightning's
    ``log`` takes as long as an evaluation of a small network, and is called for a progress bar alone.

    The error names epoch, step, labels and weights. On the CPU each loss is read. Another device records the first
    step whose loss is not finite; the record is read where :func:`should_check` says so, and at the end of each
    epoch. The callback checks the loss and not the gradients: a gradient scaler skips infinite gradients by design.
    """

    def __init__(self) -> None:
        # Step, lowest and highest label, lowest and highest weight of the batch. The step is -1 while all is well.
        self._first: Tensor | None = None
        self._sum: Tensor | None = None
        self._rows = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning has divided the loss by the number of accumulated batches.
        loss: Tensor = outputs["loss"]
        rows = len(batch[1])
        weighted = loss * (rows * trainer.accumulate_grad_batches)
        self._sum = weighted if self._sum is None else self._sum + weighted
        self._rows += rows
        if loss.device.type == "cpu" and math.isfinite(loss.item()):
            return
        self._record(loss, batch[1], getattr(pl_module, "lds", None), batch_idx)
        if should_check(loss.device, batch_idx):
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)
        if self._sum is not None:
            mean = self._sum / self._rows
            if trainer.progress_bar_callback is not None:
                pl_module.log("train/loss", mean, prog_bar=True, logger=False)
            cast("RegressionModule", pl_module).log_epoch({"train/loss": mean})
        self._sum, self._rows = None, 0

    def _record(self, loss: Tensor, labels: Tensor, lds: nn.Module | None, step: int) -> None:
        weights = torch.ones_like(labels) if lds is None else lds(labels)
        if self._first is None or self._first.device != loss.device:
            self._first = torch.full((5,), -1.0, device=loss.device)
        number = torch.full((), step, dtype=labels.dtype, device=labels.device)
        now = torch.stack([number, *labels.aminmax(), *weights.aminmax()]).to(self._first)
        exploded = ~torch.isfinite(loss) & (self._first[0] < 0)
        self._first = torch.where(exploded, now, self._first)

    def _check(self, trainer: Trainer) -> None:
        if self._first is None:
            return
        step, *ranges = self._first.tolist()
        if step >= 0:
            low, high, lightest, heaviest = ranges
            raise DivergedError(
                f"Training diverged: the loss is not finite in epoch {trainer.current_epoch + 1}, "
                f"step {int(step) + 1}. The labels of that batch are {low:g} to {high:g}, its weights "
                f"{lightest:g} to {heaviest:g}. Lower optimizer.lr, set trainer.gradient_clip_val or "
                "method.lds.max_weight, or look for extreme inputs."
            )
