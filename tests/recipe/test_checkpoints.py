"""Checkpoint files: written in one step, read without running code, and refused with the reason."""

from __future__ import annotations

import errno
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from dir.recipe.checkpoints import AtomicCheckpointIO, read_checkpoint
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.resume import check_resumable
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]


def content(epoch: int, module: nn.Module | None = None) -> dict[str, Any]:
    state = {"w": torch.full((50,), float(epoch))} if module is None else module.state_dict()
    rest = {name: {} for name in ("optimizer_states", "lr_schedulers", "loops", "callbacks")}
    return {"epoch": epoch, "state_dict": state, **rest}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_last_becomes_previous_and_other_files_are_replaced(tmp_path: Path) -> None:
    io = AtomicCheckpointIO()
    for epoch in range(3):
        io.save_checkpoint(content(epoch), tmp_path / "new/last.ckpt")
        io.save_checkpoint(content(epoch), tmp_path / "new/best.ckpt")
    assert names(tmp_path / "new") == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert io.load_checkpoint(tmp_path / "new/last.ckpt")["epoch"] == 2
    assert io.load_checkpoint(tmp_path / "new/previous.ckpt")["epoch"] == 1
    torch.testing.assert_close(read_checkpoint(tmp_path / "new/best.ckpt")["state_dict"], content(2)["state_dict"])


def test_the_file_is_synced_before_it_takes_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        inode = os.fstat(handle).st_ino
        calls.append("sync " + next(p.name for p in (tmp_path, *tmp_path.iterdir()) if p.stat().st_ino == inode))
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        assert self.parent == target.parent  # a rename across file systems would copy
        calls.append(f"{self.name} -> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    AtomicCheckpointIO().save_checkpoint(content(0), tmp_path / "last.ckpt")
    one = ["sync .last.ckpt.partial", ".last.ckpt.partial -> last.ckpt", f"sync {tmp_path.name}"]
    assert calls == one
    calls.clear()
    AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "last.ckpt")
    assert calls == [one[0], ".previous.ckpt.partial -> previous.ckpt", *one[1:]]


@pytest.mark.parametrize("place", ["write", "sync", "rename"])
def test_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint(content(0), tmp_path / "last.ckpt")
    before = (tmp_path / "last.ckpt").read_bytes()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"write": (torch, "save"), "sync": (os, "fsync"), "rename": (Path, "replace")}[place]
    monkeypatch.setattr(*target, full)
    with pytest.raises(RuntimeError, match=r"last\.ckpt: .*No space left.*earlier epoch is kept"):
        io.save_checkpoint(content(1), tmp_path / "last.ckpt")
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert names(tmp_path) == {"last.ckpt"}


def test_kill_between_the_two_renames_leaves_no_third_name(tmp_path: Path) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint(content(0), tmp_path / "last.ckpt")
    os.link(tmp_path / "last.ckpt", tmp_path / "previous.ckpt")  # the state after such a kill
    io.save_checkpoint(content(1), tmp_path / "last.ckpt")
    assert names(tmp_path) == {"previous.ckpt", "last.ckpt"}
    assert [read_checkpoint(tmp_path / f"{name}.ckpt")["epoch"] for name in ("previous", "last")] == [0, 1]


