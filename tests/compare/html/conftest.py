"""Generated run folders for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dir.compare.html.cli import main

SHOTS = ("many", "median", "few")
# A method's name that would be markup if it was not escaped.
EVIL = "<b onclick=alert(1)>"


def _write_run(root: Path, method: str, seed: int, error: float) -> Path:
    """Write the metrics and predictions of a run, and return its folder."""
    folder = root / "houses" / method / f"seed_{seed}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    label = rng.gamma(2.0, 10.0, 300)
    prediction = label + error * rng.normal(size=300)
    shot = np.select([label < 20, label < 40], ["many", "median"], "few").astype("U6")
    np.savez(folder / "predictions.npz", label=label, prediction=prediction, shot=shot, bin=label.astype(int))

    def group(rows: np.ndarray) -> dict:
        gap = np.abs(prediction - label)[rows]
        return {"n": int(rows.sum()), "mae": float(gap.mean()), "pearson": 0.9}

    groups = {"all": group(np.ones(300, bool))} | {name: group(shot == name) for name in SHOTS}
    run = {
        "method": method,
        "overrides": [
            "+experiment=tabular",
            "data.path=my houses.csv",
            "data.target=price",
            f"method={method}",
            f"seed={seed}",
        ],
        "monitor": "val/all/mae",
        "shots": {"by": "count", "many": 100, "few": 20},
        "commit": "abc-dirty",
        "torch": "2.9",
    }
    (folder / "metrics.json").write_text(json.dumps({"val": groups, "test": groups, "run": run}))
    return folder


@pytest.fixture(scope="session")
def write_houses() -> Callable[[Path, str, int, float], Path]:
    """Return the function that writes a run."""
    return _write_run


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of three methods with two seeds each."""
    root = tmp_path_factory.mktemp("report")
    for method, error in (("vanilla", 4.0), ("lds", 3.0), (EVIL.replace("/", ""), 2.0)):
        for seed in (0, 1):
            _write_run(root / "outputs", method, seed, error)
    main([str(root / "outputs/houses"), "--out", str(root / "report.html")])
    return root / "report.html"
