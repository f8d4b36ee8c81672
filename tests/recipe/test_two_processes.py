"""Runs of two processes, started as the README says: one folder, one set of logs, and one error if one fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).resolve().parent / "tiny"
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

FAILING = """
import os
from pathlib import Path
from dir.losses import WeightedL1

class Failing(WeightedL1):
    steps = 0

    def forward(self, *args, **kwargs):
        self.steps += 1
        if os.environ["RANK"] == "1" and self.steps == 6:  # in the second epoch
            Path("failed").touch()
            raise RuntimeError("rank one has had enough")
        return super().forward(*args, **kwargs)
"""

SLOW = """
import os
import time
from dir.losses import WeightedL1

class Slow(WeightedL1):
    def forward(self, *args, **kwargs):
        if os.environ.get("SLOW"):
            time.sleep(0.5 if os.environ["RANK"] == "1" else 0)  # the other one waits in its collective
        return super().forward(*args, **kwargs)
"""
TINY_RUN = (f"hydra.searchpath=[file://{TINY}]", "data=tiny", "model=tiny", "name=tiny")


def torchrun(folder: Path, *settings: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCH, str(ROOT / "scripts/train.py"), *settings, "trainer.devices=2", "trainer.accelerator=cpu"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TINY}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_torchrun_leaves_one_finished_run_folder(tmp_path: Path) -> None:
    # An odd number: the padding that makes the ranks even must not be evaluated.
    done = torchrun(tmp_path, "+experiment=age_synthetic", "method=lds_fds", "trainer.max_epochs=2", "data.limit=255")
    assert done.returncode == 0, done.stderr[-9000:]
    (metrics,) = tmp_path.rglob("metrics.json")
    content = json.loads(metrics.read_text())
    assert content["val"]["all"]["n"] == content["test"]["all"]["n"] == 255
    assert content["run"]["epochs"] == 2
    assert len(np.load(metrics.with_name("predictions.npz"))["label"]) == 255
    assert (metrics.parent / "checkpoints/last.ckpt").is_file()
    assert done.stdout.count("best epoch") == 1
    # events.out.tfevents.TIME.HOST.PROCESS.NUMBER: the first process alone writes them.
    logs = [*tmp_path.rglob("*tfevents*")]
    assert {log.parents[1] for log in logs} == {metrics.parent}
    assert len({log.name.split(".")[-2] for log in logs}) == 1
    assert "sync_dist" not in done.stderr, "no warning in every run"


def test_failing_rank_ends_the_run_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "failing_loss.py").write_text(FAILING)
    failing = "task.loss._target_=failing_loss.Failing"
    done = torchrun(tmp_path, *TINY_RUN, "method=fds", failing, "trainer.max_epochs=9")
    ended = time.time()
    assert done.returncode != 0
    assert (tmp_path / "failed").is_file(), done.stderr[-9000:]
    seconds = ended - (tmp_path / "failed").stat().st_mtime
    # The launcher's last words name the rank that failed first, and its error.
    cause = done.stderr[done.stderr.index("Root Cause") :]
    assert "rank      : 1" in cause
    assert "RuntimeError: rank one has had enough" in cause
    assert seconds < 60, "the launcher kills processes that have not ended after 30 s"
    (folder,) = (tmp_path / "outputs/tiny/fds").iterdir()
    assert not (folder / "metrics.json").exists()
    assert (folder / "checkpoints/last.ckpt").is_file(), "the first epoch was finished"


def test_sigterm_ends_all_ranks_at_once_and_the_run_can_resume(tmp_path: Path) -> None:
    (tmp_path / "slow_loss.py").write_text(SLOW)
    settings = (*TINY_RUN, "method=lds_fds", "task.loss._target_=slow_loss.Slow", "trainer.max_epochs=6")
    command = [*LAUNCH, str(ROOT / "scripts/train.py"), *settings, "trainer.devices=2", "trainer.accelerator=cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TINY}{os.pathsep}{tmp_path}"}
    with (tmp_path / "words").open("w") as words:
        run = subprocess.Popen(command, cwd=tmp_path, env={**environment, "SLOW": "1"}, stdout=words, stderr=words)
    try:
        began = time.monotonic()
        while not [*tmp_path.rglob("last.ckpt")]:
            assert run.poll() is None, (tmp_path / "words").read_text()[-9000:]
            assert time.monotonic() - began < 120
            time.sleep(0.05)
        time.sleep(0.7)  # in the middle of the next epoch, of four steps
        run.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        assert run.wait(60) != 0
        assert time.monotonic() - sent < 20, "the launcher kills processes that have not ended after 30 s"
    finally:
        run.kill()
    assert "Set resume=true to resume" in (tmp_path / "words").read_text()
    assert not [*tmp_path.rglob("metrics.json")]
    done = torchrun(tmp_path, *settings, "resume=true")
    assert done.returncode == 0, done.stderr[-9000:]
    (metrics,) = tmp_path.rglob("metrics.json")
    assert json.loads(metrics.read_text())["run"]["epochs"] == 6
