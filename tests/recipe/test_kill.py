"""Runs that are killed or raced: a resumed run must end like an uninterrupted one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

KILLED = -signal.SIGKILL
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="watches files through /proc")
# The class Runs of conftest.py, which talks to the process of warm_runs.py.
Runs = Any


def random_moments(names: list[str]) -> list[int]:
    """Draw ten moments of a run: four while it writes a checkpoint, three while it finishes, three anywhere else."""
    draw = random.Random(2021)
    numbers = range(names.index("open .lock") + 1, len(names))
    checkpoints = [n for n in numbers if "ckpt" in names[n]]
    ends = [n for n in numbers if "predictions" in names[n] or "metrics" in names[n] or "lock" in names[n]]
    others = [n for n in numbers if n not in checkpoints and n not in ends]
    return draw.sample(checkpoints, 4) + draw.sample(ends, 3) + draw.sample(others, 3)


def test_run_killed_at_ten_random_moments_ends_like_an_uninterrupted_one(runs: Runs) -> None:
    names = runs.moments("whole")
    assert {"training_step", "half of .last.ckpt.partial", "os.link last.ckpt", "half of .metrics.json.partial"} <= {
        *names
    }
    for moment in random_moments(names):
        name = f"killed_{moment}"
        assert runs.run(name, moment=moment) == KILLED, runs.log(name)
        if (runs.folder / name / "metrics.json").is_file():  # killed while it released the folder: it had finished
            (runs.folder / name / ".lock").unlink()
        else:
            runs.finish(name, resume=True)
        runs.assert_same_end("whole", name)
        shutil.rmtree(runs.folder / name)


def test_run_may_be_killed_several_times(runs: Runs) -> None:
    code = 0
    for moment in (25, 3, 14, 12):
        code = runs.run("again", moment=moment, resume=True)
        assert code == KILLED, runs.log("again")
    runs.finish("again", resume=True)
    runs.assert_same_end("whole", "again")


def test_run_with_workers_killed_from_outside_resumes_at_once(runs: Runs) -> None:
    workers = "data.num_workers=2"
    began = time.monotonic()
    runs.finish("workers", workers)
    length = time.monotonic() - began
    assert runs.facts("workers")["test"] != runs.facts("whole")["test"]  # workers draw the augmentation
    draw = random.Random(7)
    for number in range(2):
        name = f"workers_{number}"
        pid = runs.start(name, workers)
        time.sleep(draw.uniform(0.4, 0.9) * length)
        os.kill(pid, signal.SIGKILL)
        assert runs.wait(pid) in (KILLED, 0)
        if not (runs.folder / name / "metrics.json").is_file():
            # Workers of the killed run may still live, but do not hold the lock.
            runs.finish(name, workers, resume=True)
            runs.assert_same_end("workers", name)


def test_both_stages_of_decoupled_training_may_be_killed(runs: Runs) -> None:
    settings = ("method=rrt", "trainer.max_epochs=2", "method.retrain.epochs=2")
    runs.finish("stages", *settings)
    names = runs.moments("stages")
    saved = [n for n, name in enumerate(names) if name == "half of .last.ckpt.partial"]
    steps = [n for n, name in enumerate(names) if name == "training_step"]
    assert len(saved) == 4
    # In the second epoch of either stage, and just after the end of the first stage.
    for number, moment in enumerate((saved[1], steps[-1], steps[len(steps) // 2])):
        name = f"stages_{number}"
        assert runs.run(name, *settings, moment=moment) == KILLED, runs.log(name)
        runs.finish(name, *settings, resume=True)
        runs.assert_same_end("stages", name)


def test_log_of_the_epochs_before_a_kill_is_kept(runs: Runs) -> None:
    settings = ("logger=csv", "+logger.flush_logs_every_n_steps=1")
    moment = [n for n, name in enumerate(runs.moments("whole")) if name == "half of .last.ckpt.partial"][-1]
    # The files of the logger count as moments too, so this moment lies before the end of the last epoch.
    assert runs.run("log", *settings, moment=moment) == KILLED
    before = (runs.folder / "log/csv/metrics.csv").read_text()
    assert "val/all/mae" in before
    runs.finish("log", *settings, resume=True)
    kept = [path for path in (runs.folder / "log/csv").iterdir() if path.read_text() == before]
    assert len(kept) == 1
    assert "val/all/mae" in (runs.folder / "log/csv/metrics.csv").read_text()
    assert runs.facts("log") == runs.facts("whole")


def test_truncated_checkpoint_is_refused_and_the_previous_one_resumes_to_the_same_end(runs: Runs) -> None:
    moment = len(runs.moments("whole")) - 5
    assert runs.run("cut", moment=moment) == KILLED
    last = runs.folder / "cut/checkpoints/last.ckpt"
    content = last.read_bytes()
    for cut in (content[: len(content) // 2], b""):
        last.write_bytes(cut)
        assert runs.run("cut", resume=True) == 1
        assert f"{last}: the file cannot be read" in runs.log("cut")
        assert "resume=previous" in runs.log("cut")
        assert last.read_bytes() == cut
    runs.finish("cut", resume="previous")
    runs.assert_same_end("whole", "cut")


def test_moved_folder_keeps_its_best_epoch(runs: Runs) -> None:
    # With a learning rate this high, the first of four epochs is the best.
    settings = ("optimizer.lr=3", "trainer.max_epochs=4")
    runs.finish("jumps", *settings)
    best = runs.facts("jumps")["run"]["best_epoch"]
    assert best < 4
    third = [n for n, name in enumerate(runs.moments("jumps")) if name == "validation_step"][best]
    assert runs.run("here", *settings, moment=third) == KILLED
    (runs.folder / "here").rename(runs.folder / "there")
    runs.finish("there", *settings, resume=True)
    runs.assert_same_end("jumps", "there")


def test_early_stopping_stays_stopped_when_killed_before_the_end(runs: Runs) -> None:
    settings = ("optimizer.lr=3", "trainer.max_epochs=40", "early_stopping.patience=2")
    runs.finish("stopped", *settings)
    names = runs.moments("stopped")
    assert runs.facts("stopped")["run"]["epochs"] < 40
    assert runs.run("stopped_late", *settings, moment=names.index("open .predictions.npz.partial")) == KILLED
    runs.finish("stopped_late", *settings, resume=True)
    runs.assert_same_end("stopped", "stopped_late")


def test_one_of_two_runs_started_together_is_refused(runs: Runs) -> None:
    for number in range(3):
        name = f"race_{number}"
        pids = [runs.start(name), runs.start(name)]
        codes = sorted(runs.wait(pid) for pid in pids)
        assert codes == [0, 1]
        runs.assert_same_end("whole", name)
