"""The Lightning adapter of FDS."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from dir.fds import FDS


class FDSCallback(Callback):
    """Closes the epoch of every FDS module of a LightningModule, and logs what it found.

    Runs at the end of each training epoch, before the checkpoint callbacks (Lightning runs those last), so that
    a checkpoint holds closed epochs. Diagnostics are logged as ``fds/<name of the diagnostic>``, or
    ``fds/<module path>/<name>`` where there are several FDS modules. An FDS that collected nothing all epoch (in eval
    mode, or behind a model that never gives it labels) raises, as ``end_epoch`` does. On several processes all close
    the epoch together, with one all-reduce for each module, and log the same numbers.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[FDSCallback()], logger=False, barebones=True)
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = {name: module for name, module in pl_module.named_modules() if isinstance(module, FDS)}
        for name, fds in found.items():
            prefix = "fds" if len(found) == 1 else f"fds/{name}"
            diagnostics = fds.end_epoch()
            pl_module.log_dict({f"{prefix}/{key}": value for key, value in diagnostics.items()})
