"""Fixtures for runs on data that trains within a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dir.recipe.cli import config_dir, register_configs

TINY = Path(__file__).parent / "tiny"
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


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Return a function that composes configs/train.yaml with the tiny data, the tiny model and overrides."""
    monkeypatch.syspath_prepend(str(TINY))
    register_configs()

    def config(*overrides: str) -> DictConfig:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            search = f"hydra.searchpath=[file://{TINY}]"
            fixed = ["data=tiny", "model=tiny", "name=tiny", "trainer.accelerator=cpu"]
            return compose("train", [search, *fixed, *overrides])

    return config


class Runs:
    """The process of warm_runs.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(TINY.with_name("warm_runs.py"))],
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
        """Return metrics.json without durations and without the commit, which may change during the tests."""
        content: dict[str, Any] = json.loads((self.folder / name / "metrics.json").read_text())
        for key in ("seconds", "commit"):
            del content["run"][key]
        content["run"].get("stage_1", {}).pop("seconds", None)
        return content

    def assert_same_end(self, first: str, second: str) -> None:
        """Assert that two runs have bit-identical results."""
        one, two = self.folder / first, self.folder / second
        assert self.facts(first) == self.facts(second)
        assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
        with np.load(one / "predictions.npz") as a, np.load(two / "predictions.npz") as b:
            np.testing.assert_array_equal(a["prediction"], b["prediction"])
        for name in ("best", "last"):
            a, b = (
                torch.load(path / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"] for path in (one, two)
            )
            assert a.keys() == b.keys()
            for key in a:
                torch.testing.assert_close(b[key], a[key], rtol=0, atol=0, equal_nan=True, msg=key)

    def moments(self, name: str) -> list[str]:
        return json.loads((self.folder / f"{name}.moments").read_text())


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return runs in separate, pre-started processes; the run named `whole` is uninterrupted."""
    found = Runs(tmp_path_factory.mktemp("runs"))
    found.finish("whole")
    yield found
    assert found.process.stdin is not None
    found.process.stdin.close()
    found.process.wait(30)
