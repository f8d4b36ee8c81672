"""dir.data.imbalance: the three measures against the same quantities computed sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dir.data.imbalance import effective_size, measure_imbalance


def test_effective_size_by_hand() -> None:
    assert effective_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_size([3.0, 1.0]) == pytest.approx(16 / 10)
    assert effective_size([1e-200, 3e-200]) == pytest.approx(16 / 10)  # squares of these weights are 0


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_effective_size_refuses_weights_without_a_size(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^weights: "):
        effective_size(weights)


def test_a_mean_with_weights_has_the_variance_of_the_effective_size() -> None:
    weights = np.array([0.5, 1.0, 2.0, 4.0])
    draws = np.random.default_rng(0).normal(size=(200_000, 4)) @ weights / weights.sum()
    assert draws.var() == pytest.approx(1 / effective_size(weights), rel=0.02)


def test_the_measures_by_hand() -> None:
    # Two filled bins of the range, one empty bin between them, one beyond.
    found = measure_imbalance([0, 8, 0, 2, 0])
    assert found.effective_share == pytest.approx((2 / 3) ** 2 / (1 / 9 / 0.8 + 1 / 9 / 0.2))
    assert found.density_ratio == 4
    assert found.distance == pytest.approx((abs(0.8 - 1 / 3) + 1 / 3 + abs(0.2 - 1 / 3)) / 2)
    assert found.empty_bins == 1


def test_the_effective_share_is_that_of_the_weights_of_the_labels() -> None:
    counts, edges = np.array([5, 1, 3]), np.array([0.0, 1.0, 4.0, 6.0])
    weights = np.repeat(np.diff(edges) / counts, counts)
    assert measure_imbalance(counts, edges).effective_share == pytest.approx(effective_size(weights) / 9)


def test_the_distance_by_chance_is_that_of_uniform_draws() -> None:
    random, edges = np.random.default_rng(0), np.array([0.0, 1.0, 1.5, 4.0])
    shares = np.diff(edges) / 4
    draws = random.multinomial(40, shares, size=100_000)
    mean = np.abs(draws / 40 - shares).sum(1).mean() / 2
    assert measure_imbalance([20, 5, 15], edges).distance_by_chance == pytest.approx(mean, rel=0.01)
    deviation = np.abs(np.arange(41) - 20) @ stats.binom.pmf(np.arange(41), 40, 0.5)
    assert measure_imbalance([30, 10]).distance_by_chance == pytest.approx(2 * deviation / (2 * 40))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any))
def test_the_bounds(counts: list[int]) -> None:
    found = measure_imbalance(counts)
    assert 0 < found.effective_share <= 1 + 1e-12
    assert found.density_ratio >= 1
    assert 0 <= found.distance < 1
    assert 0 <= found.distance_by_chance < 1


def test_uniform_labels_and_one_label_reach_the_bounds() -> None:
    for counts, edges in (([4, 4, 4], None), ([1, 3], [0.0, 1.0, 4.0]), ([0, 9, 0], None)):
        found = measure_imbalance(counts, edges)
        assert (found.effective_share, found.density_ratio) == pytest.approx((1, 1))
        assert found.distance == pytest.approx(0)


@pytest.mark.parametrize(
    ("counts", "edges", "match"),
    [([0, 0], None, "counts"), ([1, -1], None, "counts"), ([], None, "counts"), ([1, 2], [0, 1], "edges"),
     ([1, 2], [0, 2, 1], "edges")],
)  # fmt: skip
def test_other_counts_and_edges_are_refused(counts: list[int], edges: list[float] | None, match: str) -> None:
    with pytest.raises(ValueError, match=rf"^{match}: "):
        measure_imbalance(counts, edges)
