"""SERA, its curve, relevance-weighted errors, utility scores and the error-density correlation against NumPy."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.lds import LDS
from dir.metrics.functional import smooth_accuracy
from dir.metrics.relevance_errors import ErrorDensityCorrelation, RelevanceMAE, RelevanceMSE
from dir.metrics.sera import SERA, SERCurve
from dir.metrics.utility import UtilityF1, UtilityPrecision, UtilityRecall
from dir.relevance import Relevance

DATA = ("abalone", "concrete", "agedb_train", "lognormal")


def batched(metric, preds, target, size=37):
    for part in range(0, len(preds), size):
        metric.update(preds[part : part + size], target[part : part + size])
    return metric.compute()


def pair(numbers, data):
    return torch.from_numpy(numbers[f"{data}/preds"]), torch.from_numpy(numbers[f"{data}/trues"])


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", ["box", "adjbox"])
@pytest.mark.parametrize("extremes", ["both", "high", "low"])
def test_sera_and_curve_match_iron(golden, data, method, extremes):
    numbers = golden("phi_sera_iron.npz")
    key = f"iron/{data}/{method}/{extremes}"
    phi = Relevance(method, extremes).fit(numbers[f"{data}/y"])
    preds, target = pair(numbers, data)
    assert batched(SERA(phi), preds, target).item() == pytest.approx(float(numbers[f"{key}/sera"]), rel=1e-9)
    share = batched(SERA(phi, normalize=True), preds, target).item()
    assert share == pytest.approx(float(numbers[f"{key}/sera_norm"]), rel=1e-9)
    curve = batched(SERCurve(phi), preds, target)
    np.testing.assert_allclose(curve.numpy(), numbers[f"{key}/ser_curve"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_sera_through_given_points_matches_iron(golden, data):
    numbers = golden("phi_sera_iron.npz")
    key = f"iron/{data}/range3"
    phi = Relevance.from_points(numbers[f"{key}/given"].reshape(3, 3))
    assert batched(SERA(phi), *pair(numbers, data)).item() == pytest.approx(float(numbers[f"{key}/sera"]), rel=1e-9)


def test_a_relevance_on_a_threshold_reaches_it():
    phi = torch.arange(1001, dtype=torch.float64) * 0.001
    curve = batched(SERCurve(lambda labels: labels), phi + 1, phi)
    np.testing.assert_allclose(curve.numpy(), np.arange(1001, 0, -1), rtol=1e-12)


def sample():
    rng = np.random.default_rng(3)
    target = rng.lognormal(1.0, 0.8, 211)
    preds = target + rng.normal(0, 1.0, 211)
    return torch.from_numpy(preds), torch.from_numpy(target)


def test_relevance_weighted_errors_are_weighted_means():
    preds, target = sample()
    phi = Relevance(extremes="high").fit(target)
    weight, error = phi(target.numpy()), (preds - target).abs().numpy()
    assert batched(RelevanceMAE(phi), preds, target).item() == pytest.approx(np.average(error, weights=weight))
    assert batched(RelevanceMSE(phi), preds, target).item() == pytest.approx(np.average(error**2, weights=weight))


@pytest.mark.parametrize("tolerance", [3.0, 6.0])
@pytest.mark.parametrize("steepness", [1.0, 1e4])
def test_utility_scores_match_resreg(golden, shared, tolerance, steepness):
    numbers = golden("phi_ilr_resreg.npz")
    facts = json.loads((shared / "data" / "golden" / "resampling_facts.json").read_text())["resreg"]
    expected = facts[f"err{tolerance}_k{steepness}"]
    target, preds = (torch.from_numpy(numbers[f"resreg/{name}"]) for name in ("y_true", "y_pred"))
    known = {
        round(float(label), 12): value
        for side, labels in (("sigmoid_relevance", target), ("sigmoid_relevance_pred", preds))
        for label, value in zip(labels, numbers[f"resreg/{side}/both"], strict=True)
    }

    def phi(labels: Tensor) -> Tensor:
        return torch.tensor([known[round(float(label), 12)] for label in labels], dtype=torch.float64)

    arguments = {"tolerance": tolerance, "threshold": 0.5, "steepness": steepness}
    assert batched(UtilityPrecision(phi, **arguments), preds, target).item() == pytest.approx(
        expected["precision"], rel=1e-9
    )
    assert batched(UtilityRecall(phi, **arguments), preds, target).item() == pytest.approx(
        expected["recall"], rel=1e-9
    )
    assert batched(UtilityF1(phi, **arguments), preds, target).item() == pytest.approx(expected["f1"], rel=1e-9)
    second = batched(UtilityF1(phi, beta=2.0, **arguments), preds, target).item()
    assert second == pytest.approx(expected["f2"], rel=1e-9)


def test_a_model_that_never_predicts_an_extreme_scores_0_and_no_extreme_label_gives_nan():
    phi = Relevance.from_points([[0, 0, 0], [10, 1, 0]])
    dull, extreme, common = torch.full((2,), 1.0), torch.tensor([9.9, 10.0]), torch.tensor([0.0, 2.0])
    assert batched(UtilityF1(phi, 1.0), dull, extreme).item() == 0
    assert batched(UtilityPrecision(phi, 1.0), dull, extreme).isnan()
    assert batched(UtilityF1(phi, 1.0), dull, common).isnan()
    assert batched(UtilityRecall(phi, 1.0), extreme, common).isnan()
    assert batched(UtilityF1(phi, 1.0), dull.flip(0), torch.tensor([10.0, 0.0])).item() == 0


def test_smooth_accuracy_is_one_sided_and_falls_to_0_at_the_tolerance():
    values = smooth_accuracy(torch.tensor([-3.0, -2.0, 0.0, 1.0, 2.0, 2.1], dtype=torch.float64), 2.0, 1.0)
    np.testing.assert_allclose(values, [0, 0, 1 - np.exp(-1), 1 - np.exp(-0.25), 0, 0], atol=1e-12)


def test_error_density_correlation_is_pearson_over_the_bins_with_data():
    rng = np.random.default_rng(0)
    train = torch.from_numpy(rng.normal(10, 3, 2000).round().clip(0, 20))
    bins = LabelBins.integers(0, 24)
    lds = LDS(bins).fit(train)
    target = torch.from_numpy(rng.integers(2, 20, 400).astype(np.float64))
    preds = target + torch.from_numpy(rng.normal(0, 1, 400)) * (1 + (target - 10).abs())
    error = (preds - target).abs().numpy()
    index = target.numpy().astype(int)
    seen = np.unique(index)
    mean = [error[index == b].mean() for b in seen]
    for density in (lds.counts, lds.density):
        expected = np.corrcoef(mean, density.numpy()[seen])[0, 1]
        metric = ErrorDensityCorrelation(bins, density)
        assert batched(metric, preds, target).item() == pytest.approx(expected, rel=1e-9)
        assert expected < -0.5
    equal = ErrorDensityCorrelation(bins, lds.counts)
    assert batched(equal, target + 0.1, target).isnan()
    one_bin = ErrorDensityCorrelation(bins, lds.counts)
    assert batched(one_bin, preds[:1], target[:1]).isnan()


def make_all() -> dict[str, Any]:
    phi = Relevance.from_points([[2, 1, 0], [4, 0, 0], [6, 1, 0]])
    bins = LabelBins.integers(0, 30)
    return {
        "sera": SERA(phi),
        "share": SERA(phi, normalize=True),
        "curve": SERCurve(phi, steps=10),
        "mae": RelevanceMAE(phi),
        "mse": RelevanceMSE(phi),
        "precision": UtilityPrecision(phi, 1.0),
        "recall": UtilityRecall(phi, 1.0),
        "f1": UtilityF1(phi, 1.0, steepness=1.0),
        "correlation": ErrorDensityCorrelation(bins, torch.arange(31.0)),
    }


def compute_on_rank(rank: int, world_size: int, preds: Tensor, target: Tensor) -> Any:
    bounds = [211 * i**2 // world_size**2 for i in range(world_size + 1)]
    shard = slice(bounds[rank], bounds[rank + 1])
    return {name: batched(metric, preds[shard], target[shard]) for name, metric in make_all().items()}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_agree_with_one_process(spawn_ranks: Callable[..., list[Any]], world_size: int) -> None:
    preds, target = sample()
    expected = {name: batched(metric, preds, target) for name, metric in make_all().items()}
    for results in spawn_ranks(compute_on_rank, world_size, preds, target):
        for name, value in results.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=name)


def test_shapes_dtypes_copies_casts_and_resets():
    preds, target = sample()
    for name, metric in make_all().items():
        whole = batched(copy.deepcopy(metric), preds, target)
        column = copy.deepcopy(metric).half()
        column.update(preds[:, None], target[:, None])
        torch.testing.assert_close(column.compute(), whole, rtol=1e-12, atol=1e-12, msg=name)
        assert column.compute().dtype == torch.float64
        column.reset()
        torch.testing.assert_close(batched(column, preds.float(), target.float()), whole, rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match=r"preds: .*\[211, 1\], got \[211\]"):
            metric.update(preds, target[:, None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SERA(torch.sigmoid, steps=0), "steps.*got 0"),
        (lambda: UtilityF1(torch.sigmoid, 0.0), "tolerance.*got 0.0"),
        (lambda: UtilityF1(torch.sigmoid, 1.0, steepness=-1), "steepness.*got -1"),
        (lambda: UtilityF1(torch.sigmoid, 1.0, threshold=1.5), "threshold.*got 1.5"),
        (lambda: UtilityF1(torch.sigmoid, 1.0, beta=0), "beta.*got 0"),
        (lambda: ErrorDensityCorrelation(LabelBins.integers(0, 2), torch.ones(2)), r"density.*\[3\], got \[2\]"),
        (lambda: ErrorDensityCorrelation(LabelBins.integers(0, 1), torch.tensor([1, -1.0])), "density.*got -1.0"),
    ],
)
def test_input_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
