"""PSI and Kolmogorov-Smirnov from aggregates, against formulas written here and scipy on the whole samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dir.monitor.density import count_bins, kolmogorov, psi, psi_by_chance, quantile_edges, shown_density, sketch


def test_psi_is_the_sum_over_the_bins_with_half_a_sample_more_in_each() -> None:
    before, new = [30, 0, 70], [10, 5, 5]
    expected = 0.0
    for n, m in zip(before, new, strict=True):
        p, q = (n + 0.5) / 101.5, (m + 0.5) / 21.5
        expected += (q - p) * math.log(q / p)
    assert psi(before, new) == pytest.approx(expected, rel=1e-12)
    assert psi(before, before) == 0


def test_psi_of_samples_of_one_density_exceeds_its_value_by_chance_as_often_as_alpha_says() -> None:
    random = np.random.default_rng(0)
    alpha, exceeded = 0.05, []
    for _ in range(1000):
        before, new = random.normal(size=800), random.normal(size=300)
        edges = quantile_edges(before)
        counts = count_bins(before, edges), count_bins(new, edges)
        exceeded.append(psi(*counts) > psi_by_chance(*counts, alpha))
    assert 0.03 < np.mean(exceeded) < 0.09


@pytest.mark.parametrize("size", [40, 5000])
def test_kolmogorov_of_quantiles_is_that_of_the_whole_samples(size: int) -> None:
    random = np.random.default_rng(1)
    before, new = random.gamma(2.0, size=size), random.gamma(2.3, size=400)
    whole = stats.ks_2samp(before, new, method="asymp")
    found = kolmogorov(sketch(before), size, new)
    # 200 quantiles place the distribution function to 1 / 400, which the statistic leaves out.
    tolerance = 0 if size == 40 else 1 / 200
    assert whole.statistic - tolerance - 1e-12 <= found.statistic <= whole.statistic + 1e-12
    assert found.p_value >= whole.pvalue * (1 - 1e-9)
    if size == 40:
        assert found.p_value == pytest.approx(whole.pvalue, rel=1e-9)


def test_weighted_quantiles_are_those_of_repeated_rows() -> None:
    random = np.random.default_rng(2)
    values, weights = random.normal(size=700), random.integers(1, 5, 700)
    repeated = np.repeat(values, weights)
    np.testing.assert_array_equal(sketch(values, weights.astype(float)), sketch(repeated))
    edges = quantile_edges(values, weights.astype(float))
    np.testing.assert_array_equal(edges, quantile_edges(repeated))
    np.testing.assert_array_equal(count_bins(values, edges, weights.astype(float)), count_bins(repeated, edges))


def test_bins_of_tied_values_hold_every_value_and_see_values_beyond() -> None:
    zeros = np.array([0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0])
    edges = quantile_edges(zeros)
    assert count_bins(zeros, edges).tolist() == [0, 95, 5, 0]
    assert count_bins(np.array([-1e-9, 0.0, 1e-9, 5.0, 5.1]), edges).tolist() == [1, 1, 2, 1]
    constant = quantile_edges(np.full(9, 7.0))
    assert count_bins(np.array([6.9, 7.0, 7.1]), constant).tolist() == [1, 1, 1]


@pytest.mark.parametrize("value", [3.7, 3.0, -1e9 - 0.3])
def test_one_value_is_shown_in_one_bin_around_it(value: float) -> None:
    values = np.full(50, value)
    edges = quantile_edges(values)
    found = shown_density(sketch(values), float(edges[0]), float(edges[-1]), np.array([value, value + 5]))
    assert found["edges"] == pytest.approx([value - 0.5, value + 0.5])
    assert (found["reference"], found["new"], found["below"], found["above"]) == ([1.0], [0.5], 0.0, 0.5)
