"""Runs with model=tabm: each method that is a network trains, and a run resumes, evaluates, predicts and exports."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import dir.bundle
from dir.compare.runs import METHOD_ORDER
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.compatibility import check
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

pytest.importorskip("tabm", reason="needs the extra `tabm`")

Config = Callable[..., DictConfig]
TREES = ("bagging", "rebagg", "hist_gbdt", "lightgbm", "catboost")
NETWORKS = [name for name in METHOD_ORDER if name not in TREES]
SMALL = ("model.encoder.members=3", "model.encoder.hidden=8", "model.encoder.num_bins=6", "model.encoder.embedding=4")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a config of a table of 160 rows with rare high labels."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(160, 3)).round(4)
    frame = pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "w": x[:, 2]})
    frame["price"] = (5 * np.exp(x[:, 0]) + draw.uniform(size=160)).round(3)
    frame.to_csv(tmp_path / "price.csv", index=False)
    register_configs()

    def composed(*overrides: str, epochs: int = 1) -> DictConfig:
        fixed = (f"data.path={tmp_path / 'price.csv'}", "data.target=price", "trainer.accelerator=cpu")
        more = ("model=tabm", *SMALL, "logger=none", f"trainer.max_epochs={epochs}", "data.split=random")
        with initialize_config_dir(config_dir(), version_base="1.3"):
            return compose("train", ["+experiment=tabular", *fixed, *more, "data.batch_size=32", *overrides])

    return composed


def run(cfg: DictConfig, path: Path, **options: Any) -> dict[str, Any]:
    check(cfg)
    train(cfg, RunFolder(path), {"method": "test"}, **options)
    content: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return content


@pytest.mark.parametrize("method", NETWORKS)
def test_every_network_method_trains_and_its_bundle_repeats_the_run(
    config: Config, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "run"
    metrics = run(config(f"method={method}"), path)
    assert math.isfinite(metrics["test"]["all"]["mae"])
    with np.load(path / "predictions.npz", allow_pickle=False) as saved:
        labels, expected = saved["label"], saved["prediction"]
    table = pd.read_csv(tmp_path / "price.csv")
    # The labels are distinct, and tell the row of each prediction.
    rows = table.iloc[[int(np.abs(table["price"] - label).argmin()) for label in labels]]
    again = dir.bundle.load(path).predict(rows.drop(columns="price"))
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["vanilla", "histogram_prior", "lds_fds"])
def test_evaluation_and_export_repeat_the_run(config: Config, tmp_path: Path, method: str) -> None:
    found = run(config(f"method={method}"), tmp_path / "run")
    splits = evaluate_checkpoint(tmp_path / "run/checkpoints/best.ckpt", [])
    assert splits == {split: found[split] for split in ("val", "test")}
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    model = dir.bundle.load(tmp_path / "run")
    dir.bundle.export(model, tmp_path / "model.onnx")
    table = pd.read_csv(tmp_path / "price.csv").drop(columns="price")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    exported = session.run(None, {"numbers": table.to_numpy(np.float64)})[0]
    np.testing.assert_allclose(exported, model.predict(table), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["vanilla", "histogram_prior", "lds_fds"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    expected = run(config(f"method={method}", epochs=3), tmp_path / "whole")
    with monkeypatch.context() as patch:

        def killed(self: RegressionModule) -> None:
            if self.current_epoch == 2:
                raise RuntimeError("killed")

        patch.setattr(RegressionModule, "on_train_epoch_start", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(config(f"method={method}", epochs=3), tmp_path / "run")
    found = run(config(f"method={method}", "resume=true", epochs=3), tmp_path / "run")
    assert found["test"] == expected["test"]


def test_the_edges_of_the_embeddings_are_quantiles_of_the_training_rows(config: Config) -> None:
    parts = build(config())
    inputs = torch.cat([batch for batch, _ in parts.data.whole("train")]).double().numpy()
    quantiles = np.quantile(inputs, np.linspace(0, 1, 7), axis=0).T
    np.testing.assert_allclose(parts.module.model.encoder.embedding.edges.numpy(), quantiles, rtol=1e-5, atol=1e-6)


def test_pictures_are_refused() -> None:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", ["+experiment=age_synthetic", "model=tabm", "logger=none", "trainer.accelerator=cpu"])
    with pytest.raises(ValueError, match=r"^model"):
        build(cfg)
