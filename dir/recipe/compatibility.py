"""What must not be asked for together, and values that no part of the engine would notice: errors, at once."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from dir.data.base import RegressionData
from dir.recipe.module import RegressionModule

# Lower is better for these; the best epoch is the one with the lowest value on validation.
MONITORS = ("mae", "mse", "gm", "balanced_mae")
# Parts that a method may lack, and methods that have them.
_METHODS_WITH = {
    "lds": "inv, sqinv or lds",
    "fds": "fds or fds_shrink",
    "output_fds": "label_shrink or prediction_shrink",
    "regularizer": "ranksim, conr or another regulariser",
    "mixup": "c_mixup",
    "retrain": "rrt or rrt_lds",
    "resample": "smoter, smogn or another resampler",
    "estimator": "bagging or rebagg",
    "ensemble": "bagging or rebagg",
}
_RETRAIN = ("checkpoint", "epochs", "lr", "features_only")
# Parts of a method that act on a network as it is trained.
_OF_NETWORKS = ("lds", "fds", "regularizer", "output_fds", "mixup", "posthoc", "retrain")
_PLAIN_HEAD = {"_target_": "dir.models.LinearHead"}


def check(cfg: DictConfig) -> None:
    """Raises ValueError for values that contradict each other or that no part of the engine would notice."""
    if cfg.task.monitor not in MONITORS:
        raise ValueError(f"task.monitor: expected one of {', '.join(MONITORS)}, got {cfg.task.monitor!r}")
    if cfg.trainer.get("fast_dev_run", False):
        raise ValueError(
            "trainer.fast_dev_run: it writes no checkpoint to evaluate; use trainer.max_epochs=1 and "
            "+trainer.limit_train_batches=2 for a short run"
        )
    if cfg.method.fds is not None and cfg.method.output_fds is not None:
        raise ValueError(
            "method.output_fds: it stands in the place of method.fds, and would smooth again; leave one out"
        )
    _check_nodes(cfg)
    if cfg.method.views < 1:
        raise ValueError(f"method.views: expected at least 1, got {cfg.method.views}")
    if cfg.method.mixup is not None and cfg.method.views > 1:
        raise ValueError(
            "method.views: mixed samples are no views of one another; leave out method.mixup or the views"
        )
    own, added = cfg.method.regularizer, cfg.regularizer
    if own is not None and added is not None and own.get("_target_") == added.get("_target_"):
        raise ValueError("regularizer: the method has this one already; choose another method or leave it out")
    lds = cfg.method.lds
    unused = [] if lds is None or lds.get("kernel") else [k for k in ("kernel_size", "sigma") if k in lds]
    if unused:
        raise ValueError(
            f"method.lds.{unused[0]}: smoothing is set, but kernel is null; set method.lds.kernel "
            "or choose method=lds"
        )
    patience = cfg.early_stopping.patience
    if patience is not None and patience < 1:
        raise ValueError(f"early_stopping.patience: expected null or at least 1, got {patience}")
    if cfg.method.estimator is not None:
        _check_estimator(cfg)
    elif cfg.method.ensemble is not None:
        raise ValueError("method.ensemble: there is no method.estimator to build it of; choose method=bagging")
    if cfg.method.retrain is not None:
        _check_retrain(cfg)


def _check_nodes(cfg: DictConfig) -> None:
    """Raises ValueError for settings of a part that is not there: ``+method.mixup.alpha=1`` makes a node of them."""
    for part, methods in _METHODS_WITH.items():
        node = cfg.method[part]
        if node is None:
            continue
        whole = all(key in node for key in _RETRAIN) if part == "retrain" else "_target_" in node
        if part == "output_fds":
            whole = "track" in node and "_target_" in (node.get("fds") or {})
        if not whole:
            raise ValueError(
                f"method.{part}: settings ({', '.join(map(str, node))}) without a method that has "
                f"{part.upper() if part in ('lds', 'fds') else part}; choose method={methods}"
            )
    for key in cfg.method.retrain or ():
        if key not in _RETRAIN:
            raise ValueError(f"method.retrain.{key}: nothing reads it; expected one of {', '.join(_RETRAIN)}")
    for part, choice in (
        ("regularizer", "+regularizer"),
        ("protocol", "+protocol"),
        ("scheduler", "scheduler"),
    ):
        node = cfg.get(part)
        if node is not None and "_target_" not in node:
            raise ValueError(f"{part}: settings ({', '.join(map(str, node))}) of none; choose one by {choice}=NAME")


def _check_estimator(cfg: DictConfig) -> None:
    wrong = [f"method.{part}" for part in _OF_NETWORKS if cfg.method[part] is not None]
    wrong += ["regularizer"] if cfg.regularizer is not None else []
    wrong += ["method.views"] if cfg.method.views != 1 else []
    wrong += ["method.head"] if cfg.method.head != _PLAIN_HEAD else []
    wrong += ["method.loss"] if cfg.method.loss != cfg.task.loss else []
    wrong += ["early_stopping.patience"] if cfg.early_stopping.patience is not None else []
    if wrong:
        raise ValueError(f"{wrong[0]}: acts on a network, and method.estimator trains none; leave it out")


def _check_retrain(cfg: DictConfig) -> None:
    retrain = cfg.method.retrain
    if retrain.features_only and cfg.method.regularizer is None and cfg.regularizer is None:
        raise ValueError(
            "method.retrain.features_only: there is no regulariser to train by; choose method=rnc_two_stage"
        )
    if cfg.method.lds is None and not retrain.features_only:
        raise ValueError("method.retrain: the second stage has no weights; set method.lds or choose method=rrt")
    numbers = all(isinstance(value, int | float) for value in (retrain.epochs, retrain.lr))
    if not (numbers and retrain.epochs >= 1 and retrain.lr > 0):
        raise ValueError(
            "method.retrain: expected at least one epoch and a learning rate above 0, got "
            f"epochs={retrain.epochs} and lr={retrain.lr}"
        )
    if retrain.checkpoint is None and retrain.features_only:
        # Features and predictions that FDS changes reach no loss.
        idle = [f"method.{part}" for part in ("fds", "output_fds") if cfg.method[part] is not None]
        if idle:
            raise ValueError(
                f"{idle[0]}: the first stage of method.retrain.features_only trains by the regulariser alone, on "
                "features as they are; leave it out"
            )
    if retrain.checkpoint is not None:
        # The regulariser of a method that trains features by it alone comes with the method.
        own = ("fds", "output_fds", "mixup", *(() if retrain.features_only else ("regularizer",)))
        parts = {f"method.{part}": cfg.method[part] for part in own}
        idle = [name for name, part in (parts | {"regularizer": cfg.regularizer}).items() if part is not None]
        if idle:
            raise ValueError(
                f"{idle[0]}: it acts on the first stage, which method.retrain.checkpoint stands for; leave it out"
            )


def check_parts(cfg: DictConfig, module: RegressionModule, data: RegressionData) -> None:
    """Raises ValueError for parts of a method that do not go together, by what they give for two samples.

    Afterwards the parts know the number of features; nothing else changes, the random state neither.
    """
    model, criterion = module.model, module.criterion
    if module.lds is not None and getattr(criterion, "corrects_imbalance", False):
        raise ValueError(
            f"method.lds: {type(criterion).__name__} corrects the imbalance of the labels already, and weights would "
            "do so twice; leave out method.lds or choose another method.loss"
        )
    labels = data.labels("train")[:2]
    target = module.to_target(labels)
    head_training = model.head.training
    model.head.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        features = torch.zeros(len(labels), model.num_features)
        output = model.decode(features)
        if module.output_fds is not None and output.shape != labels.shape:
            raise ValueError(
                f"method.output_fds: it shifts one number per sample, and method.head gives {list(output.shape[1:])}"
            )
        if cfg.method.posthoc is not None and model.variance(output) is not None:
            raise ValueError(
                "method.posthoc: it maps the predictions, and not the variances that method.head gives with them; "
                "leave it out or choose another method.head"
            )
        try:
            criterion(output, target, weight=None if module.lds is None else module.lds(labels))
        except ValueError as error:
            raise ValueError(f"method.loss does not go with method.head: {error}") from error
        for regularizer in module.regularizers:
            regularizer(features, target, model.predict(output))
    model.head.train(head_training)
    if module.mixup is not None:
        inputs = data.dataset("train")[0][0]
        for part in inputs if isinstance(inputs, tuple) else (inputs,):
            if not part.is_floating_point():
                raise ValueError(
                    f"method.mixup: inputs of type {part.dtype} (such as token ids) cannot be mixed; choose another "
                    "method or data with floating inputs"
                )
