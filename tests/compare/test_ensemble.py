"""Ensembles of saved predictions, against the metrics of the package and a plain greedy search."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.compare.ensemble import ensembles, errors, read_members, select_greedily
from dir.compare.ensemble_cli import main, run_folders
from dir.metrics import ShotMetrics

BINS = LabelBins.integers(0, 9)
COUNTS = torch.tensor([200, 150, 120, 60, 50, 30, 10, 5, 3, 0])


def write_runs(folder: Path, members: int = 4, seed: int = 0) -> list[Path]:
    rng = np.random.default_rng(seed)
    arrays = {}
    names = np.array(["many"] * 3 + ["median"] * 3 + ["few"] * 3 + ["zero"])
    for prefix, size in (("val_", 80), ("", 90)):
        label = rng.integers(0, 10, size).astype(np.float32)
        arrays |= {
            f"{prefix}label": label,
            f"{prefix}bin": label.astype(np.int64),
            f"{prefix}shot": names[label.astype(int)],
            f"{prefix}row_id": np.array([f"{prefix}{i}" for i in range(size)]),
        }
    runs = []
    for member in range(members):
        run = folder / "table" / "vanilla" / f"seed_{member}"
        run.mkdir(parents=True)
        noise = {
            f"{prefix}prediction": arrays[f"{prefix}label"]
            + rng.normal(0.2 * member - 0.3, 1, len(arrays[prefix + "bin"]))
            for prefix in ("val_", "")
        }
        np.savez(run / "predictions.npz", **arrays, **noise)
        runs.append(run)
    return runs


def test_errors_equal_those_of_the_shot_metrics(tmp_path: Path) -> None:
    split = read_members(write_runs(tmp_path))["test"]
    found = errors(split, split.predictions[1])
    metric = ShotMetrics(BINS, COUNTS, metrics=["mae", "mse", "balanced_mae"])
    metric.update(torch.from_numpy(split.predictions[1]), torch.from_numpy(split.label))
    for group, values in metric.compute().items():
        for name, value in values.items():
            assert found[group][name] == pytest.approx(float(value), rel=1e-12, nan_ok=True)


def test_mean_of_all_members_is_the_mean_of_their_predictions(tmp_path: Path) -> None:
    splits = read_members(write_runs(tmp_path))
    found = {e.name: e for e in ensembles(splits)}
    mean = found["mean of all members"]
    expected = np.abs(splits["test"].predictions.mean(0) - splits["test"].label).mean()
    assert mean.errors["test"]["all"]["mae"] == pytest.approx(expected)
    average = np.abs(splits["test"].predictions - splits["test"].label).mean()
    assert found["average of the single members"].errors["test"]["all"]["mae"] == pytest.approx(average)


@pytest.mark.parametrize(("metric", "group"), [("mae", "all"), ("mse", "few"), ("balanced_mae", "all")])
def test_greedy_selection_equals_a_plain_search(tmp_path: Path, metric: str, group: str) -> None:
    split = read_members(write_runs(tmp_path, members=5, seed=3))["val"]
    taken: list[int] = []
    history = []
    for _ in range(6):
        tried = [
            errors(split, split.predictions[[*taken, candidate]].mean(axis=0))[group][metric]
            for candidate in range(5)
        ]
        taken.append(int(np.argmin(tried)))
        history.append(min(tried))
    best = taken[: int(np.argmin(history)) + 1]
    counts = select_greedily(split, metric, group, size=6)
    assert counts.tolist() == [best.count(member) for member in range(5)]


def test_greedy_selection_is_not_worse_on_validation_than_the_best_member(tmp_path: Path) -> None:
    found = {e.name: e for e in ensembles(read_members(write_runs(tmp_path)), "mae", "all", size=5)}
    value = {name: e.errors["val"]["all"]["mae"] for name, e in found.items()}
    assert value["greedy selection"] <= value["best single member"] <= value["average of the single members"]


def test_runs_on_other_rows_are_refused(tmp_path: Path) -> None:
    first = write_runs(tmp_path / "a")
    other = write_runs(tmp_path / "b", seed=1)
    with pytest.raises(ValueError, match=r"seed_0.*label of its val rows"):
        read_members([first[0], other[0]])


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    runs = write_runs(tmp_path)
    path = runs[1] / "predictions.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"predictions\.npz.*damaged"):
        read_members(runs)


def test_command_prints_tables_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path)
    out = tmp_path / "ensemble.json"
    main([str(tmp_path / "table"), "--metric", "mae", "--size", "3", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "greedy selection" in printed
    content = {entry["name"]: entry for entry in json.loads(out.read_text())}
    assert sum(content["greedy selection"]["weights"].values()) == pytest.approx(1)
    assert content["mean of all members"]["errors"]["test"]["all"]["n"] == 90


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(["nowhere"], "nowhere"), (["{run}"], "runs.*got 1"), (["{all}", "--size", "0"], "size.*got 0")],
)
def test_bad_arguments_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    runs = write_runs(tmp_path)
    with pytest.raises(SystemExit):
        main([text.format(run=runs[0], all=tmp_path) for text in arguments])
    assert re.search(match, capsys.readouterr().err)


def test_each_run_folder_is_found_once(tmp_path: Path) -> None:
    runs = write_runs(tmp_path)
    assert run_folders([tmp_path, runs[0]]) == runs
