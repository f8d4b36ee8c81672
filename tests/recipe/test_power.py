"""The power of a label prior is chosen on validation, recorded, and chosen again by evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from dir.recipe.build import build
from dir.recipe.evaluate import evaluate_checkpoint, load_weights
from dir.recipe.power import split_objective
from dir.recipe.predictions import predict, summarise
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Tiny = Callable[..., DictConfig]
CELLS = ("method.cells.num_cells=40", "method.cells.sigma=1.0", "trainer.max_epochs=2", "logger=none")


def run(cfg: DictConfig, path: Path) -> dict[str, object]:
    folder = RunFolder(path)
    train(cfg, folder, {})
    content: dict[str, object] = json.loads(folder.metrics.read_text(encoding="utf-8"))
    return content


def test_the_recorded_power_is_the_best_of_a_grid_of_runs(tiny: Tiny, tmp_path: Path) -> None:
    """Oracle: the objective of each power, computed by a prediction of the whole validation split at that power."""
    cfg = tiny("method=histogram_prior", "method.power_objective=mse", *CELLS)
    content = run(cfg, tmp_path / "prior")
    power = content["run"]["power"]
    parts = build(tiny("method=histogram", *CELLS))
    load_weights(parts.module, tmp_path / "prior/checkpoints/best.ckpt")
    found = {}
    for tried in (0.0, 0.5, power["value"], 1.2):
        parts.module.model.head.power.fill_(tried)
        val = predict(parts.module, parts.data.whole("val"), torch.device("cpu"))
        found[tried] = summarise(parts.module.metrics, val.labels, val.predictions)["all"]["mse"]
        assert power["tried"][f"{tried:g}"] == pytest.approx(found[tried], rel=1e-5)
    assert min(found, key=found.get) == power["value"]
    assert content["val"]["all"]["mse"] == pytest.approx(found[power["value"]], rel=1e-5)


def test_evaluation_reports_the_numbers_of_the_run(tiny: Tiny, tmp_path: Path) -> None:
    content = run(tiny("method=histogram_prior", *CELLS), tmp_path / "prior")
    again = evaluate_checkpoint(tmp_path / "prior/checkpoints/best.ckpt", [], trust=True)
    assert again["test"]["all"]["mae"] == pytest.approx(content["test"]["all"]["mae"], rel=1e-6)


@pytest.mark.parametrize("objective", ["few/rmse", "rare/mae", "pearson"])
def test_an_unknown_objective_is_refused_by_name(tiny: Tiny, tmp_path: Path, objective: str) -> None:
    cfg = tiny("method=histogram_prior", f"method.power_objective={objective}", *CELLS)
    with pytest.raises(ValueError, match=r"method\.power_objective.*'(rmse|rare|pearson)'"):
        train(cfg, RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_an_objective_without_a_histogram_head_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    cfg = tiny("method=vanilla", "method.power_objective=mae", "logger=none")
    with pytest.raises(ValueError, match=r"method\.power_objective.*LinearHead"):
        train(cfg, RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_objectives_are_read_as_group_and_metric() -> None:
    assert split_objective("mae") == ("all", "mae")
    assert split_objective("median/gm") == ("median", "gm")
