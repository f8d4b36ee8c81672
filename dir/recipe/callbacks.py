"""Small Lightning callbacks of the recipes: random state by epoch, early stopping, progress without a terminal."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer
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