def test_without_hard_links_one_of_two_files_always_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    replace = Path.replace
    seen: list[set[str]] = []

    def renamed(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        seen.append({name for name in names(tmp_path) if not name.startswith(".")})
        return moved

    io = AtomicCheckpointIO()
    io.save_checkpoint(content(0), tmp_path / "last.ckpt")
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(Path, "replace", renamed)
    io.save_checkpoint(content(1), tmp_path / "last.ckpt")
    assert seen == [{"previous.ckpt"}, {"previous.ckpt", "last.ckpt"}]
    assert [read_checkpoint(tmp_path / f"{name}.ckpt")["epoch"] for name in ("previous", "last")] == [0, 1]


def test_run_killed_between_two_renames_resumes_from_the_previous_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.resume_from(True) is None
    AtomicCheckpointIO().save_checkpoint(content(0), folder.previous)
    assert folder.resume_from(True) == folder.previous
    AtomicCheckpointIO().save_checkpoint(content(1), folder.last)
    assert folder.resume_from(True) == folder.last
    assert folder.resume_from("previous") == folder.previous


class Evil:
    """A pickle that calls a function when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("cut", [0, 1, 100, 0.3, 0.9, -1])
def test_truncated_file_is_named(tmp_path: Path, cut: float) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(0), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])
    with pytest.raises(ValueError, match=r"last\.ckpt: the file cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("form", ["pickle", "torch", "old torch"])
def test_code_in_a_file_is_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    harmful = {**content(0), "more": Evil(trace)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(harmful, protocol=2))
    else:
        torch.save(harmful, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(ValueError, match=r"last\.ckpt: the file cannot be read"):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()  # without the check, the code runs


@pytest.mark.parametrize("value", [torch.ones(2), [1, 2], {"w": torch.ones(2)}, {"state_dict": [1], "epoch": 0}])
def test_file_with_other_content_is_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt: .*state_dict"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_checkpoint_of_another_model_names_the_differences(tmp_path: Path) -> None:
    own = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    path = tmp_path / "run/checkpoints/last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(0, own), path)
    check_resumable(path, own)
    with pytest.raises(ValueError, match=r"last\.ckpt: .*another model: 0\.weight \(2, 3\) instead of \(2, 4\)"):
        check_resumable(path, nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=r"another model: 0\.bias"):
        check_resumable(path, nn.Sequential(nn.Linear(3, 2, bias=False)))
    with pytest.raises(ValueError, match=f"Remove {path.parents[1]} to start again"):
        check_resumable(path, nn.ReLU())
    AtomicCheckpointIO().save_checkpoint(content(1, own), path)
    with pytest.raises(ValueError, match="resume=previous"):
        check_resumable(path, nn.ReLU())


def interrupted(cfg: DictConfig, path: Path) -> None:
    """Leave a run folder as a kill after the last epoch does."""
    train(cfg, RunFolder(path), {})
    (path / "metrics.json").unlink()
    (path / "predictions.npz").unlink()


def test_run_refuses_foreign_checkpoints_and_changes_nothing(tiny: Config, tmp_path: Path) -> None:
    settings = ("method=lds_fds", "trainer.max_epochs=2", "logger=none", "checkpoint_every_seconds=0")
    path = tmp_path / "run"
    interrupted(tiny(*settings), path)
    last = path / "checkpoints/last.ckpt"
    good, best = last.read_bytes(), (path / "checkpoints/best.ckpt").read_bytes()
    torch.save(content(0, nn.Linear(1, 1)), tmp_path / "other.ckpt")
    cases = {
        "cannot be read": good[: len(good) // 2],
        "the file cannot be read": b"",
        "optimizer_states": best,
        "another model": (tmp_path / "other.ckpt").read_bytes(),
    }
    for message, damaged in cases.items():
        last.write_bytes(damaged)
        before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
        with pytest.raises(ValueError, match=message) as error:
            train(tiny(*settings, "resume=true"), RunFolder(path), {})
        assert str(last) in str(error.value)
        assert "resume=previous" in str(error.value)
        assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == before
    (path / "checkpoints/previous.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"previous\.ckpt: the file cannot be read"):
        train(tiny(*settings, "resume=previous"), RunFolder(path), {})


def test_evaluation_names_a_damaged_or_foreign_checkpoint(tiny: Config, tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(tiny("trainer.max_epochs=1", "logger=none"), RunFolder(path), {})
    best = path / "checkpoints/best.ckpt"
    with pytest.raises(ValueError, match=r"best\.ckpt: .*layers\.0\.weight \(8, 4\) instead of \(9, 4\)"):
        evaluate_checkpoint(best, ["model.encoder.num_features=9"], trust=True)
    best.write_bytes(best.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"best\.ckpt: the file cannot be read"):
        evaluate_checkpoint(best, [], trust=True)


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    generator = torch.Generator().manual_seed(0)
    saved = content(3) | {"state_dict": {"w": torch.randn(40, 8, generator=generator), "b": torch.arange(5.0)}}
    AtomicCheckpointIO().save_checkpoint(saved, path)
    whole = path.read_bytes()
    draw = random.Random(5)
    noticed = 0
    for _ in range(300):
        place, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            found = read_checkpoint(path)
        except ValueError:
            noticed += 1
            continue
        # Padding and unused fields of the archive: the content is the same.
        assert found["epoch"] == saved["epoch"]
        assert found["state_dict"].keys() == saved["state_dict"].keys()
        assert all(torch.equal(found["state_dict"][key], value) for key, value in saved["state_dict"].items())
    assert noticed > 150


def test_flipped_bits_in_the_weights_are_all_noticed(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    weights = torch.arange(4096.0)
    AtomicCheckpointIO().save_checkpoint(content(0) | {"state_dict": {"w": weights}}, path)
    whole = path.read_bytes()
    start = whole.index(weights.numpy().tobytes())
    draw = random.Random(6)
    for _ in range(300):
        place, bit = start + draw.randrange(4 * 4096), 1 << draw.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"best\.ckpt: .*damaged"):
            read_checkpoint(path)
