"""Costs in runs: reported by group, trained for, and decided by; the same decisions from the bundle."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dir.bundle import load
from dir.bundle.cli import predict_main
from dir.compare.html import drawings
from dir.compare.tradeoff import read_saved
from dir.costs import LinearCost, UtilityCost, decide
from dir.figures.errors import LEVELS, coverage
from dir.models import HistGBDT, HistogramHead
from dir.models.decision import decide_raw
from dir.models.target_units import TargetUnits
from dir.recipe.build import build
from dir.recipe.cost import TargetCost
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.monitoring import reference_of_run
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

PRICES = ["+cost=linear", "cost.under=5", "cost.over=1"]


def hit(prediction: Tensor, label: Tensor) -> Tensor:
    """Return 1 for predictions within 1 of the label: a utility without gradient."""
    return ((prediction - label).abs() < 1).to(prediction.dtype)


def profit(prediction: Tensor, label: Tensor) -> Tensor:
    """Return the profit of an order: 3 for each unit sold, -1 for each unit ordered."""
    return 3 * torch.minimum(prediction, label) - prediction


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, table_config: Any) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    noise = rng.exponential(2.0, 300)
    path = tmp_path_factory.mktemp("data") / "x.csv"
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.exp(x[:, 0]) + noise}).to_csv(path, index=False)
    return partial(table_config, path, 4, "data.split=random", "data.share=0.2")


def run(cfg: Any, path: Path) -> dict[str, Any]:
    train(cfg, RunFolder(path), {"method": "m"})
    return json.loads((path / "metrics.json").read_text())


def mean_cost(prediction: Any, label: Any) -> float:
    error = np.asarray(prediction, np.float64) - np.asarray(label, np.float64)
    return float(np.mean(np.where(error > 0, error, -5 * error)))


def test_a_run_reports_its_cost_by_group_and_chooses_the_epoch_by_it(config: Any, tmp_path: Path) -> None:
    result = run(config("method=vanilla", *PRICES), tmp_path)
    arrays = np.load(tmp_path / "predictions.npz")
    for split, prefix in (("test", ""), ("val", "val_")):
        label, prediction = arrays[f"{prefix}label"], arrays[f"{prefix}prediction"]
        assert result[split]["all"]["cost"] == pytest.approx(mean_cost(prediction, label))
        rows = arrays[f"{prefix}shot"] == "few"
        assert result[split]["few"]["cost"] == pytest.approx(mean_cost(prediction[rows], label[rows]))
    assert result["run"]["monitor"] == "val/all/cost"
    assert result["run"]["cost"] == {"_target_": "dir.costs.LinearCost", "under": 5.0, "over": 1.0}
    # Reporting a cost changes neither the training nor the plain predictions.
    plain = build(config("method=vanilla"))
    assert plain.settings.monitor == "mse"
    assert evaluate_checkpoint(tmp_path, [])["test"] == result["test"]


def test_training_for_a_cost_lowers_it(config: Any, tmp_path: Path) -> None:
    found, above = {}, {}
    for name, extra in (("mse", []), ("cost", ["method.loss=cost"])):
        settings = ["trainer.max_epochs=12", "data.batch_size=32", "optimizer.lr=0.03"]
        found[name] = run(config("method=vanilla", *extra, *PRICES, *settings), tmp_path / name)["test"]["all"][
            "cost"
        ]
        arrays = np.load(tmp_path / name / "predictions.npz")
        above[name] = np.mean(arrays["prediction"] > arrays["label"])
    assert found["cost"] < 0.95 * found["mse"]
    # The best prediction is the quantile 5/6.
    assert above["cost"] > max(above["mse"] + 0.05, 0.7)


def test_the_loss_is_the_cost_in_raw_units_up_to_a_factor() -> None:
    prediction, target = torch.tensor([0.5, -0.2, 0.1]), torch.tensor([0.1, 0.3, 0.1])
    for log1p in (False, True):
        units = TargetUnits(torch.tensor(1.0), torch.tensor(2.0), log1p)
        raw, label = units.to_raw(prediction), units.to_raw(target)
        own = TargetCost(UtilityCost(profit), units, 4.0)(prediction, target)
        torch.testing.assert_close(own, -profit(raw, label) / 4)


@pytest.mark.parametrize("log_target", ["false", "true"])
def test_a_histogram_decides_by_the_cost_in_the_run_and_in_the_bundle(
    config: Any,
    log_target: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "x" / "m" / "seed_0"
    cfg = config("method=histogram_prior", "method.power_objective=cost", f"data.log_target={log_target}", *PRICES)
    result = run(cfg, folder)
    arrays = np.load(folder / "predictions.npz")
    # The decision is the quantile 5/6 of the corrected distribution, here by numpy from the saved log-probabilities.
    log_prob = arrays["log_mass"].astype(np.float64) - arrays["power"] * arrays["cell_log_density"]
    prob = np.exp(log_prob - log_prob.max(axis=1, keepdims=True))
    upto = np.cumsum(prob / prob.sum(axis=1, keepdims=True), axis=1)
    cells = (upto < 5 / 6).sum(axis=1)
    edges = arrays["cell_edges"]
    assert (arrays["prediction"] >= edges[cells] - 1e-3).all()
    assert (arrays["prediction"] <= edges[cells + 1] + 1e-3).all()
    tried = result["run"]["power"]["tried"]
    assert result["run"]["power"]["objective"] == "cost"
    assert result["val"]["all"]["cost"] == pytest.approx(min(tried.values()), rel=1e-5)
    # The scores of the variance are those about the mean: a quantile would not cover 90 % of the labels evenly.
    model, rows = load(folder), pd.read_csv(cfg.data.path)[["a", "b"]]
    decided = model.predict(rows, cost=LinearCost(under=5, over=1))
    assert set(np.round(arrays["prediction"], 3)) <= set(np.round(decided, 3))
    assert (decided > model.predict(rows)).mean() > 0.9
    np.testing.assert_allclose(model.predict(rows, cost="mae"), model.predict_quantile(rows, 0.5), rtol=1e-6)
    # dir-monitor compares what the bundle predicts: the errors of the mean, not of the decisions.
    kept = read_saved(folder)
    mean = kept.predict("val", kept.power)
    reference = model.description.run["monitoring"]["predictions"]["quantiles"]
    np.testing.assert_allclose(reference[-1], mean.max(), rtol=0.05)
    assert arrays["val_prediction"].max() > 1.2 * reference[-1]
    # Bundles of earlier releases keep no such errors, and predictions.npz holds the decisions.
    with pytest.raises(ValueError, match=r"decisions under the cost .* retrain=RUN"):
        reference_of_run(folder / "model", model.description)
    # The figure of intervals in a report has the coverage that the run has computed about the mean.
    drawn: list[Any] = []
    monkeypatch.setattr(drawings, "reliability_figure", lambda shares, rows: drawn.append(shares) or Figure())
    assert len(list(drawings._reliability({"m": [folder]}, "s"))) == 1
    assert drawn[0]["all"][LEVELS.index(0.9)] == pytest.approx(result["test"]["all"]["coverage90"], abs=0.02)
    about_decisions = coverage(arrays["label"], arrays["prediction"], arrays["variance"])
    assert np.abs(drawn[0]["all"] - about_decisions).max() > 0.2
    rows.to_csv(folder / "new.csv", index=False)
    predict_main([f"model={folder}", f"input={folder}/new.csv", f"output={folder}/out.csv", "under=5", "over=1"])
    assert "decisions of lowest expected cost" in capsys.readouterr().out
    np.testing.assert_allclose(pd.read_csv(folder / "out.csv")["prediction"], decided, rtol=1e-5)
    assert evaluate_checkpoint(folder, [])["test"]["all"]["cost"] == pytest.approx(result["test"]["all"]["cost"])


def test_other_costs_use_the_raw_cells(config: Any) -> None:
    parts = build(config("method=histogram", "+cost=utility", f"cost.utility._target_={__name__}.profit"))
    module = parts.module.eval()
    head = module.model.head
    assert isinstance(head, HistogramHead)
    output = torch.randn(6, head.cells.num_cells, generator=torch.Generator().manual_seed(0))
    expected = decide(head.log_prob(output).exp(), module.units.to_raw64(head.cells.edges), UtilityCost(profit))
    torch.testing.assert_close(module.decide(output), expected.float())
    # The profit is a newsvendor's: its best order is the quantile 2/3, within one step of the candidates.
    step = float(module.units.to_raw64(head.cells.edges).diff().sum()) / 400
    exact = decide_raw(head, output, module.units, LinearCost(under=2, over=1))
    assert float((module.decide(output) - exact).abs().max()) <= step


def test_the_scores_of_a_variance_are_about_the_mean(config: Any, tmp_path: Path) -> None:
    plain = run(config("method=histogram", "task.monitor=mse"), tmp_path / "plain")
    median = run(config("method=histogram", "+cost=mse"), tmp_path / "mse")
    decided = run(config("method=histogram", *PRICES), tmp_path / "decided")
    assert median["test"]["all"]["mse"] == pytest.approx(plain["test"]["all"]["mse"], rel=1e-4)
    # The epochs may differ, so that only the size is compared: about a quantile 5/6 the coverage would fall.
    assert abs(decided["test"]["all"]["coverage90"] - plain["test"]["all"]["coverage90"]) < 0.1


def test_boosted_trees_predict_a_quantile() -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.uniform(size=(2, 1500, 1))[0], rng.exponential(1.0, 1500)
    fit = {"X_val": inputs[:500], "y_val": labels[:500]}
    trees = HistGBDT(quantile=0.8, max_iter=60).fit(inputs[500:], labels[500:], **fit)
    assert np.mean(labels[:500] <= trees.predict(inputs[:500])) == pytest.approx(0.8, abs=0.05)
    errors = labels[:500] - trees.predict(inputs[:500])
    assert trees._error(errors) == pytest.approx(np.mean(np.where(errors > 0, 0.8 * errors, -0.2 * errors)))
    with pytest.raises(ValueError, match=r"^quantile: .*got 1\.5"):
        HistGBDT(quantile=1.5).fit(inputs, labels, **fit)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.loss=cost"], r"^method\.loss: the run has no cost.*\+cost=linear"),
        (["method=histogram_prior", "method.power_objective=few/cost"], r"^method\.power_objective: the run has no"),
        (["+cost.under=5"], r"^cost\.under: this run has no cost, got 5.*\+cost=NAME"),
        (["+cost=linear", "cost.under=-1"], r"^cost\.under: expected .*got -1"),
        (["+cost=linear", "+cost.overr=1"], r"^cost\.overr: .*Did you mean over"),
        (["+cost=quantile"], r"^cost\.q: missing value"),
        (["+cost=quantile", "cost.q=2"], r"^cost\.q: "),
        (["method=affine", "method.loss=cost", *PRICES], r"^method\.posthoc: a correction"),
        (["method.loss=rmse", *PRICES], r"^method\.loss: expected a loss or 'cost', got 'rmse'"),
        (["method=histogram", "method.loss=cost", *PRICES], r"^method\.loss does not fit method\.head"),
        (["method=hist_gbdt", "method.loss=cost", *PRICES], r"^method\.loss: only applies to networks"),
        (
            ["method.loss=cost", "+cost=utility", f"cost.utility._target_={__name__}.hit"],
            r"^method\.loss: .*gradient",
        ),
        (["+cost=utility", "cost.utility._target_=torch.sum"], r"^cost: "),
    ],
)
def test_settings_that_no_cost_can_use_are_refused(
    config: Any, overrides: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        run(config(*overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_distribution_decides_nothing(config: Any, tmp_path: Path) -> None:
    run(config("method=vanilla", "trainer.max_epochs=1"), tmp_path)
    with pytest.raises(TypeError, match=r"^cost: the model has no label prior"):
        load(tmp_path).predict(pd.DataFrame({"a": [0.0], "b": [0.0]}), cost="mae")
