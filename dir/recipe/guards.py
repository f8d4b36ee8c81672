"""Stops a run whose loss explodes, and says where."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

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
