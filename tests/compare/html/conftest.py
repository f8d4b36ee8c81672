"""Generated run folders for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dir import LabelBins
from dir.bundle.description import DESCRIPTION, Description, bins_to_dict
from dir.compare.html.cli import main
from dir.monitor import NewRows, make_reference, monitor
from dir.monitor.columns import summarise_table

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


def write_model(folder: Path) -> None:
    """Write the description of a model bundle into a run folder."""
    (folder / "model").mkdir()
    about = Description({"kind": "table"}, {"name": "price", "unit": "kEUR"}, run={"folder": str(folder)})
    (folder / "model" / DESCRIPTION).write_bytes(about.to_bytes({}))


def new_data(folder: Path, labels: bool, shift: float) -> dict[str, Any]:
    """Return a report of dir-monitor about a run folder: predictions of noise 1 on labels from 0 to 10."""
    bins: dict[str, Any] = bins_to_dict(LabelBins.uniform(0, 10, 5))
    bins["groups"] = {"many": [0, 1], "median": [2], "few": [3, 4], "zero": []}
    rng = np.random.default_rng(0)
    old, new = rng.uniform(0, 10, 2000), rng.beta(2, 1, 400) * 10
    columns = summarise_table(pd.DataFrame({"size": old, "kind": ["a", "b"] * 1000}), ["kind"])
    reference = make_reference(columns, old, old[:600], old[:600] + rng.normal(size=600), bins)
    assert reference is not None
    given = {"size": new, "kind": np.array(["a"] * 400, dtype=object)}
    rows = NewRows(new + rng.normal(size=400) + shift, given, {"kind": ["a", "b"]}, new if labels else None)
    sha256 = json.loads((folder / "model" / DESCRIPTION).read_text())["sha256"]
    about = {"model": str(folder), "model_sha256": sha256, "input": "june.csv", "unit": "kEUR", "retrain": ""}
    return about | monitor(reference, bins, rows)


@pytest.fixture(scope="session")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of two data sets, with two reports of new rows."""
    root = tmp_path_factory.mktemp("full")
    for name in ("houses", "flats"):
        for method, error in (("vanilla", 4.0), ("lds", 3.0)):
            folder = _write_run(root / name, method, 0, error)
            if name == "flats":
                (folder / "predictions.npz").unlink()  # fewer figures
    (root / "flats/houses").rename(root / "flats/flats")
    write_model(root / "houses/houses/lds/seed_0")
    arguments = []
    for number, labels in enumerate((True, False)):
        report = new_data(root / "houses/houses/lds/seed_0", labels, shift=2.0 * number)
        (root / f"{number}.json").write_text(json.dumps(report))
        arguments += ["--monitor", str(root / f"{number}.json")]
    main([str(root / "houses/houses"), str(root / "flats/flats"), *arguments, "--out", str(root / "report.html")])
    return root / "report.html"


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of three methods with two seeds each."""
    root = tmp_path_factory.mktemp("report")
    for method, error in (("vanilla", 4.0), ("lds", 3.0), (EVIL.replace("/", ""), 2.0)):
        for seed in (0, 1):
            _write_run(root / "outputs", method, seed, error)
    main([str(root / "outputs/houses"), "--out", str(root / "report.html")])
    return root / "report.html"
