"""The run folder: locked for one process at a time, never overwritten, without leftovers at the end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from torch import Tensor

from dir._atomic import write_atomic
from dir.recipe import folder_lock
from dir.recipe.folder_lock import FolderLock
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
CONFIG = {"resume": False, "optimizer": {"lr": 0.1}, "data": {"path": "a", "num_workers": 0}}

# Adds one to a number in a file while holding the lock; without the lock, updates would be lost.
WORKER = """
import sys, time
from pathlib import Path
from dir.recipe.folder_lock import FolderLock
folder, counter = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    lock = FolderLock(folder)
    while not lock.acquire():
        time.sleep(0.0002)
    number = int(counter.read_text())
    time.sleep(0.0001)
    counter.write_text(str(number + 1))
    lock.release()
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_two_processes_never_hold_a_folder_at_once_although_each_release_removes_the_file(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", WORKER, str(tmp_path / "run"), str(counter), "80"]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.communicate("go\n", timeout=60)
        assert worker.returncode == 0
    assert int(counter.read_text()) == 4 * 80
    assert names(tmp_path / "run") == set()


def test_lock_on_a_removed_file_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The second process opened the file before the first removed it, and locks it afterwards.
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire()
    lock_handle = folder_lock._lock_handle

    def after_release(handle: int) -> None:
        first.release()
        lock_handle(handle)
        monkeypatch.setattr(folder_lock, "_lock_handle", lock_handle)

    monkeypatch.setattr(folder_lock, "_lock_handle", after_release)
    assert second.acquire()
    assert not FolderLock(tmp_path).acquire()  # the second holds the file that has the name
    second.release()
    assert names(tmp_path) == set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_does_not_hold_the_folder_of_its_parent(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:  # like a loader worker that outlives the run
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0 if not lock.held else 1)
    os.read(ready[0], 1)
    assert lock._handle is not None
    os.close(lock._handle)  # a kill does only this
    lock._handle = None
    try:
        assert FolderLock(tmp_path).acquire()
    finally:
        os.write(go[1], b"x")
        assert os.waitpid(child, 0)[1] == 0


def test_file_system_without_locks_draws_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock, "_lock_handle", no_locks)
    lock = FolderLock(tmp_path)
    with pytest.warns(UserWarning, match=r"\.lock: .*No locks available"):
        assert lock.acquire()
    lock.release()
    assert names(tmp_path) == set()


