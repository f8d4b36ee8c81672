"""One training run from config to metrics.json, readable from top to bottom."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from dir._checks import message
from dir.data.base import RegressionData
from dir.data.describe import describe_bins, format_description
from dir.models.members import MemberLoss
from dir.recipe.best_checkpoint import check_best, recompute_best
from dir.recipe.build import SetUp
from dir.recipe.checkpoints import AtomicCheckpointIO, RunCheckpoint
from dir.recipe.compatibility import check
from dir.recipe.evaluate import load_weights
from dir.recipe.export_bundle import save_network
from dir.recipe.finish import Training, finish_run
from dir.recipe.light_steps import quick_cuda_check, skip_profiling
from dir.recipe.module import RegressionModule
from dir.recipe.parts import Parts
from dir.recipe.prediction_file import prediction_arrays, prior_arrays
from dir.recipe.predictions import evaluate_splits
from dir.recipe.quiet import quiet_lightning
from dir.recipe.resume import check_resumable
from dir.recipe.run_callbacks import EndRecipeEpoch, make_callbacks
from dir.recipe.run_data import DataRecord, check_same_data, record_of
from dir.recipe.run_figures import EveryNEpochs, end_figures, start_figures
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import settings_info
from dir.recipe.settings import check_arguments, check_settings
from dir.recipe.sklearn_estimators import build_estimators
from dir.recipe.tracking.choose import run_log
from dir.recipe.tracking.facts import RunFacts
from dir.recipe.tracking.run_log import RunLog
from dir.recipe.trial_forward import check_float64_labels
from dir.recipe.two_stage import NoLoss, Stage, build_stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def train(
    cfg: DictConfig,
    folder: RunFolder,
    run_info: dict[str, Any],
    set_up: SetUp = RegressionData.setup,
    callbacks: Sequence[Callback] = (),
) -> float:
    """Train, evaluate the best epoch on val and test, and write everything to the run folder.

    Args:
        cfg: composed config, see configs/train.yaml.
        folder: run folder; everything is checked before anything is written.
        run_info: further entries of metrics.json about the run, such as the method's name.
        set_up: sets the data module up. With :meth:`RegressionData.close_test` a search trains without test rows,
            and metrics.json has no test metrics.
        callbacks: further callbacks of Lightning, in the last stage of the run.

    Returns:
        The best epoch's ``val/all/<monitor>``; NaN on every process but the first.

    Raises:
        RuntimeError: the folder holds a finished run, or an unfinished one and ``resume`` is false, or another run
            uses the folder; or the training diverges; or the disk is full.
        ValueError, FileNotFoundError: settings or data that cannot be used.
        SystemExit: after Ctrl-C or SIGTERM, with instructions for resuming. One of several processes prints the
            instructions and ends.
    """
    quiet_lightning()
    with folder.in_use():
        check_settings(cfg)
        check(cfg)
        check_arguments(cfg)
        # Only the first process sees the folder as it was: it locks the folder for all.
        main_process = _is_main_process()
        if main_process:
            config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
            folder.check(config["resume"], config)
        if cfg.method.estimator is not None:
            # scikit-learn does not share its work with other processes.
            estimators = build_estimators(cfg, folder, set_up) if main_process else []
            return [run.fit(run_info) for run in estimators][-1] if estimators else float("nan")
        stages = build_stages(cfg, folder, set_up)
        runs = [prepare(stage, callbacks if stage is stages[-1] else ()) for stage in stages]
        if main_process:
            for run in reversed(runs):
                open_folder(run)
        return [_train(run, run_info) for run in runs][-1]


@dataclass(frozen=True)
class Run:
    """A stage of a run, built and checked; nothing is written yet."""

    stage: Stage
    log: RunLog | None
    figures: dict[str, Figure]
    ends: EndRecipeEpoch
    trainer: Trainer
    resume_from: Path | None
    record: DataRecord | None


def prepare(stage: Stage, further: Sequence[Callback] = ()) -> Run:
    """Check the module of a stage, and make its logger, its callbacks and its trainer.

    A setting that cannot work fails here, before a file is written.

    Args:
        stage: the stage.
        further: callbacks beside those of every run.
    """
    parts, folder = stage.parts, stage.folder
    check_optimizer(parts.module)
    # A second stage that waits for the first has no checkpoints yet: the first stage resumes from its own.
    resume_from = None if stage.waits else folder.resume_from(parts.settings.resume)
    if resume_from is not None:
        check_resumable(resume_from, parts.module)
    if stage.first is None:
        stage.load_encoder()
    # Only the first process reads and writes the record of the data.
    record = record_of(parts.data) if _is_main_process() else None
    if record is not None:
        check_same_data(record, folder.path)
    log, every = run_log(parts.logger(str(folder.path))), parts.settings.figures
    draws = log is not None and log.takes_figures and every is not None
    if draws and len(parts.bins_by_target) > 1:
        draws = False
        print("the log gets no figures: they show one target, and the run has several")
    figures = start_figures(parts) if draws else {}
    ends = EndRecipeEpoch()
    callbacks = make_callbacks(parts.settings, folder, ends)
    if log is not None and draws and isinstance(every, int):
        callbacks.insert(callbacks.index(ends) + 1, EveryNEpochs(every, parts, ends, log))
    if resume_from is not None:
        restore_best(callbacks, parts, folder, resume_from)
    trainer = parts.trainer(
        logger=False if log is None else log.logger,
        callbacks=[*further, *callbacks],
        # Without a terminal the recipe's own callback prints a line per epoch.
        enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in callbacks),
        plugins=[AtomicCheckpointIO(parts.settings.checkpoint_every_seconds)],
    )
    skip_profiling(trainer)
    if parts.data.label_dtype == torch.float64:
        check_float64_labels(trainer)
    return Run(stage, log, figures, ends, trainer, resume_from, record)


def restore_best(callbacks: list[Callback], parts: Parts, folder: RunFolder, resume_from: Path) -> None:
    """Check best.ckpt of a run that resumes, or choose it again with ``best=recompute``, in the first process."""
    if parts.settings.best != "recompute":
        if _is_main_process():
            check_best(folder, resume_from)
        return
    value = recompute_best(folder, parts) if _is_main_process() else float("nan")
    for callback in callbacks:
        if isinstance(callback, RunCheckpoint) and callback.monitor is not None:
            callback.recomputing, callback.recomputed = True, value


def check_optimizer(module: RegressionModule) -> None:
    """Raise a ValueError if the optimizer or the scheduler refuses its settings."""
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ValueError(message("optimizer, scheduler", str(error))) from error


def open_folder(run: Run) -> None:
    """Write the first files of a stage, once its logger can be reached."""
    if run.log is not None:
        run.log.connect()
    run.stage.folder.start(run.stage.config, run.record)
    if run.record is not None:
        print(format_description(run.record.description))
    parts = run.stage.parts
    for place, bins in enumerate(parts.bins_by_target):
        named = f"{parts.data.targets[place]}, " if len(parts.bins_by_target) > 1 else ""
        print(f"{named}{describe_bins(bins)}")


def _train(run: Run, run_info: dict[str, Any]) -> float:
    """Fit the module of a stage, evaluate its best epoch, and finish the folder of the stage."""
    stage, folder = run.stage, run.stage.folder
    with folder.in_use(), run.log or nullcontext():
        if stage.first is not None:
            # The first process evaluates the first stage while the others are done with it.
            run.trainer.strategy.barrier()
            stage.load_encoder()
        if run.log is not None and _is_main_process():
            run.log.start(RunFacts(stage.config, folder.path, run.record, run_info, stage.is_first))
            run.log.figures(run.figures, 0)
        seconds = fit(run)
        return _finish(run, run_info, seconds) if run.trainer.is_global_zero else float("nan")


def _finish(run: Run, run_info: dict[str, Any], seconds: float) -> float:
    """Evaluate the best epoch of a stage, and finish its folder and its log."""
    stage, parts, folder, trainer, log = run.stage, run.stage.parts, run.stage.folder, run.trainer, run.log
    best_epoch = load_weights(parts.module, folder.best_or_last)
    progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning declares its type too narrow
    # The loop's own count is right where a resumed run had nothing left to train.
    epochs = {"epochs": progress.processed, "best_epoch": best_epoch}
    device = trainer.strategy.root_device
    results = evaluate_splits(parts, device)
    criterion = parts.module.criterion
    own_loss = criterion.criterion if isinstance(criterion, MemberLoss) else criterion
    trained_to_predict = not isinstance(own_loss, NoLoss)
    if trained_to_predict:
        save_network(folder.model, parts, results)
    if log is not None:
        if run.figures:
            log.figures(end_figures(parts, results, run.ends.histories), trainer.global_step)
        log.results(results, stage.config, trainer.global_step)
    value = finish_run(
        folder,
        parts.settings,
        Training(seconds, device.type, epochs),
        results,
        prediction_arrays(results, parts.module.metrics, parts.data) | prior_arrays(parts.module),
        run_info
        | settings_info(parts.settings, run.record, parts.correction, parts.module.metrics)
        | stage.first_results()
        | run.ends.last_diagnostics(),
        print_tables=trained_to_predict,
    )
    if log is not None:
        log.finish(folder.path)
    return value


def fit(run: Run) -> float:
    """Train the module and return the seconds that the training took.

    Raises:
        SystemExit: after Ctrl-C or SIGTERM, with instructions for resuming.
    """
    began = time.perf_counter()
    try:
        ckpt_path = None if run.resume_from is None else str(run.resume_from)
        with quick_cuda_check(run.trainer.strategy.root_device):
            run.trainer.fit(run.stage.parts.module, datamodule=run.stage.parts.data, ckpt_path=ckpt_path)
    except SystemExit:
        # Lightning ends the process after Ctrl-C or SIGTERM, without instructions for resuming.
        if not run.trainer.interrupted:
            raise
    if run.trainer.interrupted:
        _exit_interrupted(run.stage.folder, run.trainer)
    return time.perf_counter() - began


def _exit_interrupted(folder: RunFolder, trainer: Trainer) -> NoReturn:
    """End an interrupted run with instructions for resuming."""
    if trainer.world_size < 2:
        raise SystemExit(folder.resume_instructions())
    if trainer.is_global_zero:
        print(folder.resume_instructions(), file=sys.stderr)
    folder.release()
    sys.stdout.flush()
    sys.stderr.flush()
    # A regular exit of the interpreter waits for collectives that ranks which have ended will never join.
    os._exit(1)


def _is_main_process() -> bool:
    return not getattr(rank_zero_only, "rank", 0)
