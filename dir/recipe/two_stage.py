"""Decoupled training (RRT): the whole model without weights first, then a new head on its frozen encoder with them.

With ``method.retrain.features_only`` the first stage trains the encoder by the regulariser alone, as contrastive
methods do. Its predictions mean nothing then, so that the second stage starts from its last epoch and not its best.

Reference:
    Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (RRT, after Kang et al., Decoupling Representation
    and Classifier for Long-Tailed Recognition, ICLR 2020). There batch norm goes on moving in the second stage; here
    the encoder stays as it is altogether.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from dir.recipe.build import Parts
from dir.recipe.checkpoints import mismatches, read_checkpoint
from dir.recipe.run_folder import RunFolder

_ENCODER = "model.encoder."


class NoLoss(nn.Module):
    """Zero whatever is predicted: leaves the training to the regularisers."""

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return output.sum() * 0.0


def first_stage(cfg: DictConfig) -> DictConfig:
    """The config of the first stage: the method without its weights, or its regulariser alone."""
    stage = copy.deepcopy(cfg)
    if cfg.method.retrain.features_only:
        stage.method.loss = {"_target_": f"{__name__}.{NoLoss.__name__}"}
        stage.early_stopping.patience = None
    stage.method.retrain = None
    stage.method.lds = None
    return stage


def predicts(cfg: DictConfig) -> bool:
    """Whether predictions mean anything: not where the regulariser alone trains."""
    return bool(cfg.method.loss["_target_"] != f"{__name__}.{NoLoss.__name__}")


def first_folder(folder: RunFolder) -> RunFolder:
    """Where the first stage runs: a run folder within that of the whole."""
    return RunFolder(folder.path / "stage_1")


def first_checkpoint(cfg: DictConfig, folder: RunFolder) -> Path:
    """What the second stage starts from."""
    first = first_folder(folder)
    return first.last if cfg.method.retrain.features_only else first.best_or_last


def load_encoder(parts: Parts, checkpoint: Path) -> None:
    """Gives the encoder the weights of a run's checkpoint, whatever the head, FDS and loss of that run were.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no checkpoint, or that of another model; or its run, where it lies in a run folder with
            predictions, was tested on other rows, so that its training rows may be among the test rows of this run.
    """
    name = "method.retrain.checkpoint"
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{name}: no such file: {checkpoint}")
    try:
        saved = read_checkpoint(checkpoint)["state_dict"]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    weights = {key.removeprefix(_ENCODER): value for key, value in saved.items() if key.startswith(_ENCODER)}
    encoder = parts.module.model.encoder
    wrong = mismatches(encoder.state_dict(), weights)
    if wrong:
        raise ValueError(
            f"{name}: the encoder of {checkpoint} is another one: {', '.join(wrong[:5])}; give the checkpoint of a "
            "run with the same data and model settings"
        )
    predictions = RunFolder(checkpoint.resolve().parents[1]).predictions
    if predictions.is_file():
        with np.load(predictions, allow_pickle=False) as arrays:
            tested = torch.from_numpy(arrays["label"])
        if not torch.equal(tested, parts.data.labels("test")):
            raise ValueError(
                f"{name}: the run of {checkpoint} was tested on other rows, and may have trained on the test rows of "
                "this one; give a checkpoint of the same split (the same seed and data settings)"
            )
    encoder.load_state_dict(weights)


def first_results(folder: RunFolder) -> dict[str, Any]:
    """What metrics.json says of the first stage: epochs, best epoch and seconds."""
    run = json.loads(first_folder(folder).metrics.read_text(encoding="utf-8"))["run"]
    return {"stage_1": {key: run[key] for key in ("epochs", "best_epoch", "seconds")}}
