"""dir-recommend on a small table: the test rows change nothing, a search goes on, and its settings train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dir.commands.judging import Objective
from dir.commands.recommend import main, recommend
from dir.commands.search import CANDIDATES, RUNS
from dir.recipe.cli import config_dir
from dir.recipe.schema import register_configs

# One epoch and a few trees: the results mean nothing, and the path is that of a real search.
SHORT = ["trainer.max_epochs=1", "trainer.accelerator=cpu"]


def search(table: Path, folder: Path, minutes: float = 5.0, objective: str = "balanced") -> dict[str, Any]:
    register_configs()
    given = [f"data.path={table}", "data.target=y", "data.split_column=part", *SHORT]
    return recommend(given, Objective.parse(objective), minutes, 1, folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, write_table: Callable[..., Path]) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recommend")
    return folder, search(write_table(folder / "doses.csv"), folder / "search")


def test_every_candidate_is_ranked(found: tuple[Path, dict[str, Any]]) -> None:
    _, result = found
    names = [one["name"] for one in result["candidates"]]
    assert sorted(names) == sorted(one.name for one in CANDIDATES)
    values = [one["value"] for one in result["candidates"]]
    assert values == sorted(values)
    for one in result["candidates"]:
        assert one["low"] < one["value"] < one["high"]
        assert one["errors"]["balanced"] == pytest.approx(one["value"])
        assert one["to_best"]["mean"] == pytest.approx(one["value"] - values[0])
    assert [point["power"] for point in result["curve"]] == [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
    assert (result["not_tried"], result["failed"], result["rows"]) == ([], {}, 60)
    assert names[0] in result["advice"]


def test_the_value_of_a_plain_model_is_that_of_its_run(found: tuple[Path, dict[str, Any]]) -> None:
    folder, result = found
    metrics = json.loads((folder / "search/runs/vanilla/seed_0/metrics.json").read_text())["val"]
    (network,) = (one for one in result["candidates"] if one["name"] == "network")
    assert network["value"] == pytest.approx(metrics["all"]["balanced_mae"], rel=1e-5)
    assert network["errors"]["all"] == pytest.approx(metrics["all"]["mae"], rel=1e-5)
    assert network["errors"]["few"] == pytest.approx(metrics["few"]["mae"], rel=1e-5)


def test_no_test_row_reaches_the_search(found: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = found
    for path in (folder / "search/runs").rglob("metrics.json"):
        metrics = json.loads(path.read_text())
        assert set(metrics) == {"val", "run"}
        assert metrics["run"]["data"]["rows"] == {"train": 200, "val": 60}
        with np.load(path.with_name("predictions.npz")) as saved:
            assert not any(name in saved for name in ("label", "prediction", "log_mass", "row_id"))


def test_poisoned_test_rows_change_nothing(
    found: tuple[Path, dict[str, Any]], tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    _, result = found
    # Without a budget the first training runs alone.
    poisoned = search(write_table(tmp_path / "doses.csv", poison=True), tmp_path / "search", 0.0)
    assert [one["name"] for one in poisoned["candidates"]] == ["trees"]
    assert poisoned["not_tried"][0] == "hist_gbdt_sqinv, seed 0"
    assert poisoned["curve"] == []
    (trees,) = (one for one in result["candidates"] if one["name"] == "trees")
    for key in ("value", "low", "high", "errors"):
        assert poisoned["candidates"][0][key] == trees[key]
    assert poisoned["overrides"][2:-1] == result["overrides"][2 : len(poisoned["overrides"]) - 1]


def test_the_written_experiment_is_the_command_of_the_best(found: tuple[Path, dict[str, Any]]) -> None:
    folder, result = found
    register_configs()
    assert result["command"].endswith("+experiment=doses-y-balanced")
    with initialize_config_dir(config_dir(), version_base="1.3"):
        search_path = f"hydra.searchpath=[file://{folder / 'search'}]"
        written = compose("train", ["+experiment=doses-y-balanced", search_path])
        direct = compose("train", result["overrides"])
    assert OmegaConf.to_container(written, resolve=True) == OmegaConf.to_container(direct, resolve=True)
    assert written.data.split_column == "part"
    assert written.data.path == str(folder / "doses.csv")


def test_a_search_goes_on_and_another_objective_needs_no_training(
    found: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = found
    table, runs = folder / "doses.csv", folder / "search/runs"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.json")}
    assert len(before) == len(RUNS)
    tail = search(table, folder / "search", 0.0, "cost:5,1")
    assert tail["objective"] == "cost"
    assert tail["overrides"][:2] == result["overrides"][:2]
    # A lost run is trained again, the others are not, and it gives the same numbers.
    lost = runs / "lds/seed_0"
    for path in (lost / "metrics.json", lost / "predictions.npz"):
        path.unlink()
    again = search(table, folder / "search", 0.0)
    assert again["not_tried"] == ["lds, seed 0"]
    assert not any("lds weights" in one["name"] and "network" in one["name"] for one in again["candidates"])
    assert search(table, folder / "search") == result
    assert {path for path, time in before.items() if path.stat().st_mtime_ns != time} == {lost / "metrics.json"}


def test_the_command_prints_the_report_and_the_result(
    found: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = found
    arguments = [f"data.path={folder / 'doses.csv'}", "data.target=y", "data.split_column=part", *SHORT]
    arguments += ["--objective", "balanced", "--seeds", "1", "--folder", str(folder / "search")]
    main(arguments)
    printed = capsys.readouterr().out
    for part in ("imbalance", "effective rows", "label prior, on validation", "objective balanced", "bootstrap"):
        assert part in printed
    assert result["command"] in printed
    assert "test" not in printed.split("Search in")[0]
    assert json.loads((folder / "search/recommend_balanced.json").read_text()) == result


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data.target=y": "data.target=z"}, "no column 'z'"),
        ({"trainer.max_epochs=1": "trainer.max_epochs=2"}, r"--folder: .*another search"),
        ({"trainer.max_epochs=1": "early_stopping.patience=2"}, r"early_stopping\.patience: "),
    ],
)
def test_other_settings_and_wrong_ones_are_refused_before_a_training(
    found: tuple[Path, dict[str, Any]], change: dict[str, str], match: str
) -> None:
    folder, _ = found
    before = sorted(path for path in (folder / "search").rglob("*"))
    given = [f"data.path={folder / 'doses.csv'}", "data.target=y", "data.split_column=part", *SHORT]
    with pytest.raises(SystemExit, match=match):
        main([*(change.get(line, line) for line in given), "--objective", "tail", "--folder", str(folder / "search")])
    assert sorted(path for path in (folder / "search").rglob("*")) == before


def test_pictures_are_searched_with_the_methods_that_train_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (90, 8, 8), dtype=np.uint8)
    count = np.round(images[:, :4].mean((1, 2))).astype(np.int64) // 8
    np.savez(tmp_path / "cells.npz", images=images, count=count, split=np.repeat([0, 1, 2], [50, 20, 20]))
    register_configs()
    given = [f"data.path={tmp_path / 'cells.npz'}", "data.target=count", *SHORT, "model=conv"]
    objective = Objective.parse("crowd")
    result = recommend(given, objective, 5.0, 1, tmp_path / "search", show=True)
    names = {one["name"] for one in result["candidates"]}
    assert names == {one.name for one in CANDIDATES if not one.run.startswith("hist_gbdt")}
    assert set(result["overrides"]) >= {"+experiment=images_npz", given[0], "data.label=count"}
    assert "The data has splits of its own: `crowd` judges by their label density." in capsys.readouterr().out
    assert result["command"].endswith("+experiment=cells-count-crowd")
