"""Runs that are killed, ended, raced and starved of disk; the rest of them must end as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).resolve().parent
# FDS state, weights, dropout, augmentation, a scheduler.
SETTINGS = (
    "method=lds_fds",
    "trainer.max_epochs=3",
    "data.batch_size=64",
    "+data.noise=0.3",
    "model.encoder.dropout=0.3",
    "scheduler=multistep",
    "scheduler.milestones=[2]",
    "logger=none",
)
KILLED = -signal.SIGKILL

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="watches files through /proc")


class Runs:
    """The process of warm_runs.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "warm_runs.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Losses must not depend on threads, and a forked child of a process with a pool of them may hang.
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )

    def _ask(self, **job: Any) -> dict[str, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(job), file=self.process.stdin, flush=True)
        answer: dict[str, int] = json.loads(self.process.stdout.readline())
        return answer

    def start(self, name: str, *more: str, **job: Any) -> int:
        path = self.folder / name
        # Beside the folder, or where that is on a disk of its own, beside that.
        log = self.folder / Path(name).parts[0]
        return self._ask(path=str(path), log=str(log), overrides=[*SETTINGS, *more], **job)["pid"]

    def wait(self, pid: int) -> int:
        return self._ask(wait=pid)["code"]

    def run(self, name: str, *more: str, **job: Any) -> int:
        return self.wait(self.start(name, *more, **job))

    def finish(self, name: str, *more: str, **job: Any) -> None:
        assert self.run(name, *more, **job) == 0, self.log(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def moments(self, name: str) -> list[str]:
        return json.loads((self.folder / f"{name}.moments").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    found = Runs(tmp_path_factory.mktemp("runs"))
    found.finish("whole")
    yield found
    assert found.process.stdin is not None
    found.process.stdin.close()
    found.process.wait(30)


def facts(path: Path) -> dict[str, Any]:
    """All of metrics.json but how long it took (and where others' commits are made meanwhile, the commit)."""
    content: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    for name in ("seconds", "commit"):
        del content["run"][name]
    return content


def assert_same_end(runs: Runs, first: str, second: str) -> None:
    one, two = runs.folder / first, runs.folder / second
    assert facts(one) == facts(two)
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    with np.load(one / "predictions.npz") as a, np.load(two / "predictions.npz") as b:
        np.testing.assert_array_equal(a["prediction"], b["prediction"])
    for name in ("best", "last"):
        a, b = (torch.load(path / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"] for path in (one, two))
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(b[key], a[key], rtol=0, atol=0, equal_nan=True, msg=key)


def random_moments(names: list[str]) -> list[int]:
    """Ten of a run's moments: four in writing a checkpoint, three in writing the end, three anywhere."""
    draw = random.Random(2021)
    numbers = range(names.index("open .lock") + 1, len(names))
    checkpoints = [n for n in numbers if "ckpt" in names[n]]
    ends = [n for n in numbers if "predictions" in names[n] or "metrics" in names[n] or "lock" in names[n]]
    others = [n for n in numbers if n not in checkpoints and n not in ends]
    return draw.sample(checkpoints, 4) + draw.sample(ends, 3) + draw.sample(others, 3)


def test_a_run_killed_at_ten_random_moments_ends_as_if_it_had_not_been(runs: Runs) -> None:
    names = runs.moments("whole")
    assert {"training_step", "half of .last.ckpt.partial", "os.link last.ckpt", "half of .metrics.json.partial"} <= {
        *names
    }
    for moment in random_moments(names):
        name = f"killed_{moment}"
        assert runs.run(name, moment=moment) == KILLED, runs.log(name)
        if (runs.folder / name / "metrics.json").is_file():  # killed while it gave the folder back: it had finished
            (runs.folder / name / ".lock").unlink()
        else:
            runs.finish(name, resume=True)
        assert_same_end(runs, "whole", name)
        shutil.rmtree(runs.folder / name)


def test_a_run_may_be_killed_again_and_again(runs: Runs) -> None:
    code = 0
    for moment in (25, 3, 14, 12):
        code = runs.run("again", moment=moment, resume=True)
        assert code == KILLED, runs.log("again")
    runs.finish("again", resume=True)
    assert_same_end(runs, "whole", "again")


def test_a_run_with_workers_killed_from_outside_goes_on_at_once(runs: Runs) -> None:
    workers = "data.num_workers=2"
    began = time.monotonic()
    runs.finish("workers", workers)
    length = time.monotonic() - began
    assert (
        facts(runs.folder / "workers")["test"] != facts(runs.folder / "whole")["test"]
    )  # they draw the augmentation
    draw = random.Random(7)
    for number in range(2):
        name = f"workers_{number}"
        pid = runs.start(name, workers)
        time.sleep(draw.uniform(0.4, 0.9) * length)
        os.kill(pid, signal.SIGKILL)
        assert runs.wait(pid) in (KILLED, 0)
        if not (runs.folder / name / "metrics.json").is_file():
            # Workers of the killed one may still be there: they hold nothing.
            runs.finish(name, workers, resume=True)
            assert_same_end(runs, "workers", name)


def test_a_truncated_checkpoint_is_refused_and_the_previous_one_goes_on_to_the_same_end(runs: Runs) -> None:
    moment = len(runs.moments("whole")) - 5
    assert runs.run("cut", moment=moment) == KILLED
    last = runs.folder / "cut/checkpoints/last.ckpt"
    content = last.read_bytes()
    for cut in (content[: len(content) // 2], b""):
        last.write_bytes(cut)
        assert runs.run("cut", resume=True) == 1
        assert f"{last} cannot be read" in runs.log("cut")
        assert "resume=previous" in runs.log("cut")
        assert last.read_bytes() == cut
    runs.finish("cut", resume="previous")
    assert_same_end(runs, "whole", "cut")


def test_a_folder_that_was_moved_keeps_its_best_epoch(runs: Runs) -> None:
    # So high that the best of four epochs is the first.
    settings = ("optimizer.lr=3", "trainer.max_epochs=4")
    runs.finish("jumps", *settings)
    best = facts(runs.folder / "jumps")["run"]["best_epoch"]
    assert best < 4
    third = [n for n, name in enumerate(runs.moments("jumps")) if name == "validation_step"][best]
    assert runs.run("here", *settings, moment=third) == KILLED
    (runs.folder / "here").rename(runs.folder / "there")
    runs.finish("there", *settings, resume=True)
    assert_same_end(runs, "jumps", "there")


def test_early_stopping_stays_stopped_when_killed_before_the_end(runs: Runs) -> None:
    settings = ("optimizer.lr=3", "trainer.max_epochs=40", "early_stopping.patience=2")
    runs.finish("stopped", *settings)
    names = runs.moments("stopped")
    assert facts(runs.folder / "stopped")["run"]["epochs"] < 40
    assert runs.run("stopped_late", *settings, moment=names.index("open .predictions.npz.partial")) == KILLED
    runs.finish("stopped_late", *settings, resume=True)
    assert_same_end(runs, "stopped", "stopped_late")


@pytest.mark.parametrize(
    ("moment", "finished"),
    [
        (("training_step", 1), 0),
        (("training_step", 6), 1),
        # A validation of one batch and the writing of a checkpoint come to their end.
        (("validation_step", 1), 2),
        (("half of .last.ckpt.partial", 0), 1),
        (("half of .last.ckpt.partial", 2), 3),
    ],
)
def test_sigterm_ends_a_run_with_a_checkpoint_and_says_how_to_go_on(
    runs: Runs, moment: tuple[str, int], finished: int
) -> None:
    name, number = moment
    places = [n for n, found in enumerate(runs.moments("whole")) if found == name]
    folder = f"term_{name.replace(' ', '_')}_{number}"
    assert runs.run(folder, moment=places[number], action="term") == 3, runs.log(folder)
    assert not (runs.folder / folder / ".lock").exists()
    last = runs.folder / folder / "checkpoints/last.ckpt"
    if finished:
        assert "holds the last epoch that was finished; go on with resume=true" in runs.log(folder)
        assert torch.load(last, weights_only=True)["epoch"] == finished - 1  # counted from 0
        assert runs.run(folder) == 1
        assert "holds an unfinished run: set resume=true" in runs.log(folder)
    else:
        assert "before the end of the first epoch" in runs.log(folder)
        assert not last.exists()
    runs.finish(folder, resume=True)
    assert_same_end(runs, "whole", folder)


def test_sigterm_after_training_ends_at_once_and_nothing_is_lost(runs: Runs) -> None:
    moment = runs.moments("whole").index("open .predictions.npz.partial")
    assert runs.run("late", moment=moment, action="term") == -signal.SIGTERM
    runs.finish("late", resume=True)
    assert_same_end(runs, "whole", "late")


def test_of_two_runs_started_together_one_is_refused(runs: Runs) -> None:
    for number in range(3):
        name = f"race_{number}"
        pids = [runs.start(name), runs.start(name)]
        codes = sorted(runs.wait(pid) for pid in pids)
        assert codes == [0, 1]
        assert_same_end(runs, "whole", name)


@pytest.mark.parametrize("place", ["open .last.ckpt.partial", "training_step", "open .predictions.npz.partial"])
def test_a_run_that_may_write_no_more_says_so_and_leaves_the_last_checkpoint(runs: Runs, place: str) -> None:
    names = runs.moments("whole")
    moment = [n for n, name in enumerate(names) if name == place][-1]
    name = "limit_" + "".join(filter(str.isalpha, place))
    assert runs.run(name, moment=moment, action="limit") == 1
    log = runs.log(name)
    assert "make room, then go on with resume=true" in log
    assert "File too large" in log
    folder = runs.folder / name
    assert not [path for path in folder.rglob("*") if "partial" in path.name or path.name == ".lock"]
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["epoch"] == (2 if "npz" in place else 1)
    runs.finish(name, resume=True)
    assert_same_end(runs, "whole", name)


def test_a_full_disk_ends_the_run_in_words_and_it_goes_on_when_there_is_room(runs: Runs) -> None:
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
            assert "go on with resume=true" in runs.log("disk")
            assert torch.load(disk / logger / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
            (disk / "filler").unlink()
            runs.finish(name, f"logger={logger}", resume=True)
            assert facts(disk / logger) == facts(runs.folder / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=False)
