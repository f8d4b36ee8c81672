"""One training run from config to metrics.json; readable from top to bottom."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import DictConfig
from rich.console import Console

from dir.callbacks.lightning import FDSCallback
from dir.lds import LDS
from dir.recipe.build import Parts, build, instantiate_with, last_stage
from dir.recipe.callbacks import EndsTogether, EpochSeed, ExplodingLoss, PlainProgress, StopEarly
from dir.recipe.checkpoints import AtomicCheckpointIO, RunCheckpoint, check_resumable
from dir.recipe.compatibility import check
from dir.recipe.evaluate import evaluate_splits, finish_run, load_weights
from dir.recipe.export_bundle import save_network
from dir.recipe.figures import density_figure
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.settings import check_settings
from dir.recipe.sklearn_estimators import fit_estimator
from dir.recipe.two_stage import first_checkpoint, first_folder, first_results, first_stage, load_encoder, predicts


def train(cfg: DictConfig, folder: RunFolder, facts: dict[str, Any]) -> float:
    """Trains, evaluates the best epoch on val and test, and leaves everything in the run folder.

    Args:
        cfg: composed config, see configs/train.yaml.
        folder: where to write; everything is checked before anything is written.
        facts: what else metrics.json should say about the run, such as the method's name.

    Returns:
        The best epoch's ``val/all/<monitor>``.

    Raises:
        RuntimeError: if the folder holds a finished run, or an unfinished one and ``resume`` is false, or another
            run works in it; if the training diverges; if the disk is full.
        ValueError, FileNotFoundError: for settings or data that a run cannot be made of.
        SystemExit: after Ctrl-C or SIGTERM, saying how to go on. One of several processes says so and ends there.
    """
    try:
        return _train(cfg, folder, facts)
    except OSError as error:
        explained = folder.explain(error)
        if explained is None:
            raise
        raise explained from error
    finally:
        folder.release()


def _train(cfg: DictConfig, folder: RunFolder, facts: dict[str, Any]) -> float:
    quiet_lightning()
    check_settings(cfg)
    check(cfg)
    monitor = f"val/all/{cfg.task.monitor}"
    # Only the first process sees the folder as it was; the others come when it is in use.
    main_process = _rank() == 0
    if main_process:
        folder.check(cfg.resume)
        folder.check_config(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.method.estimator is not None:
        # An estimator of scikit-learn has no use for further processes.
        return fit_estimator(cfg, folder, facts) if main_process else float("nan")
    parts = build(cfg)
    retrain, stage = cfg.method.retrain, last_stage(cfg)
    if retrain is not None and retrain.checkpoint is not None:
        load_encoder(parts, Path(retrain.checkpoint))
    first = retrain is not None and retrain.checkpoint is None
    logger: Logger | None = instantiate_with(cfg.logger, save_dir=str(folder.path)) if cfg.logger else None
    trainer = make_trainer(stage, logger or False, callbacks(stage, folder, monitor))
    # The first stage goes on from its own checkpoints.
    resume_from = None if first and not first_folder(folder).finished else folder.resume_from(cfg.resume)
    if resume_from is not None:
        check_resumable(resume_from, parts.module)
    check_optimizer(parts.module)

    if main_process:
        folder.start(cfg)
        log_density(cfg, parts, logger)
    if first:
        if not first_folder(folder).finished:
            train(first_stage(cfg), first_folder(folder), facts)
            # The first process evaluates and writes while the others are done.
            trainer.strategy.barrier()
        load_encoder(parts, first_checkpoint(cfg, folder))
    began = time.perf_counter()
    try:
        trainer.fit(parts.module, datamodule=parts.data, ckpt_path=resume_from and str(resume_from))
    except SystemExit:
        # After Ctrl-C or SIGTERM Lightning ends the process without a word on how to go on.
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        _leave(folder, trainer)
    seconds = time.perf_counter() - began
    if not trainer.is_global_zero:
        return float("nan")

    best_epoch = load_weights(parts.module, folder.best_or_last)
    progress: Any = trainer.fit_loop.epoch_progress.current  # its type is declared too narrow
    epochs = progress.processed  # also right where a resumed run had nothing to do
    device = trainer.strategy.root_device
    splits, test = evaluate_splits(parts, device)
    if logger is not None:
        numbers = {
            f"test/{group}/{name}": value
            for group, values in splits["test"].items()
            for name, value in values.items()
            if value is not None
        }
        logger.log_metrics(numbers, step=trainer.global_step)
        logger.finalize("success")
    if predicts(cfg):
        save_network(cfg, folder.model, parts, splits)
    return finish_run(
        cfg,
        folder,
        facts | (first_results(folder) if first else {}),
        splits,
        test,
        seconds,
        device.type,
        {"epochs": epochs, "best_epoch": best_epoch},
        table=predicts(cfg),
    )


def _leave(folder: RunFolder, trainer: Trainer) -> NoReturn:
    """Ends an interrupted run and says how to go on with it."""
    if trainer.world_size < 2:
        raise SystemExit(folder.how_to_go_on())
    if trainer.is_global_zero:
        print(folder.how_to_go_on(), file=sys.stderr)
    folder.release()
    sys.stdout.flush()
    sys.stderr.flush()
    # An orderly end of the interpreter waits for collectives that ranks which have ended will never join.
    os._exit(1)


def callbacks(cfg: DictConfig, folder: RunFolder, monitor: str) -> list[Callback]:
    """FDS epochs, repeatable random state, checkpoints, early stopping and progress."""
    found: list[Callback] = [
        FDSCallback(),
        EpochSeed(cfg.seed),
        ExplodingLoss(),
        EndsTogether(),
        # At an epoch's end, after the FDS callback, or after each validation where those are counted in steps.
        RunCheckpoint(
            folder.checkpoints,
            "best",
            monitor=monitor,
            mode="min",
            save_weights_only=True,
            enable_version_counter=False,
        ),
        RunCheckpoint(folder.checkpoints, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    if cfg.early_stopping.patience is not None:
        found.append(
            StopEarly(monitor, patience=cfg.early_stopping.patience, mode="min", check_on_train_epoch_end=False)
        )
    if cfg.trainer.enable_progress_bar:
        found.append(RichProgressBar() if Console().is_terminal else PlainProgress(monitor))
    return found


def make_trainer(cfg: DictConfig, logger: Logger | bool, callbacks: list[Callback]) -> Trainer:
    """The Lightning Trainer of the config."""
    bar = any(isinstance(callback, RichProgressBar) for callback in callbacks)
    trainer: Trainer = instantiate_with(
        cfg.trainer,
        logger=logger,
        callbacks=callbacks,
        enable_progress_bar=bar,
        plugins=[AtomicCheckpointIO()],
    )
    return trainer


def check_optimizer(module: RegressionModule) -> None:
    """Raises ValueError if optimizer or scheduler refuse their settings, which else shows when files are there."""
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ValueError(f"optimizer, scheduler: {error}") from error


def log_density(cfg: DictConfig, parts: Parts, logger: Logger | None) -> None:
    """Label density with its effective density; by the task's own LDS setting where the method has none."""
    if not isinstance(logger, TensorBoardLogger):
        return
    lds = parts.module.lds
    if not isinstance(lds, LDS):
        lds = LDS(parts.bins, kernel_size=cfg.task.lds.kernel_size, sigma=cfg.task.lds.sigma)
        lds.fit_counts(parts.counts)
    logger.experiment.add_figure("label density", density_figure(parts.bins, lds, cfg.task.unit))


def quiet_lightning() -> None:
    """Silences what Lightning says in every run and what nothing can be done about."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.accelerators.cuda").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # our datasets are in memory: workers would slow them down
        ".*smaller than the logging interval.*",  # we log by epoch
        ".*treespec, LeafSpec.*",  # Lightning's own use of torch
        r".*recommended to use `self\.log\(.*sync_dist=True.*",  # metrics and diagnostics are of all processes
        r".*module\(s\) in eval mode.*",  # the frozen encoder of a second stage
        ".*Checkpoint directory .* exists and is not empty.*",  # resumed
        ".*Experiment logs directory .* exists and is not empty.*",  # resumed; what it would remove was renamed
    ):
        warnings.filterwarnings("ignore", message=message)


def _rank() -> int:
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)
