"""The run folder: locked for one process at a time, never overwritten, clean at the end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from dir._atomic import write_atomic
from dir.recipe import folder_lock
from dir.recipe.folder_lock import FolderLock
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
CFG = OmegaConf.create({"resume": False, "optimizer": {"lr": 0.1}, "data": {"path": "a", "num_workers": 0}})

# Adds one to a number in a file, without care for others, whenever it has the lock.
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


def test_no_two_processes_hold_a_folder_at_once_though_the_lock_is_removed_each_time(tmp_path: Path) -> None:
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


def test_a_lock_on_a_removed_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The one who waited opened the file before the holder removed it, and locks it after.
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire()
    take = folder_lock._take

    def after_release(handle: int) -> None:
        first.release()
        take(handle)
        monkeypatch.setattr(folder_lock, "_take", take)

    monkeypatch.setattr(folder_lock, "_take", after_release)
    assert second.acquire()
    assert not FolderLock(tmp_path).acquire()  # it is the file of that name that is held
    second.release()
    assert names(tmp_path) == set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_does_not_hold_the_folder_of_its_parent(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:  # as a worker of a loader that outlives the run
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0 if not lock.held else 1)
    os.read(ready[0], 1)
    assert lock._handle is not None
    os.close(lock._handle)  # what a kill does, and no more
    lock._handle = None
    try:
        assert FolderLock(tmp_path).acquire()
    finally:
        os.write(go[1], b"x")
        assert os.waitpid(child, 0)[1] == 0


def test_a_file_system_without_locks_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock, "_take", no_locks)
    lock = FolderLock(tmp_path)
    with pytest.warns(UserWarning, match="cannot be locked here"):
        assert lock.acquire()
    lock.release()
    assert names(tmp_path) == set()


def test_the_second_of_two_runs_is_refused_whatever_it_wants(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run")
    first.start(CFG)
    for resume in (False, True, "previous"):
        second = RunFolder(tmp_path / "run")
        with pytest.raises(RuntimeError, match="is in use by another run"):
            second.check(resume)
        second.remove_if_empty()
        second.release()
    assert names(first.path) == {".lock", "config.yaml"}
    first.release()
    with pytest.raises(RuntimeError, match="holds an unfinished run: set resume=true"):
        RunFolder(tmp_path / "run").check(False)
    RunFolder(tmp_path / "run").check(True)


def test_a_run_that_started_between_check_and_start_is_seen(tmp_path: Path) -> None:
    for finish in (False, True):
        path = tmp_path / f"run_{finish}"
        late, early = RunFolder(path), RunFolder(path)
        late.check(False)
        early.check(False)
        early.start(CFG)
        if finish:
            early.metrics.write_text("{}")
            early.release()
        with pytest.raises(RuntimeError, match="never overwritten" if finish else "in use by another run"):
            late.start(CFG)
        late.release()
        assert early.config.is_file()


def test_a_lock_that_a_kill_left_refuses_nobody(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    folder = RunFolder(tmp_path)
    folder.check(False)
    folder.start(CFG)
    folder.release()
    assert names(tmp_path) == {"config.yaml"}


def test_a_refused_run_removes_no_folder_that_another_one_has_taken(
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


def test_going_on_with_other_settings_is_refused_and_elsewhere_is_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(CFG)
    moved = OmegaConf.merge(CFG, {"resume": True, "data": {"path": "b", "num_workers": 4}})
    assert isinstance(moved, DictConfig)
    folder.check_config(moved)
    for key, value in (("optimizer.lr", 0.2), ("optimizer.eps", 1)):
        other = OmegaConf.merge(CFG, OmegaConf.from_dotlist([f"{key}={value}"]))
        assert isinstance(other, DictConfig)
        with pytest.raises(ValueError, match=f"started with other settings: {key}"):
            folder.check_config(other)
    folder.release()


@pytest.mark.parametrize(
    ("number", "found"), [(errno.EACCES, PermissionError), (errno.ENOSPC, RuntimeError), (errno.EDQUOT, RuntimeError)]
)
def test_a_full_disk_is_explained_and_another_error_is_not_its_own_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, found: type[Exception]
) -> None:
    error = OSError(number, os.strerror(number))

    def failing(*_: object) -> float:
        raise error

    monkeypatch.setattr("dir.recipe.train._train", failing)
    with pytest.raises(found, match=os.strerror(number)) as caught:
        train(CFG, RunFolder(tmp_path / "run"), {})
    assert caught.value.__cause__ is (error if found is RuntimeError else None)


@pytest.mark.parametrize("place", ["sync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
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


def test_a_run_gives_its_folder_back_however_it_ends(tiny: Config, tmp_path: Path) -> None:
    settings = ("trainer.max_epochs=1", "logger=none")
    with pytest.raises(RuntimeError, match="diverged"):
        train(tiny(*settings, "optimizer=sgd", "optimizer.lr=1e30"), RunFolder(tmp_path / "bad"), {})
    assert names(tmp_path / "bad") == {"config.yaml"}, "diverged before the first checkpoint"
    train(tiny(*settings), RunFolder(tmp_path / "good"), {})
    assert names(tmp_path / "good") == {"config.yaml", "checkpoints", "metrics.json", "model", "predictions.npz"}
