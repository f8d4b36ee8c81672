"""Checks that the settings of a run are compatible with each other, before anything is written.

The module imports neither torch nor Lightning, so that scripts/train.py refuses such settings at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig

from dir._checks import check_choice, check_integer, check_positive, message
from dir.metrics.table import MONITORS
from dir.recipe.several_targets import check_several_targets

# Methods that have a part which other methods lack.
_METHODS_WITH = {
    "lds": "inv, sqinv or lds",
    "fds": "fds or fds_shrink",
    "output_fds": "label_shrink or prediction_shrink",
    "regularizer": "ranksim, conr or another regulariser",
    "mixup": "c_mixup",
    "retrain": "rrt or rrt_lds",
    "resample": "smoter, smogn or another resampler",
    "estimator": "bagging, rebagg or hist_gbdt",
    "ensemble": "bagging or rebagg",
}
_RETRAIN = ("checkpoint", "epochs", "lr", "features_only")
# Parts of a method that only apply to networks.
_OF_NETWORKS = ("lds", "fds", "regularizer", "output_fds", "mixup", "posthoc", "retrain", "power_objective")
_PLAIN_HEAD = {"_target_": "dir.models.LinearHead"}


def check(cfg: DictConfig) -> None:
    """Raise a ValueError for settings that contradict each other, or that no part of the run would read."""
    check_choice("task.monitor", cfg.task.monitor, MONITORS)
    if cfg.trainer.get("fast_dev_run", False):
        advice = "For a short run set trainer.max_epochs=1 and +trainer.limit_train_batches=2."
        problem = "a fast run writes no checkpoint to evaluate"
        raise ValueError(message("trainer.fast_dev_run", problem, cfg.trainer.fast_dev_run, advice))
    if cfg.method.fds is not None and cfg.method.output_fds is not None:
        problem = "method.output_fds replaces method.fds, and both are set"
        raise ValueError(message("method.output_fds", problem, advice="Set one of them to null."))
    _check_nodes(cfg)
    check_integer("method.views", cfg.method.views)
    if cfg.method.mixup is not None and cfg.method.views > 1:
        problem = "a mixed sample has no second view, but method.mixup is set"
        advice = "Set method.views=1 or method.mixup=null."
        raise ValueError(message("method.views", problem, cfg.method.views, advice))
    own, added = cfg.method.regularizer, cfg.regularizer
    if own is not None and added is not None and own.get("_target_") == added.get("_target_"):
        advice = "Remove the regularizer or choose another method."
        raise ValueError(message("regularizer", "the method already has it", own.get("_target_"), advice))
    lds = cfg.method.lds
    unused = [] if lds is None or lds.get("kernel") else [k for k in ("kernel_size", "sigma") if k in lds]
    if unused:
        advice = "Set method.lds.kernel or choose method=lds."
        problem = "smoothing is set, but method.lds.kernel is null"
        raise ValueError(message(f"method.lds.{unused[0]}", problem, lds[unused[0]], advice))
    _check_cost(cfg)
    check_several_targets(cfg)
    if cfg.early_stopping.patience is not None:
        check_integer("early_stopping.patience", cfg.early_stopping.patience, advice="null trains all epochs.")
    if cfg.method.estimator is not None:
        _check_estimator(cfg)
    elif cfg.method.ensemble is not None:
        advice = "Choose method=bagging."
        raise ValueError(
            message("method.ensemble", "method.estimator is null, and an ensemble needs it", advice=advice)
        )
    if cfg.method.retrain is not None:
        _check_retrain(cfg)


def _check_cost(cfg: DictConfig) -> None:
    """Raise a ValueError for settings that need a cost in a run without one, or that contradict its cost."""
    objective = str(cfg.method.get("power_objective") or "").rpartition("/")[2]
    if cfg.get("cost") is None:
        for key, uses in (
            ("method.loss", cfg.method.loss == "cost"),
            ("method.power_objective", objective == "cost"),
        ):
            if uses:
                advice = "Set +cost=linear cost.under=5 cost.over=1, or another cost of docs/costs.md."
                raise ValueError(message(key, "the run has no cost", "cost", advice))
    elif cfg.method.loss == "cost" and cfg.method.posthoc is not None:
        problem = "a correction towards the mean label would undo the training for a cost"
        raise ValueError(message("method.posthoc", problem, cfg.method.posthoc, "Set method.posthoc=null."))
    elif isinstance(cfg.method.loss, str) and cfg.method.loss != "cost":
        raise ValueError(message("method.loss", "expected a loss or 'cost'", cfg.method.loss))


def _check_nodes(cfg: DictConfig) -> None:
    """Raise a ValueError for settings of an absent part: ``+method.mixup.alpha=1`` makes a node without a target."""
    for part, methods in _METHODS_WITH.items():
        node = cfg.method[part]
        if node is None:
            continue
        complete = all(key in node for key in _RETRAIN) if part == "retrain" else "_target_" in node
        if part == "output_fds":
            complete = "track" in node and "_target_" in (node.get("fds") or {})
        if not complete:
            name = part.upper() if part in ("lds", "fds") else part
            key = next(iter(node), "")
            raise ValueError(
                message(f"method.{part}.{key}", f"this method has no {name}", node[key], f"Choose method={methods}.")
            )
    noise = cfg.get("noise")
    if noise is not None and "signal" not in noise:
        key = next(iter(noise), "")
        advice = "Choose it by +noise=downweight."
        raise ValueError(message(f"noise.{key}", "this run has no noise=downweight", noise[key], advice))
    choices = {"regularizer": "+regularizer", "cost": "+cost", "protocol": "+protocol", "scheduler": "scheduler"}
    for part, choice in choices.items():
        node = cfg.get(part)
        if node is not None and "_target_" not in node:
            key = next(iter(node), "")
            raise ValueError(
                message(f"{part}.{key}", f"this run has no {part}", node[key], f"Choose one by {choice}=NAME.")
            )


def _check_estimator(cfg: DictConfig) -> None:
    """Raise a ValueError for settings of a network in a run that fits a scikit-learn model."""
    weighted = "weights" in cfg.method
    wrong = [f"method.{part}" for part in _OF_NETWORKS if cfg.method[part] is not None]
    if weighted:
        wrong = [part for part in wrong if part != "method.lds"]
        if cfg.method.ensemble is not None:
            problem = "boosted trees are an ensemble that chooses its size on validation rows"
            raise ValueError(message("method.ensemble", problem, advice="Set method.ensemble=null."))
    wrong += ["regularizer"] if cfg.regularizer is not None else []
    wrong += ["method.views"] if cfg.method.views != 1 else []
    wrong += ["method.head"] if cfg.method.head != _PLAIN_HEAD else []
    wrong += ["method.loss"] if cfg.method.loss != cfg.task.loss else []
    wrong += ["early_stopping.patience"] if cfg.early_stopping.patience is not None else []
    if wrong:
        problem = "only applies to networks, but method.estimator fits a scikit-learn model"
        raise ValueError(message(wrong[0], problem, advice=f"Remove {wrong[0]}."))


# Settings of the training of a network, besides those of the groups optimizer and scheduler.
_OF_TRAINING = {
    *("trainer.max_epochs", "trainer.precision", "trainer.gradient_clip_val", "trainer.accumulate_grad_batches"),
    *("trainer.check_val_every_n_epoch", "trainer.val_check_interval", "data.batch_size", "checkpoint_every_seconds"),
    "figures",
}


def check_overrides(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Raise a ValueError for settings of the command line that nothing would read.

    These are a model, if the method trains no network, and settings of drawn splits, if no splits are drawn.

    Args:
        cfg: composed config, in which a model named by the user and one named by an experiment look alike.
        overrides: ``key=value`` lines of the command line.

    Example:
        >>> from omegaconf import OmegaConf
        >>> trees = OmegaConf.create({"method": {"estimator": {"_target_": "dir.models.HistGBDT"}}})
        >>> check_overrides(trees, ["model=tabm"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: model: HistGBDT trains no network and would ignore it, got 'tabm'. Remove model=tabm, or ...
    """
    lines = [(line, *line.lstrip("+~").partition("=")[::2]) for line in overrides]
    unread, reason = _unread_split_settings(cfg.get("data", {}))
    for line, key, value in lines:
        if key in unread:
            raise ValueError(message(key, reason, value, f"Remove {line}."))
    if cfg.method.estimator is None:
        return
    for line, key, value in lines:
        if key == "model" or key.startswith(("model.", "model/", "model@")):
            kind = cfg.method.estimator["_target_"].rpartition(".")[2]
            advice = f"Remove {line}, or choose a method that trains a network."
            raise ValueError(message(key, f"{kind} trains no network and would ignore it", value, advice))


