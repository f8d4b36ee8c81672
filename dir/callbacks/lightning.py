"""Lightning callback that ends the epoch of FDS, SRL and every other module with an ``end_epoch`` method."""

from __future__ import annotations

from typing import Protocol, cast

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from dir.fds import FDS


class _EpochModule(Protocol):
    """Module that collects during an epoch and updates its state in ``end_epoch``."""

    def end_epoch(self, process_group: dist.ProcessGroup | None = None) -> dict[str, float]:
        """End the epoch over all ranks and return diagnostics, which may be empty."""


class EndEpoch(Callback):
    """Call ``end_epoch()`` of every submodule that has the method, and log the returned diagnostics.

    The callback runs at the end of each training epoch. Lightning runs checkpoint callbacks after all others, so
    every checkpoint contains closed epochs. On several ranks, all ranks close the epoch together and log the same
    values.

    The diagnostics of an FDS module are logged as ``fds/<name>``, or as ``fds/<module path>/<name>`` if the model has
    several FDS modules. The diagnostics of any other module are logged as ``<module path>/<name>``.

    The callback does not call an ``end_epoch`` method of the LightningModule itself. ``FDSCallback`` is another name
    of this class.

    Raises:
        RuntimeError: an FDS module collected nothing during the epoch, because the module was in eval mode or the
            model called ``fds(features)`` without labels.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[EndEpoch()], logger=False, barebones=True)
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for prefix, module in self.modules(pl_module).items():
            diagnostics = cast("_EpochModule", module).end_epoch()
            self.log_diagnostics(pl_module, {f"{prefix}/{key}": value for key, value in diagnostics.items()})

    @staticmethod
    def modules(pl_module: LightningModule) -> dict[str, nn.Module]:
        """Return the modules whose epochs the callback ends, by the prefix of their diagnostics."""
        # Look the method up on the class: a wrapper such as torch.compile's forwards attributes to the wrapped
        # module, which would be closed twice.
        found = {
            name: module
            for name, module in pl_module.named_modules()
            if name and callable(getattr(type(module), "end_epoch", None))
        }
        several = sum(isinstance(module, FDS) for module in found.values()) > 1
        return {
            name if not isinstance(module, FDS) else f"fds/{name}" if several else "fds": module
            for name, module in found.items()
        }

    def log_diagnostics(self, pl_module: LightningModule, diagnostics: dict[str, float]) -> None:
        """Log the diagnostics of one module with ``log_dict``. Override the method to write them elsewhere."""
        pl_module.log_dict(diagnostics)


FDSCallback = EndEpoch
