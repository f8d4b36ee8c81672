"""Importance of rows in runs: it multiplies the weights of the loss, and weights the errors of val and test."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from dir.bundle import load
from dir.mixup import CMixup
from dir.recipe.build import build
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.row_weights import mix
from dir.recipe.run_folder import RunFolder
from dir.recipe.sklearn_estimators import build_estimators
from dir.recipe.train import train


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, table_config: Any) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 2))
    frame = pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "w": rng.integers(0, 4, 240), "y": np.exp(x[:, 0]) + 0.1 * x[:, 1]}
    )
    path = tmp_path_factory.mktemp("data") / "x.csv"
    frame.to_csv(path, index=False)
    return partial(table_config, path, 3, "data.importance=w")


def run(cfg: Any, path: Path) -> dict[str, Any]:
    train(cfg, RunFolder(path), {"method": "m"})
    return json.loads((path / "metrics.json").read_text())


def test_an_importance_counts_as_copies_of_the_row(config: Any) -> None:
    parts = build(config("method=vanilla"))
    module, data = parts.module.eval(), parts.data
    module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    inputs, labels = data.dataset("train").__getitems__(list(range(len(data.labels("train")))))  # type: ignore[attr-defined]
    importance = data.importance("train")
    assert importance is not None
    copies = importance.long()
    repeated = (inputs.repeat_interleave(copies, 0), labels.repeat_interleave(copies))
    weighted = module.training_step((inputs, labels, importance), 0)
    torch.testing.assert_close(weighted, module.training_step(repeated, 0))
    assert not torch.allclose(weighted, module.training_step((inputs, labels), 0))


@pytest.mark.parametrize("method", ["lds", "rrt", "histogram", "c_mixup", "bmc"])
def test_the_products_of_both_weights_have_mean_one(config: Any, method: str) -> None:
    parts = build(config(f"method={method}"))
    labels, importance = parts.data.labels("train"), parts.data.importance("train")
    weights = parts.module.weight(labels, importance)
    assert weights is not None
    assert importance is not None
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-5)
    density = torch.ones_like(labels) if parts.module.lds is None else parts.module.lds(labels)
    product = density * importance
    torch.testing.assert_close(weights, product / product.mean())


def test_a_mixed_sample_has_the_mixed_importance() -> None:
    importance = torch.tensor([0.0, 2.0, 5.0, 1.0])
    for inputs in (importance[:, None].repeat(1, 3), (importance[:, None].clone(), importance[:, None].clone())):
        torch.manual_seed(0)
        mixed, target, weights = mix(CMixup(10.0), inputs, importance, importance)
        # Inputs, targets and importance are the same numbers, and so are their mixtures.
        torch.testing.assert_close(weights, target)
        first = mixed[0] if isinstance(inputs, tuple) else mixed
        torch.testing.assert_close(first[:, 0], target)
        assert not torch.equal(target, importance)


def test_boosted_trees_take_the_weights_and_other_estimators_refuse(config: Any, tmp_path: Path) -> None:
    cfg = config("method=hist_gbdt", "method.weights=sqinv", "method.estimator.max_iter=20")
    (found,) = build_estimators(cfg, RunFolder(tmp_path / "trees"))
    importance = found.data.importance("train")
    assert importance is not None
    assert found.lds is not None
    product = (found.lds(found.data.labels("train")) * importance).double().numpy()
    result = run(cfg, tmp_path / "trees")
    rows, labels = found.data.table("train")
    own = HistGradientBoostingRegressor(
        max_iter=result["run"]["best_iteration"], early_stopping=False, random_state=0
    ).fit(rows, labels, sample_weight=product / product.mean())
    predicted = np.load(tmp_path / "trees" / "predictions.npz")["prediction"]
    # The recipe fits standardised labels: the same trees up to rounding.
    np.testing.assert_allclose(predicted, own.predict(found.data.table("test")[0]), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"^method: .*is not fitted with the importance of rows"):
        build_estimators(config("method=bagging"), RunFolder(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"^method\.resample: resampling would lose the importance"):
        build(config("method=random_over"))


def test_weighted_errors_of_each_group_and_a_bundle_without_the_column(config: Any, tmp_path: Path) -> None:
    result = run(config("method=lds"), tmp_path)
    arrays = np.load(tmp_path / "predictions.npz")
    for split, prefix in (("test", ""), ("val", "val_")):
        label, prediction, weight, shot = (
            arrays[prefix + name].astype(np.float64) if name != "shot" else arrays[prefix + name]
            for name in ("label", "prediction", "importance", "shot")
        )
        for group in ("all", "many", "median", "few"):
            rows = np.ones(len(label), bool) if group == "all" else shot == group
            if weight[rows].sum() == 0:
                assert result[split][group]["weighted_mae"] is None
                continue
            error = np.abs(prediction - label)[rows]
            assert result[split][group]["weighted_mae"] == pytest.approx(np.average(error, weights=weight[rows]))
            assert result[split][group]["weighted_mse"] == pytest.approx(np.average(error**2, weights=weight[rows]))
    # The weighted error is not the plain one, and a new row needs no importance.
    assert result["test"]["all"]["weighted_mae"] != pytest.approx(result["test"]["all"]["mae"])
    assert load(tmp_path).predict(pd.DataFrame({"a": [0.1], "b": [0.2]})).shape == (1,)
    assert evaluate_checkpoint(tmp_path, [])["test"] == result["test"]


def test_a_resumed_run_ends_like_an_uninterrupted_one(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(config("method=lds"), tmp_path / "whole")
    step = RegressionModule.training_step

    def killed(self: RegressionModule, batch: tuple[Any, ...], batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1:
            raise OSError("killed")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", killed)
        with pytest.raises(OSError, match="killed"):
            run(config("method=lds"), tmp_path / "killed")
    with pytest.raises(ValueError, match=r"data\.importance"):
        run(config("method=lds", "data.importance=null", "data.drop=[w]", "resume=true"), tmp_path / "killed")
    assert run(config("method=lds", "resume=true"), tmp_path / "killed")["test"] == whole["test"]
