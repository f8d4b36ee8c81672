"""Decoupled training (RRT): train the model without weights, then a new head on its frozen encoder with weights.

With ``method.retrain.features_only`` the first stage trains the encoder by the regulariser alone, as contrastive
methods do. The predictions of such a stage mean nothing, and the second stage starts from its last epoch.

Reference:
    Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (RRT, after Kang et al., Decoupling Representation
    and Classifier for Long-Tailed Recognition, ICLR 2020). The published second stage still moves the statistics of
    batch norm; ours freezes the whole encoder.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import seed_everything
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dir._archives import read_npz
from dir._checks import message
from dir.data.base import RegressionData
from dir.recipe.build import SetUp, build
from dir.recipe.checkpoints import mismatches, read_checkpoint
from dir.recipe.parts import Parts
from dir.recipe.run_folder import RunFolder

_ENCODER = "model.encoder."
_CHECKPOINT = "method.retrain.checkpoint"


class NoLoss(nn.Module):
    """Return zero for every prediction, so that only the regularisers train the model."""

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return output.sum() * 0.0


@dataclass(frozen=True)
class Stage:
    """One training of a run, with its parts built.

    Args:
        parts: data, module and settings of the stage.
        config: resolved config of the stage, for config.yaml.
        folder: folder of the stage.
        first: folder of the first stage, where this is the second stage of a run; or None.
        is_first: whether a second stage follows.
    """

    parts: Parts
    config: dict[str, Any]
    folder: RunFolder
    first: RunFolder | None = None
    is_first: bool = False

    @property
    def waits(self) -> bool:
        """Whether the first stage must still train."""
        return self.first is not None and not self.first.finished

    def load_encoder(self) -> None:
        """Load the encoder that the first stage, or the run of ``method.retrain.checkpoint``, has trained."""
        settings = self.parts.settings
        if settings.encoder_checkpoint is not None:
            load_encoder(self.parts, Path(settings.encoder_checkpoint))
        elif self.first is not None:
            last = settings.encoder_of_last_epoch
            load_encoder(self.parts, self.first.last if last else self.first.best_or_last)

    def first_results(self) -> dict[str, Any]:
        """Return the entry of metrics.json about the first stage: its epochs, best epoch and seconds."""
        if self.first is None:
            return {}
        run = json.loads(self.first.metrics.read_text(encoding="utf-8"))["run"]
        return {"stage_1": {key: run[key] for key in ("epochs", "best_epoch", "seconds")}}


def build_stages(cfg: DictConfig, folder: RunFolder, set_up: SetUp = RegressionData.setup) -> list[Stage]:
    """Build the trainings that a run consists of, without a first stage that is finished already.

    Each stage draws its weights from the seed of the run, as a run of that stage alone does.
    """
    retrain = cfg.method.retrain
    if retrain is None or retrain.checkpoint is not None:
        return [build_stage(cfg, folder, set_up=set_up)]
    first = RunFolder(folder.path / "stage_1")
    stages = [] if first.finished else [build_stage(first_config(cfg), first, set_up=set_up, is_first=True)]
    return [*stages, build_stage(cfg, folder, first, set_up)]


def build_stage(
    cfg: DictConfig,
    folder: RunFolder,
    first: RunFolder | None = None,
    set_up: SetUp = RegressionData.setup,
    is_first: bool = False,
) -> Stage:
    """Seed all random generators, then build the parts of one stage."""
    seed_everything(cfg.seed, workers=True, verbose=False)
    config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    return Stage(build(cfg, set_up), config, folder, first, is_first)


def first_config(cfg: DictConfig) -> DictConfig:
    """Return the config of the first stage: the method without its weights, or its regulariser alone."""
    stage = copy.deepcopy(cfg)
    if cfg.method.retrain.features_only:
        stage.method.loss = {"_target_": f"{__name__}.{NoLoss.__name__}"}
        stage.early_stopping.patience = None
    stage.method.retrain = None
    stage.method.lds = None
    return stage


def load_encoder(parts: Parts, checkpoint: Path) -> None:
    """Load the encoder's weights from the checkpoint of any run with the same encoder.

    The head, the FDS and the loss of that run may differ from those of this run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, or the checkpoint of another model, or its run was tested on other
            rows: that run may have trained on the test rows of this run.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(message(_CHECKPOINT, f"there is no file {checkpoint}"))
    try:
        saved = read_checkpoint(checkpoint)["state_dict"]
    except ValueError as error:
        raise ValueError(f"{_CHECKPOINT}: {error}") from error
    weights = {key.removeprefix(_ENCODER): value for key, value in saved.items() if key.startswith(_ENCODER)}
    encoder = parts.module.model.encoder
    wrong = mismatches(encoder.state_dict(), weights)
    if wrong:
        raise ValueError(
            message(
                _CHECKPOINT,
                f"the encoder of {checkpoint} differs: {', '.join(wrong[:5])}",
                advice="Give the checkpoint of a run with the same data and model settings.",
            )
        )
    _check_same_test_rows(parts, checkpoint)
    encoder.load_state_dict(weights)


def _check_same_test_rows(parts: Parts, checkpoint: Path) -> None:
    """Raise a ValueError if a finished run in the checkpoint's folder was tested on other rows."""
    predictions = RunFolder(checkpoint.resolve().parents[1]).predictions
    if not predictions.is_file():
        return
    tested = torch.from_numpy(read_npz(predictions, ["label"])["label"])
    if not torch.equal(tested, parts.data.labels("test")):
        raise ValueError(
            message(
                _CHECKPOINT,
                f"the run of {checkpoint} was tested on other rows and may have trained on the test rows of this run",
                advice="Give a checkpoint of the same split: the same seed and data settings.",
            )
        )
