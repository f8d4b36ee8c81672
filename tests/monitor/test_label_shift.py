"""The error under planted label shifts, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dir.monitor.density import quantile_edges
from dir.monitor.errors import make_profile, population_weights
from dir.monitor.label_shift import Confusion, estimate, make_confusion

Floats = NDArray[np.float64]


def world(rows: int, mean: float, seed: int, noise: float = 1.0) -> tuple[Floats, Floats]:
    """Return labels of a normal density, and predictions whose error grows with the label, and which shrink it."""
    random = np.random.default_rng(seed)
    labels = random.normal(mean, 1.0, rows)
    error = random.normal(size=rows) * 0.3 * np.exp(0.4 * labels)
    return labels, noise * 0.8 * labels + error


def confusion(noise: float = 1.0, rows: int = 1500) -> Confusion:
    labels, predictions = world(rows, 0.0, 0, noise)
    weights = np.ones(rows)
    edges = quantile_edges(predictions)[1:-1]
    return make_confusion(labels, predictions, weights, labels, edges)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.7])
def test_the_estimate_follows_the_realised_error(mean: float) -> None:
    known = confusion()
    labels, predictions = world(1500, mean, 1)
    found = estimate(known, predictions)
    realised = float(np.abs(labels - predictions).mean())
    assert found.error == pytest.approx(realised, rel=0.12)
    assert found.low <= found.error <= found.high
    assert found.fit > 0.001
    np.testing.assert_allclose(found.shares, known.errors.shares(labels), atol=0.06)
    if mean:  # the error without knowing of the shift is further off
        before = known.errors.expected(known.shares)[0]
        assert abs(found.error - realised) < 0.5 * abs(before - realised)


def test_a_shift_that_is_not_of_the_labels_is_seen() -> None:
    found = estimate(confusion(), np.random.default_rng(3).choice([-3.0, 0.5], 800))
    assert found.fit < 1e-6


def test_predictions_that_do_not_depend_on_the_label_identify_nothing() -> None:
    random = np.random.default_rng(4)
    labels, predictions = random.normal(size=400), random.normal(size=400)
    known = make_confusion(labels, predictions, np.ones(400), labels, quantile_edges(predictions)[1:-1])
    assert known.tilts == 0
    constant = make_confusion(labels, np.zeros(400), np.ones(400), labels, np.zeros(0))
    assert constant.tilts == 0
    # The shares stay those of the run.
    np.testing.assert_allclose(estimate(known, random.normal(2.0, 1.0, 300)).shares, known.shares, rtol=1e-12)


def test_canonical_correlations_are_those_of_indicator_variables() -> None:
    known = confusion(rows=300)
    labels, predictions = world(300, 0.0, 0)
    columns = known.errors.places(labels)[:, None] == np.arange(len(known.shares))
    rows = np.searchsorted(known.edges, predictions)[:, None] == np.arange(len(known.joint))
    first, second = (
        np.linalg.qr(part[:, 1:] - part[:, 1:].mean(axis=0))[0]
        for part in (columns.astype(float), rows.astype(float))
    )
    expected = np.linalg.svd(first.T @ second, compute_uv=False)
    np.testing.assert_allclose(known.correlations[: len(expected)], expected, atol=1e-10)


def test_the_profile_gives_back_the_mean_error_and_resolves_rare_labels() -> None:
    random = np.random.default_rng(5)
    labels = random.exponential(size=800)
    predictions = labels + random.normal(size=800)
    profile = make_profile(labels, predictions, np.ones(800))
    mean, error = profile.expected(profile.shares(labels))
    assert mean == pytest.approx(np.abs(labels - predictions).mean(), rel=1e-12)
    within = [np.abs(labels - predictions)[profile.places(labels) == k] for k in range(len(profile.mean))]
    assert min(map(len, within)) >= 5
    expected = np.sqrt(sum(part.var() * len(part) for part in within)) / 800
    assert error == pytest.approx(expected, rel=1e-12)
    # A bin for the rarest labels, far above the highest decile.
    assert profile.edges[-1] > 1.5 * np.quantile(labels, 0.9)


def test_population_weights_give_balanced_labels_the_density_of_the_population() -> None:
    random = np.random.default_rng(6)
    population = random.exponential(size=4000)
    order = np.argsort(population)
    balanced = population[order[np.unique(np.linspace(0, 3999, 300).astype(int) ** 2 // 3999)]]
    weights = population_weights(balanced, population)
    assert weights.mean() == pytest.approx(1.0)
    assert np.average(balanced, weights=weights) == pytest.approx(population.mean(), rel=0.05)
    assert abs(balanced.mean() / population.mean() - 1) > 0.2
