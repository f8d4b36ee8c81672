"""Checkpoints that are kept in memory between two writes: cadence, the end of a run, kills, and the best epoch."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from benchmarks.reliability.killed_runs import differences, same
from dir.recipe.checkpoints import AtomicCheckpointIO, copy_to_memory, read_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
Runs = Any  # the class Runs of conftest.py
KILLED = -signal.SIGKILL
# A second is a training step; an epoch has 4. The checkpoints of epochs 2, 4, ... are written, and the last.
EVERY_TWO_EPOCHS = {"clock": "steps"}
SIX = "checkpoint_every_seconds=6"
linux_only = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="watches files through /proc")


def content(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "state_dict": {"w": torch.full((3,), float(epoch))}, **more}


def epoch_of(path: Path) -> int:
    return int(read_checkpoint(path)["epoch"])


@pytest.mark.parametrize(("every", "epoch_seconds"), [(10.0, 0.3), (10.0, 4.0), (10.0, 25.0), (60.0, 7.0)])
def test_a_run_of_several_minutes_is_written_within_the_interval(
    tmp_path: Path, every: float, epoch_seconds: float
) -> None:
    now = 1000.0
    io, last = AtomicCheckpointIO(every, lambda: now), tmp_path / "last.ckpt"
    written = [now]
    for epoch in range(int(400 / epoch_seconds)):
        now += epoch_seconds
        io.save_checkpoint(content(epoch), last)
        if last.is_file() and epoch_of(last) == epoch:
            written.append(now)
        # A kill loses the seconds since the last write: fewer than the interval at the end of an epoch.
        assert now - written[-1] < every
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert min(gaps) >= every
    assert max(gaps) < every + epoch_seconds
    assert sum(gaps) > 300


def test_the_best_is_written_before_the_last_which_records_its_hash(tmp_path: Path) -> None:
    now = 0.0
    io, best, last = AtomicCheckpointIO(10.0, lambda: now), tmp_path / "best.ckpt", tmp_path / "last.ckpt"

    def whole(epoch: int) -> dict[str, Any]:
        states = {"best": {"monitor": "val/all/mae", "best_model_path": str(best)}, "last": {"monitor": None}}
        return content(epoch, callbacks=states)

    for epoch in range(4):
        now += 3.0
        if epoch == 1:
            io.save_checkpoint(content(epoch), best)
        assert not last.is_file()
        assert not best.is_file()
        io.save_checkpoint(whole(epoch), last)
    assert (epoch_of(best), epoch_of(last)) == (1, 3)
    states = read_checkpoint(last)["callbacks"]
    assert states["best"]["best_sha256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert "best_sha256" not in states["last"]


def test_kept_checkpoints_do_not_change_with_the_training(tmp_path: Path) -> None:
    weight = torch.nn.Linear(2, 1)
    state = weight.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    copied = copy_to_memory({"state_dict": state, "loops": ({"epoch": [1]}, Counter([2, 2]))})
    torch.nn.init.constant_(weight.weight, 7.0)
    assert type(copied["state_dict"]) is type(state)
    assert copied["state_dict"]._metadata == state._metadata  # type: ignore[attr-defined]
    assert same(dict(copied["state_dict"]), before)
    assert copied["loops"] == ({"epoch": [1]}, Counter({2: 2}))


@linux_only
def test_a_run_ends_the_same_however_often_its_checkpoints_are_written(runs: Runs) -> None:
    # With a learning rate this high, the first epoch is the best.
    jumps = ("optimizer.lr=3", "trainer.max_epochs=5")
    runs.finish("each", *jumps)
    runs.finish("two", *jumps, SIX, **EVERY_TWO_EPOCHS)
    runs.finish("end", *jumps, "checkpoint_every_seconds=10")
    runs.assert_same_end("each", "two")
    runs.assert_same_end("each", "end")
    folders = {name: runs.folder / name / "checkpoints" for name in ("each", "two", "end")}
    best = runs.facts("each")["run"]["best_epoch"]
    assert best < 5
    for name, previous in (("each", 4), ("two", 4), ("end", None)):
        assert epoch_of(folders[name] / "best.ckpt") + 1 == best
        found = folders[name] / "previous.ckpt"
        assert (epoch_of(found) + 1 if found.is_file() else None) == previous


@linux_only
def test_a_killed_run_resumes_to_the_same_end_with_few_checkpoints(runs: Runs) -> None:
    runs.finish("few", SIX, **EVERY_TWO_EPOCHS)
    runs.assert_same_end("whole", "few")
    names = runs.moments("few")
    steps, lasts, bests = (
        [n for n, name in enumerate(names) if name == wanted]
        for wanted in ("training_step", "half of .last.ckpt.partial", "half of .best.ckpt.partial")
    )
    assert len(lasts) == 2
    # Before the first checkpoint; the best written without the last; in epoch 3, after the checkpoint of epoch 2.
    for number, (moment, kept) in enumerate([(steps[6], None), (lasts[0], None), (steps[-1], 1), (bests[-1], 1)]):
        name = f"few_{number}"
        assert runs.run(name, SIX, moment=moment, **EVERY_TWO_EPOCHS) == KILLED, runs.log(name)
        last = runs.folder / name / "checkpoints/last.ckpt"
        assert (epoch_of(last) if last.is_file() else None) == kept
        # The cadence may change between a run and its resumption.
        runs.finish(name, *(["checkpoint_every_seconds=0"] if number % 2 else [SIX]), resume=True, **EVERY_TWO_EPOCHS)
        runs.assert_same_end("whole", name)
        shutil.rmtree(runs.folder / name)


def interrupted(tiny: Config, path: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
    step = RegressionModule.training_step

    def failing(self: RegressionModule, batch: Any, batch_idx: int) -> Tensor:
        if self.current_epoch == 2:
            raise ArithmeticError("stopped")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", failing)
        with pytest.raises(ArithmeticError, match="stopped"):
            train(tiny(*overrides), RunFolder(path), {})


def test_an_exception_loses_no_finished_epoch(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("trainer.max_epochs=4", "logger=none", "method=lds_fds", "trainer.enable_progress_bar=false")
    interrupted(tiny, tmp_path / "run", monkeypatch, *settings)
    assert epoch_of(tmp_path / "run/checkpoints/last.ckpt") == 1
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()
    train(tiny(*settings, "resume=true"), RunFolder(tmp_path / "run"), {})
    train(tiny(*settings), RunFolder(tmp_path / "whole"), {})
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_a_failed_write_after_an_exception_does_not_hide_the_exception(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: AtomicCheckpointIO, checkpoint: Any, target: Path) -> None:
        raise RuntimeError(f"{target.name}: disk full")

    monkeypatch.setattr(AtomicCheckpointIO, "_write", full)
    interrupted(tiny, tmp_path / "run", monkeypatch, "trainer.max_epochs=3", "logger=none")
    assert "best.ckpt: disk full" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_an_interval_that_means_nothing_is_refused(tiny: Config, tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=r"checkpoint_every_seconds: expected a number >= 0"):
        train(tiny(f"checkpoint_every_seconds={value}"), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()
