"""Checks of single settings: unknown keys, missing values, values out of range, arguments that a class does not have.

Hydra checks keys and types against dir/recipe/schema.py when it composes a config, except for keys that are added by
``+key=value`` or ``++key=value``. The checks here cover these keys, and run before anything is written.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from dir._checks import check_choice, check_integer, message, suggestion
from dir.recipe.tracking.closed import NEPTUNE, neptune

# Keys that Hydra itself reads in a node with a _target_.
_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def check_settings(cfg: DictConfig) -> None:
    """Raise a ValueError for keys that nothing reads, missing values, and values that a run cannot use.

    The function imports neither torch nor Lightning, so that scripts/train.py refuses such settings at once.

    Example:
        >>> check_settings(OmegaConf.create({"resume": "maybe"}))
        Traceback (most recent call last):
        ValueError: resume: expected one of True, False, 'previous', got 'maybe'.
    """
    check_choice("resume", cfg.resume, (True, False, "previous"))
    check_choice("best", cfg.get("best"), (None, "recompute"))
    seconds = cfg.get("checkpoint_every_seconds", 0)
    if not 0 <= seconds < math.inf:
        advice = "Set 0 to write the checkpoints of each epoch."
        raise ValueError(message("checkpoint_every_seconds", "expected a number >= 0", seconds, advice))
    _check_figures(cfg.get("figures"), cfg.get("logger"))
    if (cfg.get("logger") or {}).get("_target_") == NEPTUNE:
        neptune()
    method = cfg.get("method", {})
    if "weights" in method:
        check_choice("method.weights", method.weights, list(map(str, method.weightings)))
    trainer = cfg.get("trainer", {})
    epochs = trainer.get("max_epochs", -1)
    if epochs != -1 and (not isinstance(epochs, int) or epochs < 1):
        advice = "Set -1 to count steps, with +trainer.max_steps=N."
        raise ValueError(message("trainer.max_epochs", "expected an integer >= 1", epochs, advice))
    for name in ("limit_train_batches", "limit_val_batches"):
        if trainer.get(name, 1) == 0:
            advice = "Training and the choice of the best epoch need at least one batch."
            raise ValueError(message(f"trainer.{name}", "expected a number > 0", 0, advice))
    _check_keys(cfg)


def _check_figures(figures: Any, logger: Any) -> None:
    """Raise a ValueError for another setting than "end", null or a number of epochs that a logger can draw."""
    if figures is None or figures == "end":
        return
    advice = "It is the number of epochs between two drawings; end draws at the start and the end, and null nothing."
    check_integer("figures", figures, advice=advice)
    target = "" if logger is None else str(logger.get("_target_", ""))
    if not target.endswith(("TensorBoardLogger", "MLflowLogger", "WandbLogger")):
        problem = "the logger takes no figures"
        raise ValueError(
            message("figures", problem, figures, "Set logger=tensorboard, mlflow or wandb, or remove figures.")
        )


def _check_keys(cfg: DictConfig) -> None:
    """Raise a ValueError for a key that the schema does not have, and for all missing values at once."""
    missing: list[str] = []
    _walk_keys(cfg, "", missing)
    if missing:
        advice = "Set each on the command line or in the config of the data set."
        raise ValueError(message(", ".join(sorted(missing)), "missing value", advice=advice))


def _walk_keys(node: DictConfig, path: str, missing: list[str]) -> None:
    schema = OmegaConf.get_type(node)
    for key in map(str, node):
        name = f"{path}.{key}" if path else key
        if dataclasses.is_dataclass(schema):
            known = [field.name for field in dataclasses.fields(schema)]
            if key not in known:
                advice = suggestion(key, known) or "Remove the key."
                raise ValueError(message(name, "unknown key", advice=advice))
        if OmegaConf.is_interpolation(node, key):
            continue  # The value stands at another key, which is checked itself.
        if OmegaConf.is_missing(node, key):
            missing.append(name)
        elif isinstance(node[key], DictConfig):
            _walk_keys(node[key], name, missing)


def check_arguments(cfg: DictConfig) -> None:
    """Raise a ValueError for a ``_target_`` that cannot be imported, or that lacks an argument of its node.

    Example:
        >>> adam = {"_target_": "torch.optim.Adam", "lrr": 1}
        >>> check_arguments(OmegaConf.create({"optimizer": adam}))
        Traceback (most recent call last):
        ValueError: optimizer.lrr: Adam has no such argument, got 1. Did you mean lr?
    """
    _check_arguments(OmegaConf.to_container(cfg, resolve=True), "")


def _check_arguments(node: Any, path: str) -> None:
    if isinstance(node, list):
        for number, item in enumerate(node):
            _check_arguments(item, f"{path}[{number}]")
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        _check_arguments(value, f"{path}.{key}" if path else str(key))
    if "_target_" not in node:
        return
    try:
        target = get_object(node["_target_"])
    except Exception as error:  # Hydra raises several types, each with the error of the import in its message.
        problem = f"target cannot be imported ({str(error).splitlines()[0]})"
        raise ValueError(message(f"{path}._target_", problem, node["_target_"])) from error
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # a built-in function without a signature
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key, value in node.items():
        if key not in parameters and key not in _HYDRA_KEYS:
            problem = f"{getattr(target, '__name__', node['_target_'])} has no such argument"
            raise ValueError(message(f"{path}.{key}", problem, value, suggestion(key, parameters)))
