"""Runs of boosted trees: weights, number of trees, evaluation from the run folder, and refused settings."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from sklearn.ensemble import HistGradientBoostingRegressor

from dir import LDS, DenseWeight
from dir.recipe.build import build_data
from dir.recipe.cli import config_dir, register_configs, train_main
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
WEIGHTS = ("none", "sqinv", "lds", "denseweight")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    kind = random.choice(["a", "b", "c"], 400)
    y = np.exp(x[:, 0]) + (kind == "b") + 0.1 * random.normal(size=400)
    pd.DataFrame({"kind": kind, "u": x[:, 0], "v": x[:, 1], "y": y}).to_csv(tmp_path / "x.csv", index=False)
    register_configs()

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            fixed = [f"data.path={tmp_path / 'x.csv'}", "data.target=y", "trainer.accelerator=cpu", "logger=none"]
            return compose("train", ["+experiment=tabular", *fixed, *overrides])

    return composed


def run(cfg: DictConfig, path: Path) -> dict[str, Any]:
    train(cfg, RunFolder(path), {"method": "test"})
    content: dict[str, Any] = json.loads(RunFolder(path).metrics.read_text())
    return content


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_weighted_run_is_scikit_learn_s_own_fit_with_those_weights(
    config: Config, tmp_path: Path, weights: str
) -> None:
    cfg = config("method=hist_gbdt", f"method.weights={weights}", "method.estimator.max_iter=60")
    content = run(cfg, tmp_path / "run")
    data, (bins,), chunks, _ = build_data(cfg)
    labels = chunks.all()
    expected = {
        "none": None,
        "sqinv": LDS(bins, kernel=None, reweight="sqrt_inverse"),
        "lds": LDS(bins, reweight="sqrt_inverse", kernel_size=5, sigma=1.0),
        "denseweight": DenseWeight(bins, alpha=1.0),
    }[weights]
    weight = None if expected is None else expected.fit(labels)(labels).numpy()
    (x, y), (test_x, test_y) = (
        data.dataset(split).__getitems__(range(len(data.labels(split)))) for split in ("train", "test")
    )
    number = content["run"]["best_iteration"]
    assert 1 < number <= content["run"]["iterations"] <= 60
    plain = HistGradientBoostingRegressor(max_iter=number, early_stopping=False)
    plain.fit(x.numpy(), y.double().numpy(), sample_weight=weight)
    with np.load(RunFolder(tmp_path / "run").predictions, allow_pickle=False) as saved:
        np.testing.assert_allclose(saved["prediction"], plain.predict(test_x.numpy()), rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(saved["label"], test_y.numpy())


@pytest.mark.parametrize("method", ["hist_gbdt", "lightgbm", "catboost", "bagging"])
def test_evaluate_prints_the_tables_of_the_run_again(config: Config, tmp_path: Path, method: str) -> None:
    package = {"hist_gbdt": "sklearn", "bagging": "sklearn"}.get(method, method)
    if importlib.util.find_spec(package) is None:
        pytest.skip("needs the extra `trees`")
    content = run(config(f"method={method}"), tmp_path / "run")
    # The order of the rows in the file does not matter.
    table = pd.read_csv(tmp_path / "x.csv")
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "x.csv", index=False)
    for path in ("run", "run/model/estimator.skops"):
        found = evaluate_checkpoint(tmp_path / path, [])
        for split in ("val", "test"):
            assert found[split]["all"]["mae"] == pytest.approx(content[split]["all"]["mae"], rel=1e-9)
    few = evaluate_checkpoint(tmp_path / "run", [f"data.test_path={tmp_path / 'x.csv'}"])
    assert few["test"]["all"]["n"] == 400


def test_a_run_folder_of_a_network_is_evaluated_by_its_best_checkpoint(config: Config, tmp_path: Path) -> None:
    content = run(config("trainer.max_epochs=1"), tmp_path / "run")
    found = evaluate_checkpoint(tmp_path / "run", [])
    assert found["test"]["all"]["mae"] == pytest.approx(content["test"]["all"]["mae"])


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["method.weights=inverse"], r"^method\.weights: .*got 'inverse'"),
        (["method.ensemble={_target_: dir.resampling.REBAGG}"], r"^method\.ensemble: "),
        (["+regularizer=ranksim"], r"^regularizer: "),
        (["early_stopping.patience=3"], r"^early_stopping\.patience: "),
        (["method.estimator.max_depths=3"], r"^method\.estimator\.max_depths: "),
        (["task.monitor=balanced_mae"], r"^method\.estimator\.monitor: .*got 'balanced_mae'"),
    ],
)
def test_settings_that_trees_cannot_use_are_refused(
    config: Config, tmp_path: Path, overrides: list[str], match: str
) -> None:
    overrides = [f"+{line}" if "max_depths" in line else line for line in overrides]
    with pytest.raises(ValueError, match=match):
        train(config("method=hist_gbdt", *overrides), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_another_regressor_is_not_fitted_with_weights(config: Config, tmp_path: Path) -> None:
    keys = ("learning_rate", "max_leaf_nodes", "min_samples_leaf", "l2_regularization", "max_iter", "patience")
    gone = [f"~method.estimator.{key}" for key in (*keys, "monitor", "random_state")]
    linear = [
        "method.estimator._target_=sklearn.linear_model.QuantileRegressor",
        "method.estimator.quantile=0.5",
        *gone,
    ]
    with pytest.raises(ValueError, match=r"^method\.weights: .*QuantileRegressor.*got 'lds'"):
        train(config("method=hist_gbdt", *linear, "method.weights=lds"), RunFolder(tmp_path / "run"), {})


def test_settings_of_networks_are_named_as_unused(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)
    data = ["+experiment=tabular", "data.path=x.csv", "data.target=y", "trainer.accelerator=cpu", "logger=none"]
    lines = ["method.estimator.max_iter=5", "optimizer.lr=0.1", "scheduler=none", "trainer.max_epochs=9"]
    monkeypatch.setattr(sys, "argv", ["train.py", *data, "method=hist_gbdt", *lines])
    train_main()
    said = (
        "method=hist_gbdt trains no network and does not use optimizer.lr=0.1, scheduler=none, trainer.max_epochs=9\n"
    )
    assert said in capsys.readouterr().out
