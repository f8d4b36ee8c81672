"""Settings that nothing would read, or that no run can be made of: errors by name, before anything is written."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

# Hydra's own words in a node that it builds.
_HYDRAS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
# Their values go to a class as they are, which refuses those it does not know.
_PASSED_ON = ("task.shots",)
_GROUPS_OF_VALUES = ("task", "method", "early_stopping", "model")


def check_settings(cfg: DictConfig) -> None:
    """Raises ValueError for values without a meaning, and for arguments that their class does not have.

    Example:
        >>> adam = {"_target_": "torch.optim.Adam", "lrr": 1}
        >>> check_settings(OmegaConf.create({"resume": False, "optimizer": adam}))
        Traceback (most recent call last):
        ValueError: optimizer.lrr: Adam has no such argument; did you mean lr?
    """
    if cfg.resume not in (True, False, "previous"):
        raise ValueError(f"resume: expected true, false or previous, got {cfg.resume}")
    trainer = cfg.get("trainer", {})
    epochs = trainer.get("max_epochs", -1)
    if epochs is None:
        raise ValueError("trainer.max_epochs: expected at least 1, or -1 beside +trainer.max_steps, got null")
    if epochs != -1 and epochs < 1:
        raise ValueError(f"trainer.max_epochs: expected at least 1, got {epochs}")
    for name in ("limit_train_batches", "limit_val_batches"):
        if trainer.get(name, 1) == 0:
            raise ValueError(f"trainer.{name}: expected more than 0, or there is nothing to train or to choose by")
    _check_arguments(OmegaConf.to_container(cfg, resolve=True), "")


def check_additions(overrides: Iterable[str], choices: Collection[str], composed: DictConfig | None = None) -> None:
    """Raises ValueError for ``+key=value`` on a command line where nothing reads such a key.

    Hydra itself refuses an unknown key without the plus, and a known one with it; ``++key=value`` adds or overrides.

    Args:
        overrides: the command line's.
        choices: names of the groups that took part, such as experiment and method.
        composed: the config without the overrides that begin with two pluses, which may set any key of it. None
            (default): there is none.

    Example:
        >>> check_additions(["+experiment=age_synthetic", "+trainer.max_steps=9"], ["experiment", "method"])
        >>> check_additions(["+methd=lds"], ["experiment", "method"])
        Traceback (most recent call last):
        ValueError: +methd=lds: nothing reads methd; did you mean method?
    """
    for override in overrides:
        key = override.lstrip("+").split("=")[0].split("@")[0]
        if not override.startswith("+") or key in choices or key.startswith("hydra."):
            continue
        if override.startswith("++") and composed is not None and _holds(composed, key):
            continue
        above, _, last = key.rpartition(".")
        listed = above in _GROUPS_OF_VALUES or (above.startswith("task.") and above not in _PASSED_ON)
        if not above or listed:
            known = [name.rpartition(".")[2] for name in choices]
            raise ValueError(f"{override}: nothing reads {key}{_suggestion(last, known)}")


def _holds(cfg: DictConfig, key: str) -> bool:
    """Whether the key is there, be it null."""
    above, _, last = key.rpartition(".")
    node = OmegaConf.select(cfg, above) if above else cfg
    return isinstance(node, DictConfig) and last in list(node)


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
    except Exception as error:  # Hydra raises several types, with the import's own error behind them
        raise ValueError(f"{path}._target_: {node['_target_']} cannot be imported: {error}") from error
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # built in, without a signature
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in node:
        if key not in parameters and key not in _HYDRAS:
            name = getattr(target, "__name__", node["_target_"])
            raise ValueError(f"{path}.{key}: {name} has no such argument{_suggestion(key, list(parameters))}")


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
