"""predictions.npz: every number of metrics.json is computed again from its arrays, with NumPy and SciPy alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from scipy import stats

from dir.recipe.build import build
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]


def ause(error: np.ndarray, variance: np.ndarray) -> float:
    """Return AUSE from samples removed one by one, by falling variance and by falling error."""
    by_variance, by_error = error[np.argsort(-variance, kind="stable")], error[np.argsort(-error, kind="stable")]
    curves = [[rest[k:].mean() for k in range(len(error))] for rest in (by_variance, by_error)]
    return float(np.mean(np.subtract(*curves)) / error.mean())


def metrics_of(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    label, prediction = arrays["label"].astype(float), arrays["prediction"].astype(float)
    error = np.abs(label - prediction)
    found = {
        "n": len(label),
        "mae": error.mean(),
        "mse": (error**2).mean(),
        "gm": np.exp(np.log(np.where(error == 0, 1e-10, error)).mean()),
        "balanced_mae": np.mean([error[arrays["bin"] == index].mean() for index in np.unique(arrays["bin"])]),
    }
    if len(label) > 1 and np.ptp(label) > 0 and np.ptp(prediction) > 0:
        found["pearson"] = stats.pearsonr(label, prediction).statistic
        found["spearman"] = stats.spearmanr(label, prediction).statistic
    if "variance" in arrays:
        variance = arrays["variance"].astype(float)
        inside = error <= stats.norm.ppf(0.95) * variance**0.5
        found |= {
            "nll": -stats.norm.logpdf(label, prediction, variance**0.5).mean(),
            "coverage90": inside.mean(),
            "ause": ause(error, variance),
        }
    return found


@pytest.mark.parametrize("method", ["vanilla", "affine", "vir"])
def test_every_metric_is_computed_again_from_the_arrays(tiny: Config, tmp_path: Path, method: str) -> None:
    cfg = tiny(f"method={method}", "trainer.max_epochs=2", "logger=none", "data.sizes=[200,80,90]")
    train(cfg, RunFolder(tmp_path), {"method": method})
    content: dict[str, Any] = json.loads((tmp_path / "metrics.json").read_text())
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as file:
        saved = dict(file)
    for split, prefix in (("test", ""), ("val", "val_")):
        names = [name for name in ("label", "prediction", "variance", "bin", "shot") if f"{prefix}{name}" in saved]
        arrays = {name: saved[f"{prefix}{name}"] for name in names}
        for group, values in content[split].items():
            rows = np.ones(len(arrays["label"]), bool) if group == "all" else arrays["shot"] == group
            assert rows.sum() == values["n"]
            if not rows.any():
                assert {value for name, value in values.items() if name != "n"} == {None}
                continue
            expected = metrics_of({name: array[rows] for name, array in arrays.items()})
            for name, value in values.items():
                if value is None:
                    assert name not in expected or not np.isfinite(expected[name])
                else:
                    assert value == pytest.approx(expected[name], rel=1e-4, abs=1e-6), (split, group, name)


def test_rows_are_identified_in_the_order_of_the_split(tiny: Config, tmp_path: Path) -> None:
    cfg = tiny("trainer.max_epochs=1", "logger=none")
    train(cfg, RunFolder(tmp_path), {})
    data = build(cfg).data
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as saved:
        for split, prefix in (("test", ""), ("val", "val_")):
            assert saved[f"{prefix}row_id"].tolist() == data.row_ids(split)
            np.testing.assert_array_equal(saved[f"{prefix}label"], data.labels(split).numpy())


def test_metrics_say_what_was_run(tiny: Config, tmp_path: Path) -> None:
    cfg = tiny("method=affine", "trainer.max_epochs=1", "logger=none", "task.monitor=mse")
    train(cfg, RunFolder(tmp_path), {"method": "affine", "overrides": ["method=affine"]})
    run = json.loads((tmp_path / "metrics.json").read_text())["run"]
    assert run["overrides"] == ["method=affine"]
    assert run["monitor"] == "val/all/mse"
    assert run["correction"] == {"kind": "affine", "fitted_on": "val"}
    assert run["shots"]["many"] == cfg.task.shots.many
    assert run["shots"]["few"] == cfg.task.shots.few
    assert run["data"]["rows"] == {"train": 200, "val": 60, "test": 60}
    other = tiny("method=vanilla", "trainer.max_epochs=1", "logger=none", "data.sizes=[200,60,59]")
    train(other, RunFolder(tmp_path / "other"), {})
    second = json.loads((tmp_path / "other/metrics.json").read_text())["run"]
    assert second["correction"] is None
    assert second["data"]["hash"] != run["data"]["hash"]
