"""Stops a run whose loss explodes, and says where."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn


class ExplodingLoss(Callback):
    """Raises RuntimeError for a loss that is not finite, with epoch, step, and the batch's labels and weights.

    The first such step is kept on the device, and looked at every step on the CPU, elsewhere every ``every`` steps
    and at the end of an epoch: looking waits for the device. The loss is checked, not the gradients: those that a
    gradient scaler skips are its own business.

    Args:
        every: steps between two looks where the loss is not on the CPU.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
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
        if loss.device.type == "cpu" or batch_idx % self.every == self.every - 1:
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
