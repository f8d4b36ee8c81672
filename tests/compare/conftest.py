"""Generated runs for the tests of dir.compare."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

# Test MSE of each method by seed.
MSE = {"vanilla": [0.60, 0.62, 0.61], "lds": [0.58, 0.63, 0.57], "fds": [0.61, 0.60, 0.66]}


def _content(mse: float | None, few: float | None = 0.7, zero_n: int = 0) -> dict[str, Any]:
    split = {
        "all": {"n": 1000, "mse": mse, "pearson": 0.84},
        "few": {"n": 80, "mse": few, "pearson": 0.5},
        "zero": {"n": zero_n, "mse": None, "pearson": None},
    }
    return {"run": {"seed": 0, "note": "ignored, because it is not a split"}, "val": split, "test": split}


def _write_run(folder: Path, method: str, seed: int | str, metrics: Mapping[str, Any]) -> Path:
    path = folder / method / f"seed_{seed}" / "metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics))
    return path


@pytest.fixture
def content() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the content of a metrics.json: zero shot is empty, its metrics are null."""
    return _content


@pytest.fixture
def write_run() -> Callable[..., Path]:
    """Return a function that writes the metrics.json of a run folder."""
    return _write_run


@pytest.fixture
def mse() -> dict[str, list[float]]:
    """Return the test MSE of each method by seed, as in ``outputs``."""
    return MSE


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Return a folder with three methods and three seeds."""
    folder = tmp_path / "stsb_minilm"
    for method, values in MSE.items():
        for seed, value in enumerate(values):
            _write_run(folder, method, seed, _content(value))
    return folder
