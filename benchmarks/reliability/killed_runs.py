"""Runs on tiny data that are killed at a chosen moment, and the comparison of two finished run folders."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
    "checkpoint_every_seconds=0",
)
# Files of a finished run whose bytes do not depend on the time, the commit or on resuming.
SAME_BYTES = ("predictions.npz", "split.json.gz", "data.json", "model/weights.safetensors")


class Runs:
    """Starts, kills and compares runs through the process of warm_runs.py.

    Args:
        folder: parent of the run folders; the output of the run NAME goes to NAME.log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_runs.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Losses must not depend on the number of threads, and a forked child of a process with threads may hang.
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
        # Beside the folder, or, if the folder is a separate disk, beside the disk's folder.
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

    def facts(self, name: str) -> dict[str, Any]:
        return facts(self.folder / name)

    def assert_same_end(self, first: str, second: str) -> None:
        """Assert that two runs have bit-identical results."""
        assert differences(self.folder / first, self.folder / second) == []

    def moments(self, name: str) -> list[str]:
        return json.loads((self.folder / f"{name}.moments").read_text())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def facts(folder: Path) -> dict[str, Any]:
    """Return metrics.json without durations and without the commit, which may change during the tests."""
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    for key in ("seconds", "commit"):
        del content["run"][key]
    content["run"].get("stage_1", {}).pop("seconds", None)
    return content


def differences(one: Path, two: Path) -> list[str]:
    """Return the files in which two finished run folders differ.

    The lists of files, predictions.npz, the split, the weights of the bundle and every value of the checkpoints are
    compared bit by bit. No code of the package takes part.
    """
    found = []
    if facts(one) != facts(two):
        found.append("metrics.json")
    if sorted(path.name for path in one.iterdir()) != sorted(path.name for path in two.iterdir()):
        found.append("list of files")
    for name in SAME_BYTES:
        first, second = (path / name for path in (one, two))
        if first.is_file() != second.is_file() or (first.is_file() and first.read_bytes() != second.read_bytes()):
            found.append(name)
    for name in ("best", "last"):
        checkpoints = [torch.load(path / f"checkpoints/{name}.ckpt", weights_only=True) for path in (one, two)]
        for content in checkpoints:
            _forget_paths(content)
        if not same(*checkpoints):
            found.append(f"{name}.ckpt")
    return found


def _forget_paths(content: dict[str, Any]) -> None:
    """Remove the paths of the run folder from the state of the callbacks.

    ``current_score`` goes, too: Lightning neither restores nor uses the value of the last file that it wrote.
    """
    names = ("dirpath", "best_model_path", "kth_best_model_path", "last_model_path", "best_sha256", "current_score")
    for state in content.get("callbacks", {}).values():
        for key in names:
            state.pop(key, None)
        if "best_k_models" in state:
            state["best_k_models"] = list(state["best_k_models"].values())


def same(one: Any, two: Any) -> bool:
    """Return whether two nested values are equal to the last bit; NaN equals NaN."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and one.shape == two.shape and same(one.numpy(), two.numpy())
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
    return bool(one == two) or (isinstance(one, float) and math.isnan(one) and math.isnan(two))
