"""Labels that float32 is too coarse for: the table recipe keeps them in float64 from the file to the predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dir.bundle import load
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
BASE = 1e9


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a config of a table whose label has spread 1, in a column around 0 or around another base."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(240, 3)).round(4)
    # Multiples of 1/1024 are exact, alone in float32 and with the base in float64.
    label = ((x[:, 0] + 0.3 * draw.normal(size=240)) * 1024).round() / 1024
    register_configs()

    def composed(*overrides: str, base: float = BASE, scale: float = 1.0) -> DictConfig:
        frame = pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "w": x[:, 2], "y": base + scale * label})
        path = tmp_path / f"{base:g}-{scale:g}.csv"
        frame.to_csv(path, index=False, float_format="%.17g")
        fixed = (f"data.path={path}", "data.target=y", "trainer.accelerator=cpu", "logger=none")
        more = ("trainer.max_epochs=2", "data.split=random", "data.batch_size=64")
        with initialize_config_dir(config_dir(), version_base="1.3"):
            return compose("train", ["+experiment=tabular", *fixed, *more, *overrides])

    return composed


def run(cfg: DictConfig, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    train(cfg, RunFolder(path), {"method": "test"})
    with np.load(path / "predictions.npz", allow_pickle=False) as saved:
        return json.loads((path / "metrics.json").read_text()), dict(saved)


METHODS = ("vanilla", "lds_fds", "denseweight", "c_mixup", "vir", "histogram_prior", "isotonic", "bagging")
# Trees break ties by rounding; a line does not.
LINEAR = (
    "method.ensemble=null",
    "method.estimator._target_=sklearn.linear_model.LinearRegression",
    "~method.estimator.min_samples_leaf",
)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_around_1e9_is_that_of_the_same_labels_around_0(config: Config, tmp_path: Path, method: str) -> None:
    settings = (f"method={method}", *(LINEAR if method == "bagging" else ()))
    wide, arrays = run(config(*settings), tmp_path / "wide")
    plain, expected = run(config(*settings, base=0.0), tmp_path / "plain")
    assert arrays["label"].dtype == arrays["prediction"].dtype == np.float64
    assert expected["label"].dtype == expected["prediction"].dtype == np.float32
    np.testing.assert_array_equal(arrays["label"] - BASE, expected["label"])
    np.testing.assert_array_equal(arrays["bin"], expected["bin"])
    np.testing.assert_allclose(arrays["prediction"] - BASE, expected["prediction"], atol=2e-3)
    for name in ("mae", "mse", "pearson", "spearman"):
        assert wide["test"]["all"][name] == pytest.approx(plain["test"]["all"][name], abs=5e-3), name
    if "variance" in arrays:
        np.testing.assert_allclose(arrays["variance"], expected["variance"], rtol=0.01)
    assert wide["run"]["target"]["dtype"] == "float64"
    assert plain["run"]["target"]["dtype"] == "float32"


def test_labels_of_1e8_plus_minus_30_train(config: Config, tmp_path: Path) -> None:
    content, arrays = run(config("trainer.max_epochs=10", base=1e8, scale=30.0), tmp_path / "run")
    assert np.abs(arrays["prediction"] - 1e8).max() < 200
    assert content["test"]["all"]["mae"] < 20
    assert content["test"]["all"]["pearson"] > 0.5


def test_different_seconds_stay_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(1)
    seconds = 1_700_000_000 + draw.permutation(2000)[:382]
    x = (seconds - 1_700_001_000) / 600 + 0.1 * draw.normal(size=382)
    pd.DataFrame({"x": x, "y": seconds}).to_csv(tmp_path / "x.csv", index=False)
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        fixed = [f"data.path={tmp_path / 'x.csv'}", "data.target=y", "trainer.accelerator=cpu", "logger=none"]
        cfg = compose("train", ["+experiment=tabular", *fixed, "trainer.max_epochs=3", "method=lds"])
    content, arrays = run(cfg, tmp_path / "run")
    labels = [build(cfg).data.labels(split) for split in ("train", "val", "test")]
    assert len(torch.unique(torch.cat(labels))) == 382
    assert content["test"]["all"]["mae"] == pytest.approx(np.abs(arrays["label"] - arrays["prediction"]).mean())
    assert content["test"]["all"]["mae"] > 1
    assert "labels are float64" in capsys.readouterr().out
    model = load(tmp_path / "run")
    found = model.predict(pd.DataFrame({"x": x}))
    assert found.dtype == np.float64
    rows = [int(np.flatnonzero(seconds == label)[0]) for label in arrays["label"]]
    np.testing.assert_allclose(found[rows], arrays["prediction"], rtol=0, atol=1e-3)
    described = json.loads((tmp_path / "run/model/model.json").read_text())
    assert (described["version"], described["target"]["dtype"]) == (2, "float64")


def test_evaluation_and_resume_keep_the_labels(config: Config, tmp_path: Path) -> None:
    content, _ = run(config(), tmp_path / "run")
    splits = evaluate_checkpoint(tmp_path / "run/checkpoints/best.ckpt", [])
    assert splits == {split: content[split] for split in ("val", "test")}
    (tmp_path / "run/metrics.json").unlink()
    again, _ = run(config("resume=true"), tmp_path / "run")
    assert again["test"] == content["test"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=bf16-true", r"trainer\.precision: .*got 'bf16-true'"),
        (
            "++task.bins={_target_: dir.LabelBins.uniform, low: 999999990, high: 1000000064, num_bins: 1}",
            r"task\.bins: .*got 'torch\.float32'",
        ),
    ],
)
def test_settings_that_narrow_the_labels_are_refused(
    config: Config, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(config(f"++{override.removeprefix('++')}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
