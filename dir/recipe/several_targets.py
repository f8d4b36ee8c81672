"""Targets of a run: their names, and the settings that have no form for several, refused before anything is written.

The module imports neither torch nor Lightning, so that scripts/train.py refuses such settings at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dir._checks import message

_ONE_BY_ONE = "Choose another method, or train one run for each target."
# Parts of a method without a form for several targets, and the methods that have them.
_PARTS = {
    "regularizer": "ranksim, conr, rnc, ordinal_entropy and srl",
    "output_fds": "label_shrink and prediction_shrink",
    "mixup": "c_mixup",
    "posthoc": "affine and isotonic",
    "power_objective": "histogram_prior and other methods with a label prior",
    "retrain": "rrt, rrt_lds and rnc_two_stage",
    "resample": "smoter, smogn and other resamplers",
    "estimator": "trees and scikit-learn regressors",
}
_HEADS = ("dir.models.LinearHead", "dir.models.NormedHead")
_LOSSES = tuple(
    f"dir.losses.{name}" for name in ("WeightedL1", "WeightedMSE", "WeightedHuber", "FocalR", "BMC", "GAI")
)
_FDS = ("dir.FDS",)
_DATA = ("dir.data.TabularData", "dir.data.TextData", "dir.data.LabelledImages")


def several_targets(cfg: DictConfig) -> list[str]:
    """Return the names of the targets of a run with several, and an empty list for one target.

    Example:
        >>> several_targets(OmegaConf.create({"data": {"target": ["valence", "arousal"]}}))
        ['valence', 'arousal']
        >>> several_targets(OmegaConf.create({"data": {"target": ["price"]}}))
        []
    """
    data = OmegaConf.to_container(cfg.data)
    assert isinstance(data, dict)
    # Recipes of one target name it data.label; check_several_targets() refuses a list there.
    target = data.get("target", data.get("label"))
    return [str(name) for name in target] if isinstance(target, list) and len(target) > 1 else []


def joined_names(target: Any) -> str:
    """Return the names of the targets as one text, for the name and the unit of a run.

    Example:
        >>> joined_names("price"), joined_names(["valence", "arousal"])
        ('price', 'valence+arousal')
    """
    return target if isinstance(target, str) else "+".join(str(name) for name in target)


def refuse_several(cfg: DictConfig, problem: str) -> None:
    """Raise a ValueError if a run has several targets, for a tool that knows runs with one alone."""
    targets = several_targets(cfg)
    if targets:
        raise ValueError(message("data.target", f"{problem}, and the run has several", targets, "Give one target."))


def check_several_targets(cfg: DictConfig) -> None:
    """Raise a ValueError for settings that several targets do not have; one target has all."""
    targets = several_targets(cfg)
    if not targets:
        return
    method = cfg.method
    for part, methods in _PARTS.items():
        if method.get(part) is not None:
            problem = f"{methods} know one target, and the run has {len(targets)}"
            raise ValueError(message(f"method.{part}", problem, targets, _ONE_BY_ONE))
    _check_class("method.head", method.head, _HEADS, targets)
    _check_class("method.fds", method.fds, _FDS, targets)
    _check_class("method.loss", method.loss, _LOSSES, targets)
    for key in ("regularizer", "cost", "noise", "protocol"):
        if cfg.get(key) is not None:
            raise ValueError(
                message(key, f"it knows one target, and the run has {len(targets)}", targets, f"Remove {key}.")
            )
    _check_class("data", cfg.data, _DATA, targets)


def _check_class(key: str, node: Any, known: Sequence[str], targets: list[str]) -> None:
    """Raise a ValueError for a class outside of ``known``; classes of the user's own are let through."""
    name = node if isinstance(node, str) else None if node is None else str(node.get("_target_"))
    if name is None or name in known or not (name.startswith("dir.") or name == node):
        return
    problem = f"{name} has no form for several targets (those with one: {', '.join(known)})"
    advice = "Set data.target=COLUMN and train one run for each target." if key == "data" else _ONE_BY_ONE
    raise ValueError(message(key, problem, targets, advice))
