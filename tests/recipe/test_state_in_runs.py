"""State that the parts of a method collect in training: closed each epoch, saved, and restored by a resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from dir.losses.base import Regularizer
from dir.losses.srl import SRL
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
SHORT = ("trainer.max_epochs=3", "logger=none")


def run(cfg: DictConfig, path: Path) -> dict:
    train(cfg, RunFolder(path), {"method": "test"})
    return json.loads((path / "metrics.json").read_text())


def state(path: Path) -> dict[str, Tensor]:
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_srl_is_live_from_the_second_epoch_and_closed_before_each_checkpoint(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[tuple[int, float]] = []
    closed: list[int] = []
    forward, end = SRL.forward, SRL.end_epoch

    def spy(self: SRL, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        value = forward(self, features, labels, predictions)
        if torch.is_grad_enabled():
            values.append((len(closed), float(value.detach())))
        return value

    monkeypatch.setattr(SRL, "forward", spy)
    monkeypatch.setattr(SRL, "end_epoch", lambda self: (end(self), closed.append(1))[0])
    run(tiny(*SHORT, "method=srl"), tmp_path)
    assert len(closed) == 3
    assert {value for epoch, value in values if epoch == 0} == {0.0}
    assert all(value != 0 for epoch, value in values if epoch > 0)
    saved = state(tmp_path)
    assert saved["regularizers.0.live"] == 1
    assert saved["regularizers.0.sums.count"].sum() == 0
    assert saved["regularizers.0.centers"].abs().sum() > 0


def test_end_epoch_of_every_regulariser_is_called_each_epoch(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    monkeypatch.setattr(Regularizer, "end_epoch", lambda self: (called.append(1), {})[1])
    run(tiny(*SHORT, "method=ranksim", "+regularizer=rnc"), tmp_path)
    assert len(called) == 2 * 3


@pytest.mark.parametrize("method", ["srl", "uvote", "bni", "gai", "rbc", "vir"])
def test_killed_run_resumes_with_the_state_of_its_parts(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    settings = (*SHORT, f"method={method}")
    whole = run(tiny(*settings), tmp_path / "whole")
    step = RegressionModule.training_step

    def killed(self: RegressionModule, batch: tuple, batch_idx: int) -> Tensor:
        if self.current_epoch == 2 and batch_idx == 3:
            raise ArithmeticError("killed")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", killed)
        with pytest.raises(ArithmeticError, match="killed"):
            run(tiny(*settings), tmp_path / "killed")
    resumed = run(tiny(*settings, "resume=true"), tmp_path / "killed")
    assert (resumed["val"], resumed["test"]) == (whole["val"], whole["test"])
    first, second = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert evaluate_checkpoint(tmp_path / "killed/checkpoints/best.ckpt", [], trust=True)["test"] == whole["test"]
