"""Methods that predict a variance: the scores that their runs report, against SciPy and NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from scipy import stats

from dir.compare.report import markdown
from dir.compare.runs import find_runs
from dir.compare.statistics import compare
from dir.recipe.build import build
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.predictions import summarise
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
SCORES = {"nll", "coverage90", "ause"}


def run(cfg: DictConfig, path: Path) -> dict:
    train(cfg, RunFolder(path), {"method": "test"})
    return json.loads((path / "metrics.json").read_text())


def ause_by_hand(error: np.ndarray, variance: np.ndarray) -> float:
    """Return AUSE from samples removed one by one, by falling variance and by falling error."""
    by_variance, by_error = error[np.argsort(-variance)], error[np.argsort(-error)]
    curves = [[rest[k:].mean() for k in range(len(error))] for rest in (by_variance, by_error)]
    return float(np.mean(np.subtract(*curves)) / error.mean())


@pytest.mark.parametrize("method", ["vir", "uvote", "rbc"])
def test_run_scores_its_variances_in_raw_units_in_every_shot_group(tiny: Config, tmp_path: Path, method: str) -> None:
    content = run(tiny(f"method={method}", "trainer.max_epochs=2", "logger=none"), tmp_path)
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as saved:
        label, prediction, variance = (saved[name].astype(float) for name in ("label", "prediction", "variance"))
    assert (variance > 0).all()
    # In raw units: the labels lie in 0 to 10, and the model is hardly trained.
    assert 0.3 < variance.mean() < 60
    groups = content["test"]
    assert all(set(values) >= SCORES for split in ("val", "test") for values in content[split].values())
    for group in ("all", "few"):
        rows = np.ones(len(label), bool)
        if group == "few":
            rows = np.isin(np.minimum((label * 2).astype(int), 19), few_bins(tiny))
        assert rows.sum() == groups[group]["n"] > 0
        y, mean, var = label[rows], prediction[rows], variance[rows]
        assert groups[group]["nll"] == pytest.approx(-stats.norm.logpdf(y, mean, var**0.5).mean(), rel=1e-5)
        inside = np.abs(y - mean) <= stats.norm.ppf(0.95) * var**0.5
        assert groups[group]["coverage90"] == pytest.approx(inside.mean())
        assert groups[group]["ause"] == pytest.approx(ause_by_hand(np.abs(y - mean), var), rel=1e-4)
    assert evaluate_checkpoint(tmp_path / "checkpoints/best.ckpt", [], trust=True)["test"] == groups


def few_bins(tiny: Config) -> list[int]:
    """Return the bins of width 0.5 with one to four training labels."""
    counts = np.histogram(build(tiny()).data.labels("train").double().numpy(), np.linspace(0, 10, 21))[0]
    return [index for index, count in enumerate(counts) if 0 < count < 5]


def test_other_methods_report_no_variance(tiny: Config, tmp_path: Path) -> None:
    content = run(tiny("trainer.max_epochs=1", "logger=none"), tmp_path)
    assert not SCORES & set(content["test"]["all"])
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as saved:
        assert not {"variance", "val_variance"} & set(saved)


def test_variances_are_scaled_by_the_square_of_the_target_scale(tiny: Config) -> None:
    parts = build(tiny("method=uvote", "task.target_offset=3.0", "task.target_scale=4.0"))
    module = parts.module.eval()
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    prediction, variance = module.predict_variance(inputs)
    output = module.model(inputs)
    assert torch.equal(prediction, module(inputs))
    torch.testing.assert_close(variance, 16 * module.model.head.variance(output))


def test_variances_that_are_not_finite_have_no_score(tiny: Config) -> None:
    parts = build(tiny())
    labels = parts.data.labels("test")
    variances = torch.ones_like(labels)
    variances[0] = float("nan")
    scored = summarise(parts.module.metrics, labels, labels + 1, variances)
    assert {scored["all"][name] for name in SCORES} == {None}
    other = next(group for group in ("many", "median", "few") if scored[group]["nll"] is not None)
    assert scored[other]["coverage90"] == 1.0


def test_tables_show_the_scores_of_the_methods_that_have_them(tmp_path: Path) -> None:
    for method, more in (("vanilla", {}), ("vir", {"nll": 1.25, "coverage90": 0.875, "ause": 0.5})):
        for seed in range(2):
            path = tmp_path / "x" / method / f"seed_{seed}" / "metrics.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"test": {"all": {"n": 9, "mae": 1.0 + seed, **more}}}))
    result = compare(find_runs(tmp_path / "x")[0])
    assert result.metrics == ("mae", "nll", "coverage90", "ause")
    text = markdown(result)
    assert "coverage90 (best at 0.9)" in text
    assert "| vir | 2 | 0.875 ± 0.000 |" in text
    assert "| vanilla | 2 | - |" in text


def test_second_stage_does_not_count_as_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "rrt" / "seed_0"
    for path in (folder, folder / "stage_1"):
        path.mkdir(parents=True, exist_ok=True)
        (path / "metrics.json").write_text(json.dumps({"test": {"all": {"n": 9, "mae": 1.0}}}))
    runs, unfinished = find_runs(tmp_path)
    assert [run.source for run in runs] == [str(folder / "metrics.json")]
    assert not unfinished
