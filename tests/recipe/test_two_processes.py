"""One run of two processes, started as the README says: one folder, every sample evaluated once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def test_torchrun_leaves_one_finished_run_folder(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    # An odd number: the padding that makes the ranks even must not be evaluated.
    settings = [
        "method=lds_fds",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=2",
        "data.limit=255",
    ]
    done = subprocess.run(
        [*launch, str(ROOT / "scripts/train.py"), "+experiment=age_synthetic", *settings, "logger=csv"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (metrics,) = tmp_path.rglob("metrics.json")
    content = json.loads(metrics.read_text())
    assert content["val"]["all"]["n"] == content["test"]["all"]["n"] == 255
    assert content["run"]["epochs"] == 2
    assert len(np.load(metrics.with_name("predictions.npz"))["label"]) == 255
    assert (metrics.parent / "checkpoints/last.ckpt").is_file()
    assert done.stdout.count("best epoch") == 1