def test_second_of_two_runs_is_refused_with_every_setting_of_resume(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run")
    first.start(CONFIG)
    for resume in (False, True, "previous"):
        second = RunFolder(tmp_path / "run")
        with pytest.raises(RuntimeError, match=r"run: the folder is in use"):
            second.check(resume)
        second.remove_if_empty()
        second.release()
    assert names(first.path) == {".lock", "config.yaml"}
    first.release()
    with pytest.raises(RuntimeError, match=r"run: .*unfinished.*resume=true"):
        RunFolder(tmp_path / "run").check(False)
    RunFolder(tmp_path / "run").check(True)


def test_run_that_started_between_check_and_start_is_noticed(tmp_path: Path) -> None:
    for finish in (False, True):
        path = tmp_path / f"run_{finish}"
        late, early = RunFolder(path), RunFolder(path)
        late.check(False)
        early.check(False)
        early.start(CONFIG)
        if finish:
            early.metrics.write_text("{}")
            early.release()
        with pytest.raises(RuntimeError, match="finished" if finish else "in use"):
            late.start(CONFIG)
        late.release()
        assert early.config.is_file()


def test_lock_file_left_by_a_kill_does_not_block(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    folder = RunFolder(tmp_path)
    folder.check(False)
    folder.start(CONFIG)
    folder.release()
    assert names(tmp_path) == {"config.yaml"}


def test_refused_run_does_not_remove_a_folder_that_another_run_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "outputs/name/seed_0"
    holder, refused = RunFolder(path), RunFolder(path)
    holder.lock()
    refused.remove_if_empty()
    assert names(path) == {".lock"}
    assert not FolderLock(path).acquire()
    holder.remove_if_empty()
    assert names(tmp_path) == set()


def test_resuming_with_other_settings_is_refused_and_with_other_paths_is_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(CONFIG)
    folder.check(True, {**CONFIG, "resume": True, "data": {"path": "b", "num_workers": 4}})
    for key, optimizer in (("optimizer.lr", {"lr": 0.2}), ("optimizer.eps", {"lr": 0.1, "eps": 1})):
        with pytest.raises(ValueError, match=f"resume: .*{key}"):
            folder.check(True, {**CONFIG, "optimizer": optimizer})
    folder.release()


@pytest.mark.parametrize(
    ("number", "found"), [(errno.EACCES, PermissionError), (errno.ENOSPC, RuntimeError), (errno.EDQUOT, RuntimeError)]
)
def test_full_disk_is_explained_and_other_errors_pass_unchanged(
    tmp_path: Path, number: int, found: type[Exception]
) -> None:
    error = OSError(number, os.strerror(number))
    with pytest.raises(found, match=os.strerror(number)) as caught, RunFolder(tmp_path / "run").in_use():
        raise error
    assert caught.value.__cause__ is (error if found is RuntimeError else None)


@pytest.mark.parametrize("place", ["sync", "rename"])
def test_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(*{"sync": (os, "fsync"), "rename": (Path, "replace")}[place], full)
    with pytest.raises(OSError, match="full"):
        write_atomic(path, b"new")
    assert names(path.parent) == {"file"}
    assert path.read_bytes() == b"old"


def test_run_releases_its_folder_however_it_ends(tiny: Config, tmp_path: Path) -> None:
    settings = ("trainer.max_epochs=1", "logger=none")
    with pytest.raises(RuntimeError, match="not finite in epoch 1"):
        train(tiny(*settings, "optimizer=sgd", "optimizer.lr=1e30"), RunFolder(tmp_path / "bad"), {})
    assert names(tmp_path / "bad") == {"config.yaml", "data.json", "split.json.gz"}, (
        "diverged before the first checkpoint"
    )
    train(tiny(*settings), RunFolder(tmp_path / "good"), {})
    assert names(tmp_path / "good") == {
        "checkpoints",
        "config.yaml",
        "data.json",
        "metrics.json",
        "model",
        "predictions.npz",
        "split.json.gz",
    }


@pytest.mark.parametrize("logger", ["none", "tensorboard"])
def test_run_that_fails_before_its_first_step_leaves_no_folder(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    def failing(*_: object) -> None:
        raise ArithmeticError("out of memory")

    monkeypatch.setattr(RegressionModule, "training_step", failing)
    settings = ("trainer.max_epochs=1", f"logger={logger}")
    for method in ("vanilla", "rrt"):
        with pytest.raises(ArithmeticError, match="out of memory"):
            train(tiny(*settings, f"method={method}"), RunFolder(tmp_path / method), {})
        assert names(tmp_path) == set(), "config.yaml, the log and the first stage are removed"


def test_failure_before_the_first_step_keeps_a_trained_first_stage(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RegressionModule.training_step

    def failing(self: RegressionModule, *given: Any) -> Tensor:
        if self.lds is not None:
            raise ArithmeticError("in the second stage")
        return step(self, *given)

    monkeypatch.setattr(RegressionModule, "training_step", failing)
    with pytest.raises(ArithmeticError, match="in the second stage"):
        train(tiny("trainer.max_epochs=1", "logger=none", "method=rrt"), RunFolder(tmp_path / "run"), {})
    assert (tmp_path / "run/stage_1/metrics.json").is_file()


def test_failure_of_a_resumed_run_removes_nothing(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("trainer.max_epochs=1", "logger=none")
    train(tiny(*settings), RunFolder(tmp_path), {})
    for name in ("metrics.json", "predictions.npz"):
        (tmp_path / name).unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr("dir.recipe.train.load_weights", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tiny(*settings, "resume=true"), RunFolder(tmp_path), {})
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before.keys() <= after.keys()


def test_missing_package_of_the_logger_leaves_no_folder(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("no tensorboard")

    monkeypatch.setattr("lightning.pytorch.loggers.TensorBoardLogger.__init__", missing)
    with pytest.raises(ModuleNotFoundError, match="no tensorboard"):
        train(tiny("logger=tensorboard"), RunFolder(tmp_path / "run"), {})
    assert names(tmp_path) == set()
