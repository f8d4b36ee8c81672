"""best.ckpt of an interrupted run: a lost or older file is noticed, and best=recompute chooses among the rest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
SETTINGS = ("trainer.max_epochs=6", "optimizer.lr=0.01", "logger=none", "checkpoint_every_seconds=0")


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


@pytest.fixture
def interrupted(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run interrupted in its last epoch; older.ckpt holds the best of an earlier epoch."""
    step = RegressionModule.training_step
    path = tmp_path / "run"

    def killed(self: RegressionModule, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 0 and self.current_epoch == 1:
            shutil.copy(path / "checkpoints/best.ckpt", tmp_path / "older.ckpt")
        if self.current_epoch == 5:
            raise ArithmeticError("killed")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", killed)
        with pytest.raises(ArithmeticError, match="killed"):
            train(tiny(*SETTINGS), RunFolder(path), {})
    assert epoch_of(tmp_path / "older.ckpt") < epoch_of(path / "checkpoints/best.ckpt")
    return path


def test_last_checkpoint_records_value_and_hash_of_the_best(interrupted: Path) -> None:
    states = torch.load(interrupted / "checkpoints/last.ckpt", weights_only=True)["callbacks"].values()
    (state,) = (state for state in states if state.get("best_sha256"))
    best = (interrupted / "checkpoints/best.ckpt").read_bytes()
    assert state["best_sha256"] == hashlib.sha256(best).hexdigest()
    assert float(state["best_model_score"]) > 0


@pytest.mark.parametrize("change", ["lost", "older"])
def test_lost_or_older_best_checkpoint_stops_the_resumed_run(
    tiny: Config, tmp_path: Path, interrupted: Path, change: str
) -> None:
    best = interrupted / "checkpoints/best.ckpt"
    best.unlink() if change == "lost" else shutil.copy(tmp_path / "older.ckpt", best)
    with pytest.raises(ValueError, match=r"best\.ckpt: .*val/all/mae.*best=recompute"):
        train(tiny(*SETTINGS, "resume=true"), RunFolder(interrupted), {})
    assert not (interrupted / "metrics.json").exists()


def test_recompute_chooses_the_best_of_the_checkpoints_that_are_left(
    tiny: Config, interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (interrupted / "checkpoints/best.ckpt").unlink()
    train(tiny(*SETTINGS, "resume=true", "best=recompute"), RunFolder(interrupted), {})
    printed = capsys.readouterr().out
    assert "last.ckpt, epoch 5" in printed
    assert "previous.ckpt, epoch 4" in printed
    run = json.loads((interrupted / "metrics.json").read_text())["run"]
    assert run["best_epoch"] == epoch_of(interrupted / "checkpoints/best.ckpt") + 1
    assert run["best_epoch"] in (4, 5, 6)


def test_intact_best_checkpoint_resumes_to_the_same_end(tiny: Config, tmp_path: Path, interrupted: Path) -> None:
    train(tiny(*SETTINGS, "resume=true"), RunFolder(interrupted), {})
    train(tiny(*SETTINGS), RunFolder(tmp_path / "whole"), {})
    first, second = (json.loads((path / "metrics.json").read_text()) for path in (interrupted, tmp_path / "whole"))
    assert first["test"] == second["test"]
    assert first["run"]["best_epoch"] == second["run"]["best_epoch"]
