"""Inputs of each metric class: arrays, Series and lists, holes, several targets, large labels; collections and plots.

The classes are found, not listed: a new metric needs its arguments in ``MAKES`` and is then tested everywhere.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchmetrics import MetricCollection

from dir import metrics as face
from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric

BINS = LabelBins.integers(0, 9)
COUNTS = torch.tensor([500, 101, 100, 60, 20, 19, 5, 1, 0, 0])


def relevance(labels: Tensor) -> Tensor:
    return labels.clamp(0, 10) / 10


UTILITY: dict[str, Any] = {"relevance": relevance, "tolerance": 1.0, "steepness": 4.0}
MAKES: dict[str, dict[str, Any]] = {
    "BalancedMAE": {"bins": BINS},
    "ErrorDensityCorrelation": {"bins": BINS, "density": COUNTS},
    "RelevanceMAE": {"relevance": relevance},
    "RelevanceMSE": {"relevance": relevance},
    "SERA": {"relevance": relevance},
    "SERCurve": {"relevance": relevance},
    "ShotMetrics": {"bins": BINS, "counts": COUNTS, "flat": True},
    "UtilityF1": UTILITY,
    "UtilityPrecision": UTILITY,
    "UtilityRecall": UTILITY,
}
CLASSES = {
    name: kind
    for name in face.__all__
    if inspect.isclass(kind := getattr(face, name)) and issubclass(kind, RegressionMetric)
}
NAMES = sorted(CLASSES)


def make(name: str, **arguments: Any) -> RegressionMetric:
    return CLASSES[name](**{**MAKES.get(name, {}), **arguments})


def sample(n: int = 60) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 10, n).astype(np.float64)
    return torch.from_numpy(target + rng.normal(0, 0.7, n)), torch.from_numpy(target)


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0, equal_nan=True)


def test_classes_are_found() -> None:
    assert len(NAMES) >= 14


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("convert", [Tensor.numpy, lambda x: pd.Series(x.numpy()), Tensor.tolist])
def test_arrays_series_and_lists_are_taken(name: str, convert: Callable[[Tensor], Any]) -> None:
    preds, target = sample()
    expected, metric = make(name)(preds, target), make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(metric(convert(preds), convert(target)), expected)
        metric.update(preds, convert(target))
    assert metric.update_count == 2


@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_no_numbers_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"preds: expected numbers, got 'dtype"):
        make(name).update(["a", "b"], [1.0, 2.0])


@pytest.mark.parametrize("name", NAMES)
def test_several_targets_are_refused_and_maps_are_not(name: str) -> None:
    preds, target = sample()
    with pytest.raises(ValueError, match=r"target: .*got \[20, 3\].*one metric per target"):
        make(name).update(preds.view(20, 3), target.view(20, 3))
    for shape in ((60, 1), (3, 1, 4, 5)):
        assert_same(make(name)(preds.view(shape), target.view(shape)), make(name)(preds, target))


@pytest.mark.parametrize("name", NAMES)
def test_holes_are_ignored_when_asked(name: str) -> None:
    preds, target = sample()
    holes = torch.arange(60) % 7 == 3
    expected = make(name)(preds[~holes], target[~holes])
    pitted, torn = target.clone(), preds.clone()
    pitted[holes], torn[holes] = torch.nan, torch.nan
    assert_same(make(name, ignore_nan=True)(torn.view(3, 1, 4, 5), pitted.view(3, 1, 4, 5)), expected)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"BalancedMAE", "ErrorDensityCorrelation", "ShotMetrics"}))
def test_a_nan_label_gives_nan_by_default(name: str) -> None:
    preds, target = sample()
    target[3] = torch.nan
    assert make(name)(preds, target).isnan().any()


def test_metrics_over_bins_leave_nan_labels_out_of_the_bins() -> None:
    preds, target = sample()
    kept = torch.arange(60) != 3
    pitted = target.clone()
    pitted[3] = torch.nan
    for name in ("BalancedMAE", "ErrorDensityCorrelation"):
        assert_same(make(name)(preds, pitted), make(name)(preds[kept], target[kept]))
    result = make("ShotMetrics")(preds, pitted)
    assert result["all/mae"].isnan()
    assert result["all/n"] == 60
    assert sum(result[f"{shot}/n"] for shot in face.SHOTS) == 59


@pytest.mark.parametrize("name", NAMES)
def test_two_of_a_kind_are_never_merged_in_a_collection(name: str) -> None:
    """After a first batch of equal states, each metric still counts its own batches."""
    other = {"bins": LabelBins.integers(0, 4)} if "bins" in MAKES.get(name, {}) else {}
    other |= {"counts": COUNTS[:5]} if name == "ShotMetrics" else {}
    other |= {"density": COUNTS[:5]} if name == "ErrorDensityCorrelation" else {}
    if "relevance" in MAKES.get(name, {}):
        other["relevance"] = lambda labels: (labels.clamp(0, 10) / 10).sqrt()
    pair = {"one": make(name), "two": make(name, **other), "mae": face.MAE(), "mse": face.MSE()}
    collection = MetricCollection(pair)
    preds, target = sample()
    batches = [(torch.ones(2), torch.zeros(2)), (preds, target)]
    for batch in batches:
        collection.update(*batch)
    assert all(len(group) == 1 for group in collection.compute_groups.values())
    result = collection.compute()
    for key, metric in {"one": make(name), "two": make(name, **other), "mae": face.MAE(), "mse": face.MSE()}.items():
        for batch in batches:
            metric.update(*batch)
        value = metric.compute()
        if isinstance(value, dict):
            continue  # the keys of the two collide; torchmetrics prefixes them by the name of the metric
        assert_same(result[key], value)


def test_relevance_errors_are_not_merged() -> None:
    # The first batch has errors of 1: both hold equal sums, and a merged pair would report the MAE twice.
    pair = {"mae": make("RelevanceMAE"), "mse": make("RelevanceMSE")}
    collection = MetricCollection(pair)
    collection.update(torch.tensor([6.0, 4.0]), torch.tensor([5.0, 5.0]))
    collection.update(torch.tensor([9.0, 2.0]), torch.tensor([5.0, 5.0]))
    result = collection.compute()
    assert result["mae"].item() == pytest.approx(9 / 4)
    assert result["mse"].item() == pytest.approx(27 / 4)


def test_flat_shot_metrics_are_the_nested_ones() -> None:
    preds, target = sample()
    flat = make("ShotMetrics")(preds, target)
    nested = make("ShotMetrics", flat=False)(preds, target)
    assert set(flat) == {f"{shot}/{name}" for shot, values in nested.items() for name in values}
    for key, value in flat.items():
        shot, name = key.split("/")
        assert value.shape == ()
        assert value.dtype == torch.float64  # loggers warn about integers
        assert_same(value, nested[shot][name].double())
    collection = MetricCollection({"shots": make("ShotMetrics"), "mae": face.MAE()}, prefix="val/")
    assert_same(collection(preds, target)["val/few/mae"], flat["few/mae"])


def test_lightning_logs_flat_shot_metrics_without_a_warning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.shots = make("ShotMetrics")

        def validation_step(self, batch: Any, _: int) -> None:
            self.shots.update(*batch)

        def on_validation_epoch_end(self) -> None:
            self.log_dict(self.shots.compute())
            self.shots.reset()

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*sample()), batch_size=20)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(**quiet, accelerator="cpu", default_root_dir=tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (logged,) = trainer.validate(Module(), loader, verbose=False)
    assert logged["all/n"] == 60
    assert not [w for w in caught if "self.log" in str(w.message) or "converted" in str(w.message)]


@pytest.mark.parametrize("name", NAMES)
def test_each_metric_draws(name: str) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    metric = make(name)
    values = [metric(*sample(n)) for n in (40, 60)]
    for value in (None, values):
        figure, axes = metric.plot(value)
        assert figure is not None
        assert axes.lines or axes.patches
        plt.close(figure)
    _, axes = plt.subplots()
    assert metric.plot(ax=axes)[1] is axes
    plt.close("all")


def test_bars_of_a_shot_plot_are_the_values() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    for flat in (True, False):
        metric = make("ShotMetrics", flat=flat)
        result = metric(*sample())
        figure, axes = metric.plot(metric="mse")
        heights = [bar.get_height() for bar in axes.patches]
        expected = [result[f"{g}/mse"] if flat else result[g]["mse"] for g in ("all", *face.SHOTS)]
        np.testing.assert_allclose(heights, [float(value) for value in expected])
        plt.close(figure)
    with pytest.raises(ValueError, match=r"metric: .*got 'rmse'"):
        metric.plot(metric="rmse")


@pytest.mark.parametrize("size", [5000, 331])
def test_labels_of_mean_1e9_and_spread_1(size: int) -> None:
    """All numbers equal those of longdouble on the same float64 labels."""
    rng = np.random.default_rng(0)
    target = 1e9 + rng.normal(0, 1, 5000)
    preds = target + rng.normal(0, 0.5, 5000)
    p, t = (np.asarray(values, dtype=np.longdouble) for values in (preds, target))
    dev_p, dev_t = p - p.mean(), t - t.mean()
    correlation = (dev_p * dev_t).sum() / np.sqrt((dev_p**2).sum() * (dev_t**2).sum())
    edges = torch.linspace(-5, 5, 21, dtype=torch.float64) + 1e9
    bins = LabelBins.from_edges(edges, dtype=torch.float64)
    index = np.digitize(target, edges.numpy()) - 1
    balanced = np.mean([np.abs(p - t)[index == b].mean() for b in np.unique(index)])
    expected = {
        "mae": np.abs(p - t).mean(),
        "mse": ((p - t) ** 2).mean(),
        "gm": np.exp(np.log(np.abs(p - t)).mean()),
        "pearson": correlation,
        "spearman": stats.spearmanr(preds, target).statistic,
        "balanced_mae": balanced,
    }
    shots = face.ShotMetrics(bins, counts=bins.counts(torch.from_numpy(target)))
    pooled = {"mae": face.MAE(), "mse": face.MSE(), "gm": face.GM(), "pearson": face.Pearson()}
    for part in np.split(np.arange(5000), range(size, 5000, size)):
        for metric in (shots, *pooled.values()):
            metric.update(preds[part], target[part])
    # Pearson keeps means in float64, whose steps at 1e9 are 1.2e-7.
    rtol = {"pearson": 1e-7}
    for name, value in expected.items():
        result = shots.compute()["all"][name].item()
        np.testing.assert_allclose(result, float(value), rtol=rtol.get(name, 1e-9), err_msg=name)
    for name, metric in pooled.items():
        result = metric.compute().item()
        np.testing.assert_allclose(result, float(expected[name]), rtol=rtol.get(name, 1e-9), err_msg=name)


@pytest.mark.parametrize("value", [30.1, 1e9 + 0.3])
def test_constants_have_no_correlation_however_they_are_batched(value: float) -> None:
    rng = np.random.default_rng(0)
    varying = rng.integers(0, 10, 100_000) + 0.1
    for size in (100_000, 777):
        for constant in (True, False):
            pair = (np.full(100_000, value), varying) if constant else (varying, np.full(100_000, value))
            single, shots = face.Pearson(), make("ShotMetrics", flat=False, metrics=["pearson"])
            for part in np.split(np.arange(100_000), range(size, 100_000, size)):
                single.update(pair[0][part], pair[1][part])
                shots.update(pair[0][part], pair[1][part])
            assert single.compute().isnan()
            assert all(group["pearson"].isnan() for group in shots.compute().values())
