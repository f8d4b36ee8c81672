"""The parts of one run: the objects built from its config, and the plain settings that later steps read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hydra.utils import instantiate
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from torch import Tensor

from dir._checks import message
from dir.bins import LabelBins
from dir.data.base import RegressionData
from dir.posthoc import Correction
from dir.recipe.cost import cost_settings
from dir.recipe.module import RegressionModule

Made = TypeVar("Made")


@dataclass(frozen=True)
class RunSettings:
    """Plain settings of a run that its training, its tables and metrics.json need.

    Args:
        name: name of the experiment.
        seed: seed of the run.
        unit: unit of the label, shown in tables and figures.
        monitor: metric of all validation samples whose lowest value marks the best epoch, such as ``"mae"``.
        resume: whether an interrupted run is resumed, and from which checkpoint: ``"previous"`` names the one before
            the last.
        best: ``"recompute"`` chooses best.ckpt of a resumed run again among its checkpoints; None requires the file.
        checkpoint_every_seconds: seconds between two writes of the same checkpoint file, at least.
        patience: validations without improvement before the training stops; None trains all epochs.
        show_progress: whether the run shows its epochs while it trains.
        encoder_checkpoint: checkpoint of another run whose encoder a second stage starts from; or None.
        encoder_of_last_epoch: whether a second stage starts from the last epoch of its first stage, not its best.
        shots: arguments of the shot groups, such as ``many`` and ``few``; see :class:`dir.metrics.ShotMetrics`.
        power_objective: metric of the validation split that chooses the power of the head after training; or None.
        cost: settings of the cost of the run, for metrics.json; or None. With a cost, ``monitor`` is "cost".
        figures: "end" draws figures into the TensorBoard log at the start and the end of the run, a number N also
            every N epochs; None draws none.
        density_kernel: ``kernel_size`` and ``sigma`` of the effective density in the figure of a run without LDS.
    """

    name: str
    seed: int
    unit: str
    monitor: str
    resume: bool | str = False
    best: str | None = None
    checkpoint_every_seconds: float = 0.0
    patience: int | None = None
    show_progress: bool = True
    encoder_checkpoint: str | None = None
    encoder_of_last_epoch: bool = False
    shots: dict[str, Any] = field(default_factory=dict)
    power_objective: str | None = None
    cost: dict[str, Any] | None = None
    figures: str | int | None = "end"
    density_kernel: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_config(cls, cfg: DictConfig) -> RunSettings:
        """Return the plain settings of a composed config, see configs/train.yaml."""
        retrain = cfg.method.retrain
        return cls(
            name=cfg.name,
            seed=cfg.seed,
            unit=cfg.task.unit,
            monitor=cfg.task.monitor if cfg.get("cost") is None else "cost",
            resume=cfg.resume,
            best=cfg.get("best"),
            # A run of an earlier version has no such setting.
            checkpoint_every_seconds=cfg.get("checkpoint_every_seconds", 0.0),
            patience=cfg.early_stopping.patience,
            show_progress=cfg.trainer.enable_progress_bar,
            encoder_checkpoint=None if retrain is None else retrain.checkpoint,
            encoder_of_last_epoch=retrain is not None and retrain.features_only,
            shots=instantiate(cfg.task.shots, _convert_="all"),
            power_objective=cfg.method.get("power_objective"),
            cost=cost_settings(cfg),
            figures=cfg.get("figures", "end"),
            density_kernel={"kernel_size": cfg.task.lds.kernel_size, "sigma": cfg.task.lds.sigma},
        )


@dataclass(frozen=True)
class Parts:
    """All that a run needs after :func:`dir.recipe.build.build`; its config is not read again.

    Args:
        data: data module, set up.
        module: module to train on the data.
        bins_by_target: label bins of the task, for each target.
        counts_by_target: number of training labels in each bin, int64 [num_bins], for each target.
        settings: plain settings of the run.
        make_trainer: returns the Lightning Trainer, called with its logger, callbacks and plugins.
        make_logger: returns the logger, called with ``save_dir``; None where the run has no logger.
        correction: post-hoc correction, which the evaluation fits on the validation predictions; or None.
        architecture: settings that the encoder and the head were built from, for the model bundle.
    """

    data: RegressionData
    module: RegressionModule
    bins_by_target: tuple[LabelBins, ...]
    counts_by_target: tuple[Tensor, ...]
    settings: RunSettings
    make_trainer: Callable[..., Trainer]
    make_logger: Callable[..., Logger] | None
    correction: Correction | None = None
    architecture: dict[str, Any] = field(default_factory=dict)

    @property
    def bins(self) -> LabelBins:
        """Label bins of a run with one target."""
        (bins,) = self.bins_by_target
        return bins

    @property
    def counts(self) -> Tensor:
        """Number of training labels in each bin, int64 [num_bins], of a run with one target."""
        (counts,) = self.counts_by_target
        return counts

    def trainer(self, **arguments: Any) -> Trainer:
        """Return the trainer.

        Raises:
            ValueError: Lightning refuses a setting, such as the name of an accelerator.
        """
        return _made("trainer", self.make_trainer, arguments)

    def logger(self, save_dir: str) -> Logger | None:
        """Return the logger, or None where the run has no logger.

        Raises:
            ModuleNotFoundError: the package of the logger is missing.
            ValueError: the logger refuses a setting.
        """
        return make_logger(self.make_logger, save_dir)


def logger_of(cfg: DictConfig) -> Callable[..., Logger] | None:
    """Return what makes the logger of a config, called with ``save_dir``; None where the run has no logger."""
    return instantiate(cfg.logger, _convert_="all", _partial_=True) if cfg.logger else None


def make_logger(make: Callable[..., Logger] | None, save_dir: str) -> Logger | None:
    """Return the logger that :func:`logger_of` prepared; see :meth:`Parts.logger`."""
    return None if make is None else _made("logger", make, {"save_dir": save_dir})


def _made(key: str, make: Callable[..., Made], arguments: dict[str, Any]) -> Made:
    """Call a class of another package; its refusal becomes an error that names the config key."""
    try:
        return make(**arguments)
    except ImportError as error:
        raise ModuleNotFoundError(message(key, f"a package is missing ({error})", advice="Install it.")) from error
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise ValueError(message(key, str(error).rstrip("."))) from error
