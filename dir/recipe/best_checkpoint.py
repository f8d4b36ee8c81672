"""The best checkpoint of an interrupted run: compared with the run's record of it, or chosen again."""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path
from typing import Any

import torch

from dir._checks import message
from dir.recipe.checkpoints import AtomicCheckpointIO, read_checkpoint
from dir.recipe.evaluate import load_weights
from dir.recipe.parts import Parts
from dir.recipe.predictions import predict, summarise_split
from dir.recipe.run_folder import RunFolder

# Entries of a checkpoint that holds weights alone.
_WEIGHTS = ("epoch", "global_step", "pytorch-lightning_version", "state_dict")


def check_best(folder: RunFolder, resume_from: Path) -> None:
    """Raise a ValueError if best.ckpt is not the best checkpoint that the run has recorded.

    Args:
        folder: run folder.
        resume_from: checkpoint to resume from; its callbacks record the best value and the hash of best.ckpt.
    """
    content = read_checkpoint(resume_from)
    states: dict[str, Any] = content.get("callbacks", {})
    found = [state for state in states.values() if isinstance(state, dict) and state.get("best_sha256")]
    if not found:
        return
    problem = _difference(folder.best, found[0]["best_sha256"], content)
    if problem is not None:
        value = float(found[0]["best_model_score"])
        raise ValueError(
            message(
                str(folder.best),
                f"{problem}; the best {found[0]['monitor']} of the run so far is {value:g}",
                advice="Put the file back, or set best=recompute to choose among the checkpoints that are left.",
            )
        )


def _difference(best: Path, recorded: str, content: dict[str, Any]) -> str | None:
    """Return how a file differs from the recorded best checkpoint, or None if training can resume with the file."""
    if not best.is_file():
        return "the file is missing"
    if hashlib.sha256(best.read_bytes()).hexdigest() == recorded:
        return None
    other = read_checkpoint(best)
    # A kill between the two writes of an epoch leaves a newer file. The resumed run trains that epoch again.
    if other.get("global_step", -1) > content.get("global_step", -1):
        return None
    return f"the file is not the best checkpoint of the run, but the checkpoint of epoch {other['epoch'] + 1}"


def recompute_best(folder: RunFolder, parts: Parts) -> float:
    """Choose best.ckpt again among the checkpoints of a run folder, and return its value of the monitored metric.

    Only the epochs of best.ckpt, last.ckpt and previous.ckpt can be evaluated again; the output lists them.

    Raises:
        ValueError: no checkpoint can be evaluated.
    """
    module, monitor = copy.deepcopy(parts.module), parts.settings.monitor
    values: dict[Path, float] = {}
    for path in (folder.best, folder.last, folder.previous):
        if not path.is_file():
            continue
        try:
            epoch = load_weights(module, path)
        except ValueError as error:
            print(f"best=recompute: skipped {path.name}. {error}")
            continue
        found = predict(module, parts.data.whole("val"), torch.device("cpu"))
        value = summarise_split(module.metrics, found, module.cost)["all"][monitor]
        values[path] = math.inf if value is None else float(value)
        print(f"best=recompute: {path.name}, epoch {epoch}: val/all/{monitor} {values[path]:.4f}")
    if not values:
        raise ValueError(message("best", f"{folder.checkpoints} holds no checkpoint to evaluate", "recompute"))
    chosen = min(values, key=lambda path: values[path])
    if chosen != folder.best:
        content = read_checkpoint(chosen)
        weights = {key: content[key] for key in _WEIGHTS if key in content}
        AtomicCheckpointIO().save_checkpoint(weights, folder.best)
    print(f"best=recompute: {chosen.name} is the best of these; other epochs have no checkpoint any more.")
    return values[chosen]
