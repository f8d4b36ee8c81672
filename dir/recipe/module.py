"""The LightningModule of every recipe. It calls the parts of a method by name and never asks which is active."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dir.lds import LDS
from dir.metrics import ShotMetrics

MakeOptimizer = Callable[[Iterator[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class RegressionModule(LightningModule):
    r"""``loss = criterion(model(x, y), (y - offset) / scale, weight=lds(y))``, metrics in raw units.

    Args:
        model: called as ``model(inputs, labels)`` in training and ``model(inputs)`` otherwise, see
            :class:`dir.models.regressor.Regressor`.
        criterion: called as ``criterion(pred, target, weight=weight_or_None)``.
        metrics: shot metrics of the validation labels, in raw units.
        optimizer: makes the optimizer from the trainable parameters.
        scheduler: makes the learning-rate scheduler from the optimizer, stepped every epoch; None for none.
        lds: fitted label distribution smoothing, or None for unweighted losses.
        target_offset, target_scale: the criterion sees ``(label - offset) / scale``, and predictions are
            inverted before metrics. scale > 0.

    State:
        - ``target_offset``, ``target_scale``: 0-dim buffers, so that a checkpoint knows its units.

    Raises:
        ValueError: if ``target_scale`` is not positive.
    """

    target_offset: Tensor
    target_scale: Tensor

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module,
        metrics: ShotMetrics,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        lds: LDS | None = None,
        target_offset: float = 0.0,
        target_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not target_scale > 0:
            raise ValueError(f"target_scale: expected a positive number, got {target_scale}")
        self.model = model
        self.criterion = criterion
        self.metrics = metrics
        self.lds = lds
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self.register_buffer("target_offset", torch.tensor(float(target_offset)))
        self.register_buffer("target_scale", torch.tensor(float(target_scale)))

    def forward(self, inputs: Any) -> Tensor:
        """Predictions in raw units, [N]."""
        output: Tensor = self.model(inputs)
        return output.float() * self.target_scale + self.target_offset

    def training_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        prediction = self.model(inputs, labels)
        target = (labels - self.target_offset) / self.target_scale
        weight = self.lds(labels) if self.lds is not None else None
        loss: Tensor = self.criterion(prediction, target, weight=weight)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> None:
        inputs, labels = batch
        self.metrics.update(self(inputs), labels)

    def on_validation_epoch_end(self) -> None:
        groups = self.metrics.compute()
        self.metrics.reset()
        if not torch.isfinite(groups["all"]["mae"]):
            raise RuntimeError(
                f"training diverged: validation predictions are not finite in epoch {self.current_epoch + 1}; "
                "lower optimizer.lr, set trainer.gradient_clip_val, or look for extreme inputs"
            )
        for group, values in groups.items():
            if values["n"] > 0:
                self.log_dict({f"val/{group}/{name}": value.float() for name, value in values.items()})

    def on_train_epoch_end(self) -> None:
        optimizer = cast("Optimizer", self.optimizers())
        self.log("lr", optimizer.param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        optimizer = self._make_optimizer(p for p in self.parameters() if p.requires_grad)
        if self._make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}
