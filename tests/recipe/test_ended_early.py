"""Runs ended by SIGTERM or a full disk: they leave a message and the last checkpoint, and can resume."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="watches files through /proc")
# The class Runs of conftest.py, which talks to the process of warm_runs.py.
Runs = Any


@pytest.mark.parametrize(
    ("moment", "finished"),
    [
        (("training_step", 1), 0),
        (("training_step", 6), 1),
        # A validation of one batch is finished first, and so is the writing of a checkpoint.
        (("validation_step", 1), 2),
        (("half of .last.ckpt.partial", 0), 1),
        (("half of .last.ckpt.partial", 2), 3),
    ],
)
def test_sigterm_ends_a_run_with_a_checkpoint_and_resume_instructions(
    runs: Runs, moment: tuple[str, int], finished: int
) -> None:
    name, number = moment
    places = [n for n, found in enumerate(runs.moments("whole")) if found == name]
    folder = f"term_{name.replace(' ', '_')}_{number}"
    assert runs.run(folder, moment=places[number], action="term") == 3, runs.log(folder)
    assert not (runs.folder / folder / ".lock").exists()
    last = runs.folder / folder / "checkpoints/last.ckpt"
    if finished:
        assert "Set resume=true to resume the run" in runs.log(folder)
        assert torch.load(last, weights_only=True)["epoch"] == finished - 1  # counted from 0
        assert runs.run(folder) == 1
        assert "the folder holds an unfinished run" in runs.log(folder)
    else:
        assert "Interrupted before the end of the first epoch" in runs.log(folder)
        assert not last.exists()
    runs.finish(folder, resume=True)
    runs.assert_same_end("whole", folder)


def test_sigterm_after_training_ends_at_once_and_loses_nothing(runs: Runs) -> None:
    moment = runs.moments("whole").index("open .predictions.npz.partial")
    assert runs.run("late", moment=moment, action="term") == -signal.SIGTERM
    runs.finish("late", resume=True)
    runs.assert_same_end("whole", "late")


@pytest.mark.parametrize("place", ["open .last.ckpt.partial", "training_step", "open .predictions.npz.partial"])
def test_run_that_can_write_no_more_says_so_and_leaves_the_last_checkpoint(runs: Runs, place: str) -> None:
    names = runs.moments("whole")
    moment = [n for n, name in enumerate(names) if name == place][-1]
    name = "limit_" + "".join(filter(str.isalpha, place))
    assert runs.run(name, moment=moment, action="limit") == 1
    log = runs.log(name)
    assert "Make room on the disk, then set resume=true" in log
    assert "File too large" in log
    folder = runs.folder / name
    assert not [path for path in folder.rglob("*") if "partial" in path.name or path.name == ".lock"]
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["epoch"] == (2 if "npz" in place else 1)
    runs.finish(name, resume=True)
    runs.assert_same_end("whole", name)


def test_full_disk_ends_the_run_with_a_message_and_the_run_resumes_when_there_is_room(runs: Runs) -> None:
    disk = runs.folder / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root and mount")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        names = runs.moments("whole")
        moment = [n for n, name in enumerate(names) if name == "training_step"][-1]
        for logger in ("none", "tensorboard"):
            name = f"disk/{logger}"
            assert runs.run(name, f"logger={logger}", moment=moment, action="fill") == 1
            assert "No space left on device" in runs.log("disk")
            assert "set resume=true" in runs.log("disk")
            assert torch.load(disk / logger / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
            (disk / "filler").unlink()
            runs.finish(name, f"logger={logger}", resume=True)
            assert runs.facts(f"disk/{logger}") == runs.facts("whole")
    finally:
        subprocess.run(["umount", str(disk)], check=False)
