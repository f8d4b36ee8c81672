"""Runs of the methods that correct another head's distribution: power, temperature and trade-off curve."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from dir.compare.tradeoff_cli import main as tradeoff
from dir.figures import power_figure
from dir.recipe.compatibility import check
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Tiny = Callable[..., DictConfig]
SHORT = ("trainer.max_epochs=1", "logger=none", "method.cells.num_cells=40", "method.cells.sigma=1.0")


def run(cfg: DictConfig, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    folder = RunFolder(path)
    train(cfg, folder, {"method": path.parent.name, "overrides": []})
    with np.load(path / "predictions.npz", allow_pickle=False) as arrays:
        return json.loads(folder.metrics.read_text(encoding="utf-8")), dict(arrays)


@pytest.mark.parametrize("method", ["rbc_prior", "vir_prior", "uvote_prior"])
def test_the_chosen_power_is_the_best_of_numpys(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    """Oracle: Bayes' rule by NumPy on the saved log-probabilities of the validation rows."""
    path = tmp_path / "tiny" / method / "seed_0"
    content, saved = run(
        tiny(f"method={method}", "method.power_objective=mse", "method.head.point=mean", *SHORT), path
    )
    centers = (saved["cell_edges"][1:] + saved["cell_edges"][:-1]) / 2
    tried = content["run"]["power"]["tried"]
    for power in (0.0, 0.5, 1.2):
        p = np.exp(log_softmax(saved["val_log_mass"] - power * saved["cell_log_density"], axis=1))
        assert tried[f"{power:g}"] == pytest.approx(np.mean((p @ centers - saved["val_label"]) ** 2), rel=0.01)
    value = content["run"]["power"]["value"]
    assert tried[f"{value:g}"] == min(tried.values()) == pytest.approx(content["val"]["all"]["mse"], rel=1e-5)

    again = evaluate_checkpoint(path / "checkpoints" / "best.ckpt", ["trainer.accelerator=cpu"], trust=True)
    assert again["test"]["all"]["mae"] == pytest.approx(content["test"]["all"]["mae"], rel=1e-6)

    with pytest.raises(ValueError, match=r"method\.head\.power"):
        evaluate_checkpoint(path / "checkpoints" / "best.ckpt", ["method.head.power=0.7"], trust=True)

    capsys.readouterr()
    tradeoff([f"runs={path}", "power=0,1"])
    assert f"kept: {value:g}" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["histogram", "histogram_prior", "rbc_prior"])
def test_the_temperature_is_the_most_likely_on_validation(tiny: Tiny, tmp_path: Path, method: str) -> None:
    """Oracle: SciPy's minimum over log T of the loss by NumPy, on the saved log-probabilities."""
    content, saved = run(tiny(f"method={method}", "method.temperature=true", *SHORT), tmp_path / method / "seed_0")
    mass = saved["val_log_mass"].astype(np.float64)
    cell = (np.searchsorted(saved["cell_edges"], saved["val_label"], side="right") - 1).clip(0, 39)

    def loss(log_t: float) -> float:
        return -float(log_softmax(mass / np.exp(log_t), axis=1)[np.arange(len(cell)), cell].mean())

    best = minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded")
    found = content["run"]["temperature"]
    assert found["nll"] == pytest.approx(best.fun, rel=1e-3)
    assert found["nll_before"] == pytest.approx(loss(0.0), rel=1e-3)
    assert found["nll"] < found["nll_before"]
    assert float(saved["temperature"]) == pytest.approx(found["value"])
    assert ("power" in content["run"]) == (method != "histogram")
    again = evaluate_checkpoint(
        tmp_path / method / "seed_0/checkpoints/best.ckpt", ["trainer.accelerator=cpu"], trust=True
    )
    assert again["test"]["all"]["nll"] == pytest.approx(content["test"]["all"]["nll"], rel=1e-5)


def test_the_objective_nll_is_the_number_of_metrics_json(tiny: Tiny, tmp_path: Path) -> None:
    cfg = tiny("method=histogram_prior", "method.power_objective=nll", *SHORT)
    content, _ = run(cfg, tmp_path / "histogram_prior" / "seed_0")
    power = content["run"]["power"]
    assert power["tried"][f"{power['value']:g}"] == min(power["tried"].values())
    assert content["val"]["all"]["nll"] == pytest.approx(min(power["tried"].values()), rel=1e-5)


def test_the_run_records_the_error_of_each_group_at_each_power(tiny: Tiny, tmp_path: Path) -> None:
    content, saved = run(tiny("method=histogram_prior", *SHORT), tmp_path / "histogram_prior" / "seed_0")
    power = content["run"]["power"]
    at = list(power["tried"]).index(f"{power['value']:g}")
    assert set(power["mae"]) == {"all", *np.unique(saved["val_shot"][saved["val_shot"] != ""])}
    for group, values in power["mae"].items():
        assert values[at] == pytest.approx(content["val"][group]["mae"], rel=1e-5)


def test_the_curve_shows_the_recorded_errors_and_marks_the_chosen_power() -> None:
    mae = {"all": [3.0, 2.0, 2.5], "many": [1.0, 1.5, 2.0], "few": [6.0, 4.0, 3.0]}
    fitted = {"value": 0.5, "objective": "mae", "tried": {"0": 3.0, "0.5": 2.0, "1": 2.5}, "mae": mae}
    left, right = power_figure(fitted, "points").axes
    lines = {line.get_label(): line for line in left.lines}
    assert all(list(lines[group].get_ydata()) == values for group, values in mae.items())
    assert list(lines["few"].get_xdata()) == [0.0, 0.5, 1.0]
    curve, star = right.lines
    assert list(zip(*curve.get_data(), strict=True)) == [(1.0, 6.0), (1.5, 4.0), (2.0, 3.0)]
    assert list(zip(*star.get_data(), strict=True)) == [(1.5, 4.0)]
    assert "0.5" in left.get_xlabel()
    # Validation without rare labels has no right panel.
    assert not power_figure(fitted | {"mae": {"all": [3.0, 2.0, 2.5]}}, "points").axes[1].lines


@pytest.mark.parametrize("method", ["bagging", "hist_gbdt"])
def test_an_objective_of_an_estimator_is_refused(tiny: Tiny, method: str) -> None:
    with pytest.raises(ValueError, match=r"method\.power_objective"):
        check(tiny(f"method={method}", "method.power_objective=mae", "logger=none"))