def _unread_split_settings(data: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return the keys of drawn splits that the data does not read, and the reason."""
    column = data.get("split_column")
    if column is not None:
        reason = f"only applies to splits that are drawn, and data.split_column={column} gives them"
        return ("data.split", "data.share", "data.split_bins"), reason
    # Arrays and published csv files hold the split of each row; only groups make these classes draw another.
    file_has_splits = "group" in data and "split_column" not in data
    if file_has_splits and data["group"] is None:
        return ("data.share",), "only applies with data.group: the file gives the splits"
    if data.get("split") == "balanced" and data.get("group"):
        reason = f"not possible together with data.group={data['group']}: whole groups are drawn by the seed"
        return ("data.split", "data.split_bins"), reason
    if data.get("split") == "time" and data.get("val_from") is not None:
        return ("data.share", "data.split_bins"), f"data.val_from={data['val_from']} gives the borders of the splits"
    if data.get("split") in ("random", "time"):
        return ("data.split_bins",), "only applies to data.split=balanced"
    return (), ""


def unused_overrides(cfg: DictConfig, overrides: Iterable[str]) -> list[str]:
    """Return the lines of the command line that say how a network is trained, if the method trains no network.

    A sweep over trees and networks gives such lines to both, so that they are no error. The run says that it leaves
    them out.

    Example:
        >>> from omegaconf import OmegaConf
        >>> trees = OmegaConf.create({"method": {"estimator": {"_target_": "dir.models.HistGBDT"}}})
        >>> unused_overrides(trees, ["optimizer.lr=0.1", "trainer.max_epochs=9", "trainer.accelerator=cpu", "seed=1"])
        ['optimizer.lr=0.1', 'trainer.max_epochs=9']
    """
    if cfg.method.estimator is None:
        return []
    keys = [(line, line.lstrip("+~").partition("=")[0]) for line in overrides]
    return [line for line, key in keys if key in _OF_TRAINING or key.partition(".")[0] in ("optimizer", "scheduler")]


def _check_retrain(cfg: DictConfig) -> None:
    retrain = cfg.method.retrain
    if retrain.features_only and cfg.method.regularizer is None and cfg.regularizer is None:
        problem = "the first stage trains by the regulariser alone, and there is none"
        raise ValueError(message("method.retrain.features_only", problem, True, "Choose method=rnc_two_stage."))
    if cfg.method.lds is None and not retrain.features_only:
        advice = "Set method.lds or choose method=rrt."
        raise ValueError(
            message("method.retrain", "the second stage has no weights: method.lds is null", advice=advice)
        )
    check_integer("method.retrain.epochs", retrain.epochs)
    check_positive("method.retrain.lr", retrain.lr)
    parts: dict[str, object] = {}
    reason = ""
    if retrain.checkpoint is not None:
        reason = "only applies to the first stage, which method.retrain.checkpoint replaces"
        # A method that trains features by its regulariser alone comes with that regulariser.
        own = ("fds", "output_fds", "mixup", *(() if retrain.features_only else ("regularizer",)))
        parts = {f"method.{part}": cfg.method[part] for part in own} | {"regularizer": cfg.regularizer}
    elif retrain.features_only:
        # FDS changes calibrated features and predictions, which no loss of this stage reads.
        reason = "the first stage of method.retrain.features_only trains raw features by the regulariser alone"
        parts = {f"method.{part}": cfg.method[part] for part in ("fds", "output_fds")}
    for name, part in parts.items():
        if part is not None:
            raise ValueError(message(name, reason, advice=f"Remove {name}."))
