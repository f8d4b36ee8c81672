"""Evaluation of a trained module, in training's end and by scripts/evaluate.py alike."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader

from dir.metrics import ShotMetrics
from dir.recipe.build import Parts, build, make
from dir.recipe.module import RegressionModule
from dir.recipe.tables import Groups, print_summary


@torch.no_grad()
def predict(module: RegressionModule, loader: DataLoader[Any], device: torch.device) -> tuple[Tensor, Tensor]:
    """Labels and predictions of a whole split, float32 [N] in raw units on the CPU, in the split's order.

    Runs in the parameters' own precision in one process: each sample counts once, whatever the training's
    precision and number of processes were.
    """
    module = module.to(device).eval()
    labels, predictions = [], []
    for inputs, label in loader:
        moved = module.transfer_batch_to_device(inputs, device, 0)
        predictions.append(module(moved).cpu())
        labels.append(label.cpu())
    return torch.cat(labels), torch.cat(predictions)


def summarise(metrics: ShotMetrics, labels: Tensor, predictions: Tensor) -> Groups:
    """Shot metrics as plain numbers; None where a group is empty or a statistic is undefined."""
    # A copy that does not gather: the first process alone comes here, with all samples.
    metrics = copy.deepcopy(metrics).cpu()
    metrics.sync_on_compute = metrics._to_sync = False
    metrics.reset()
    metrics.update(predictions, labels)
    computed = metrics.compute()
    return {
        group: {name: int(value) if name == "n" else _finite(float(value)) for name, value in values.items()}
        for group, values in computed.items()
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def load_weights(module: RegressionModule, checkpoint: Path) -> int:
    """Loads a checkpoint's weights into the module and returns its epoch, counted from one."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    # The metrics' bins are those of the labels at hand, which may be other ones than the run's.
    kept = {key: value for key, value in state["state_dict"].items() if not key.startswith("metrics.")}
    missing, unexpected = module.load_state_dict(kept, strict=False)
    wrong = [key for key in [*missing, *unexpected] if not key.startswith("metrics.")]
    if wrong:
        raise ValueError(f"{checkpoint} does not fit the model of its config: {', '.join(wrong[:5])}")
    return int(state["epoch"]) + 1


def load_config(checkpoint: Path, overrides: list[str]) -> DictConfig:
    """The config of the run that wrote ``checkpoint``, with ``key=value`` overrides of existing keys.

    Raises:
        FileNotFoundError: if the checkpoint, or config.yaml in its run folder, is not there.
        ValueError: if an override names a key that the config does not have.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"ckpt: no such file: {checkpoint}")
    path = checkpoint.resolve().parents[1] / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"ckpt: expected the run's config at {path}; keep the checkpoint in its run folder's checkpoints/"
        )
    cfg = OmegaConf.load(path)
    OmegaConf.set_struct(cfg, True)
    try:
        merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(overrides))
    except Exception as error:
        raise ValueError(f"overrides {' '.join(overrides)}: {error}") from error
    assert isinstance(merged, DictConfig)
    return merged


def evaluate_splits(parts: Parts, device: torch.device) -> tuple[dict[str, Groups], Tensor, Tensor]:
    """Shot metrics of val and test, and the test labels and predictions."""
    labels, predictions = predict(parts.module, parts.data.val_dataloader(), device)
    if parts.correction is not None:
        predictions = parts.correction.fit(predictions, labels)(predictions)
    val = summarise(parts.module.metrics, labels, predictions)
    labels, predictions = predict(parts.module, parts.data.test_dataloader(), device)
    if parts.correction is not None:
        predictions = parts.correction(predictions)
    return {"val": val, "test": summarise(parts.module.metrics, labels, predictions)}, labels, predictions


def evaluate_checkpoint(checkpoint: Path, overrides: list[str]) -> dict[str, Groups]:
    """Prints and returns the tables of a checkpoint in its run folder, see :func:`load_config`."""
    cfg = load_config(checkpoint, overrides)
    # A trainer knows what "auto" means on this machine.
    trainer = make(cfg.trainer, logger=False, enable_progress_bar=False)
    parts = build(cfg)
    load_weights(parts.module, checkpoint)
    splits, _, _ = evaluate_splits(parts, trainer.strategy.root_device)
    print_summary(splits, cfg.task.unit)
    return splits
