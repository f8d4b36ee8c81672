"""Evaluation of a trained module, in training's end and by scripts/evaluate.py alike."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader

from dir.metrics import SHOTS, ShotMetrics
from dir.metrics.functional import ause, gaussian_nll, interval_coverage
from dir.recipe.build import Parts, build, instantiate_with
from dir.recipe.checkpoints import mismatches, read_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder, commit
from dir.recipe.summary import Groups, print_summary


class Predictions(NamedTuple):
    """Labels, predictions and variances of a split, float32 [N] in raw units; some heads give no variances."""

    labels: Tensor
    predictions: Tensor
    variances: Tensor | None


@torch.no_grad()
def predict(module: RegressionModule, loader: DataLoader[Any], device: torch.device) -> Predictions:
    """What the module predicts for a whole split, on the CPU, in the split's order.

    Runs in the parameters' own precision in one process: each sample counts once, whatever the training's
    precision and number of processes were.
    """
    module = module.to(device).eval()
    labels, predictions, variances = [], [], []
    for inputs, label in loader:
        moved = module.transfer_batch_to_device(inputs, device, 0)
        prediction, variance = module.predict_variance(moved)
        predictions.append(prediction.cpu())
        labels.append(label.cpu())
        if variance is not None:
            variances.append(variance.cpu())
    return Predictions(torch.cat(labels), torch.cat(predictions), torch.cat(variances) if variances else None)


def summarise(metrics: ShotMetrics, labels: Tensor, predictions: Tensor, variances: Tensor | None = None) -> Groups:
    """Shot metrics as plain numbers; None where a group is empty or a statistic is undefined.

    Where there are variances, ``nll``, ``coverage90`` and ``ause`` (of the absolute error) tell how good they are.
    """
    # A copy that does not gather: the first process alone comes here, with all samples.
    metrics = copy.deepcopy(metrics).cpu()
    metrics.sync_on_compute = metrics._to_sync = False
    metrics.reset()
    metrics.update(predictions, labels)
    computed = metrics.compute()
    if variances is not None:
        index = metrics.bins(labels)
        for group, member in zip(("all", *SHOTS), metrics.members, strict=True):
            rows = member[index]
            computed[group] |= uncertainty(predictions[rows], variances[rows], labels[rows])
    return {
        group: {name: int(value) if name == "n" else _finite(float(value)) for name, value in values.items()}
        for group, values in computed.items()
    }


def uncertainty(predictions: Tensor, variances: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Scores of the variances [N]; NaN where one of them is."""
    if not bool(torch.isfinite(variances).all()):
        return dict.fromkeys(("nll", "coverage90", "ause"), torch.tensor(math.nan))
    return {
        "nll": gaussian_nll(predictions, variances, labels),
        "coverage90": interval_coverage(predictions, variances, labels, level=0.9),
        "ause": ause(predictions, variances, labels),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def load_weights(module: RegressionModule, checkpoint: Path) -> int:
    """Loads a checkpoint's weights into the module and returns its epoch, counted from one.

    Raises:
        ValueError: the file cannot be read, or holds other names or shapes; nothing is loaded then.
    """
    state = read_checkpoint(checkpoint)
    # The metrics' bins are those of the labels at hand, which may be other ones than the run's.
    kept = {key: value for key, value in state["state_dict"].items() if not key.startswith("metrics.")}
    own = {key: value for key, value in module.state_dict().items() if not key.startswith("metrics.")}
    wrong = mismatches(own, kept)
    if wrong:
        raise ValueError(f"{checkpoint} does not fit the model of its config: {', '.join(wrong[:5])}")
    module.load_state_dict(kept, strict=False)
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


def evaluate_splits(parts: Parts, device: torch.device) -> tuple[dict[str, Groups], Predictions]:
    """Shot metrics of val and test, and what was predicted for test."""
    val = predict(parts.module, parts.data.whole("val"), device)
    test = predict(parts.module, parts.data.whole("test"), device)
    if parts.correction is not None:
        correct = parts.correction.fit(val.predictions, val.labels)
        val, test = (split._replace(predictions=correct(split.predictions)) for split in (val, test))
    splits = {name: summarise(parts.module.metrics, *split) for name, split in (("val", val), ("test", test))}
    return splits, test


def finish_run(
    cfg: DictConfig,
    folder: RunFolder,
    facts: dict[str, Any],
    splits: dict[str, Groups],
    test: Predictions,
    seconds: float,
    device: str,
    epochs: dict[str, int] | None = None,
    table: bool = True,
) -> float:
    """Writes predictions.npz and metrics.json, and prints the tables.

    Args:
        cfg: of the run.
        folder: its folder.
        facts: what metrics.json says of the run beside what stands in cfg.
        splits, test: shot metrics by split, and what was predicted for test.
        seconds, device: how long it trained, and on what.
        epochs: "epochs" and "best_epoch"; None where a run has none.
        table: whether the predictions mean anything that is worth a table.

    Returns:
        ``val/all/<monitor>``.
    """
    run = (
        facts
        | {"name": cfg.name, "seed": cfg.seed}
        | (epochs or {})
        | {
            "seconds": round(seconds, 2),
            "device": device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "commit": commit(),
        }
    )
    folder.finish({**splits, "run": run}, *test)
    if table:
        print_summary(splits, cfg.task.unit)
    best = f"best epoch {epochs['best_epoch']} of {epochs['epochs']}, " if epochs else ""
    print(f"{best}{seconds:.1f} s, written to {folder.path}")
    value = splits["val"]["all"][cfg.task.monitor]
    return float("nan") if value is None else float(value)


def evaluate_checkpoint(checkpoint: Path, overrides: list[str]) -> dict[str, Groups]:
    """Prints and returns the tables of a checkpoint in its run folder, see :func:`load_config`."""
    cfg = load_config(checkpoint, overrides)
    # A trainer knows what "auto" means on this machine.
    trainer = instantiate_with(cfg.trainer, logger=False, enable_progress_bar=False)
    parts = build(cfg)
    load_weights(parts.module, checkpoint)
    splits, _ = evaluate_splits(parts, trainer.strategy.root_device)
    print_summary(splits, cfg.task.unit)
    return splits
