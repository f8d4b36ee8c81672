"""Tests of the running moments per bin against NumPy float64, and of the samples that count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds import statistics as feature_statistics
from dir.fds.probabilistic import ProbabilisticFDS
from dir.fds.statistics import moments_
from dir.kernels import smoothing_matrix

pytestmark = pytest.mark.filterwarnings("ignore:FDS. most")  # tiny data leave bins empty

B, D = 9, 4


def make(**kwargs: object) -> FDS:
    """Return a float32 FDS over B integer bins that by default only collects."""
    return FDS(D, LabelBins.integers(0, B - 1), **{"start_smooth": None, **kwargs})


@pytest.mark.parametrize("min_count", [2, 4])
@pytest.mark.parametrize("momentum", [0.9, 0.5, 0.0, None])
def test_running_moments_over_epochs(oracle, momentum: float | None, min_count: int) -> None:
    fds = make(momentum=momentum, min_count=min_count)
    reference = oracle.OracleFDS(B, D, momentum=momentum, min_count=min_count, start_smooth=None)
    for features, index in oracle.skewed_epochs(B, D, 4):
        oracle.run_epoch(fds, features, oracle.labels_of(fds.bins, index))
        reference.end_epoch(features, index)
        seen, trusted = reference.seen, reference.trusted
        np.testing.assert_allclose(fds.running_mean.numpy()[seen], reference.mean[seen], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fds.running_var.numpy()[trusted], reference.var[trusted], rtol=1e-5, atol=1e-9)
    assert not reference.seen[4]
    assert not reference.trusted.all()


def test_momentum_is_the_weight_of_the_old_value() -> None:
    fds = make(momentum=0.9)
    for value in (10.0, 20.0):
        fds(torch.full((3, D), value), torch.zeros(3))
        fds.end_epoch()
    assert fds.running_mean[0, 0].item() == pytest.approx(0.9 * 10 + 0.1 * 20)


def test_the_first_epoch_of_a_bin_replaces_the_initial_statistics() -> None:
    fds = make(momentum=0.9)
    fds(torch.ones(3, D), torch.zeros(3))
    fds.end_epoch()
    late = torch.tensor([[1.0], [2.0], [6.0]]).expand(3, D)
    fds(late, torch.ones(3))
    fds.end_epoch()
    assert fds.running_mean[1, 0].item() == pytest.approx(3.0)
    assert fds.running_var[1, 0].item() == pytest.approx(7.0)


def test_a_bin_absent_from_an_epoch_keeps_its_statistics() -> None:
    fds = make()
    rows = torch.randn(5, D)
    fds(rows, torch.zeros(5))
    fds.end_epoch()
    mean, var = fds.running_mean[0].clone(), fds.running_var[0].clone()
    fds(torch.randn(5, D), torch.ones(5))
    fds.end_epoch()
    assert torch.equal(fds.running_mean[0], mean)
    assert torch.equal(fds.running_var[0], var)


def test_variances_are_unbiased() -> None:
    fds = make()
    rows = torch.randn(7, D)
    fds(rows, torch.zeros(7))
    fds.end_epoch()
    torch.testing.assert_close(fds.running_var[0], rows.var(dim=0), check_dtype=False)


def test_fewer_samples_than_min_count_update_only_the_mean() -> None:
    fds = make(momentum=0.5, min_count=3)
    fds(torch.tensor([[0.0], [1.0], [2.0]]).expand(3, D), torch.zeros(3))
    fds.end_epoch()
    fds(torch.tensor([[9.0], [5.0]]).expand(2, D), torch.zeros(2))
    fds.end_epoch()
    assert fds.running_mean[0, 0].item() == pytest.approx(0.5 * 1 + 0.5 * 7)
    assert fds.running_var[0, 0].item() == pytest.approx(1.0)


def test_data_before_start_update_is_discarded() -> None:
    fds = make(start_update=1)
    fds(torch.full((4, D), 100.0), torch.zeros(4))
    fds.end_epoch()
    rows = torch.randn(4, D)
    fds(rows, torch.zeros(4))
    fds.end_epoch()
    torch.testing.assert_close(fds.running_mean[0], rows.mean(0), check_dtype=False)
    torch.testing.assert_close(fds.running_var[0], rows.var(0), check_dtype=False)


def test_statistics_are_accurate_for_mean_1000_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, B, 4000)
    center = np.where(np.arange(B) % 2 == 0, 1000.0, -1000.0) * (1 + np.arange(B))
    features = (center[index, None] + rng.normal(size=(4000, D))).astype(np.float32)
    fds = make()
    for part, labels in zip(torch.from_numpy(features).split(64), torch.from_numpy(index).split(64), strict=True):
        fds(part, labels.float())
    fds.end_epoch()
    exact = np.stack([features[index == b].astype(np.float64).var(axis=0, ddof=1) for b in range(B)])
    error = np.abs(fds.running_var.double().numpy() / exact - 1)
    assert bool((fds.running_var > 0).all())
    assert np.median(error) < 1e-6
    assert error.max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_samples_have_variance_zero(dtype: torch.dtype) -> None:
    fds = FDS(300, LabelBins.integers(0, 3), start_smooth=None)
    constants = torch.from_numpy(np.random.default_rng(0).lognormal(3, 4, 300)).to(dtype)
    for bin_, count in enumerate((2, 33, 1001)):
        fds(constants.expand(count, 300), torch.full((count,), float(bin_)))
    fds.end_epoch()
    assert torch.equal(fds.running_var[:3], torch.zeros(3, 300, dtype=torch.float64))


def test_batch_order_and_size_do_not_matter_beyond_rounding(oracle) -> None:
    ((features, index),) = oracle.skewed_epochs(B, D, 1)
    states = []
    for seed, batch in ((0, 1), (1, 7), (2, 1000)):
        order = np.random.default_rng(seed).permutation(len(index))
        fds = make()
        oracle.run_epoch(fds, features[order], oracle.labels_of(fds.bins, index[order]), batch)
        states.append((fds.running_mean, fds.running_var))
    for mean, var in states[1:]:
        torch.testing.assert_close(mean, states[0][0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(var, states[0][1], rtol=1e-6, atol=1e-9)


def test_dense_features_count_every_pixel() -> None:
    features = torch.randn(2, D, 5, 6)
    labels = torch.randint(0, B, (2, 1, 5, 6)).float()
    dense, flat = make(), make()
    dense(features, labels)
    flat(features.permute(0, 2, 3, 1).reshape(-1, D), labels.flatten())
    dense.end_epoch()
    flat.end_epoch()
    torch.testing.assert_close(dense.running_mean, flat.running_mean)
    torch.testing.assert_close(dense.running_var, flat.running_var)


def test_labels_of_one_column_equal_flat_labels() -> None:
    features, labels = torch.randn(20, D), torch.randint(0, B, (20,)).float()
    flat, column = make(), make()
    flat(features, labels)
    column(features, labels[:, None])
    flat.end_epoch()
    column.end_epoch()
    assert torch.equal(flat.running_mean, column.running_mean)
    assert torch.equal(flat.running_var, column.running_var)


def test_out_of_range_labels_are_clamped_or_excluded() -> None:
    features = torch.randn(4, D)
    labels = torch.tensor([-5.0, 0.0, 8.0, 99.0])
    clamp = make()
    exclude = FDS(D, LabelBins.integers(0, B - 1, out_of_range="exclude"), start_smooth=None)
    for fds in (clamp, exclude):
        fds(features, labels)
        fds.end_epoch()
    torch.testing.assert_close(clamp.running_mean[0], features[:2].mean(0), check_dtype=False)
    torch.testing.assert_close(clamp.running_mean[-1], features[2:].mean(0), check_dtype=False)
    torch.testing.assert_close(exclude.running_mean[0], features[1], check_dtype=False)
    torch.testing.assert_close(exclude.running_mean[-1], features[2], check_dtype=False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bin_with_non_finite_sums_keeps_its_statistics(bad: float) -> None:
    fds = make(momentum=0.5)
    first = torch.randn(6, D)
    labels = torch.tensor([0.0, 0, 0, 1, 1, 1])
    fds(first, labels)
    fds.end_epoch()
    mean, var = fds.running_mean.clone(), fds.running_var.clone()
    second = torch.randn(6, D)
    second[1, 2] = bad
    fds(second, labels)
    fds.end_epoch()
    assert torch.equal(fds.running_mean[0], mean[0])
    assert torch.equal(fds.running_var[0], var[0])
    expected = 0.5 * mean[1] + 0.5 * second[3:].mean(0)
    torch.testing.assert_close(fds.running_mean[1], expected, check_dtype=False)
    fds(first, labels)
    fds.end_epoch()
    assert bool(torch.isfinite(fds.running_mean).all())


def test_values_with_squares_beyond_float32_are_collected() -> None:
    fds = make()
    rows = torch.tensor([[1e20], [3e20]]).expand(2, D)
    fds(rows, torch.zeros(2))
    fds.end_epoch()
    assert fds.running_mean[0, 0].item() == pytest.approx(2e20, rel=1e-6)


def test_large_bins_keep_small_variances() -> None:
    """Check that the rounding guard is bounded: bins of depth maps have more than 10^7 pixels."""
    n, mean, sd = 3e7, 1000.0, 0.05
    total = torch.tensor([[n * mean]], dtype=torch.float64)
    square = torch.tensor([[n * (mean**2 + sd**2)]], dtype=torch.float64)
    _, var = moments_(torch.tensor([n], dtype=torch.float64), total, square)
    assert var.item() == pytest.approx(sd**2, rel=1e-3)


@pytest.mark.parametrize("layer", [FDS, ProbabilisticFDS])
@pytest.mark.parametrize("settings", [{}, {"shrinkage": 5.0, "count_weighted": True}, {"statistics": "mean"}])
def test_wide_features_in_column_blocks_give_the_same_tables(
    monkeypatch: pytest.MonkeyPatch, layer: type[FDS], settings: dict[str, Any]
) -> None:
    features = torch.randn(2, 200, D)
    features[1, 3, D - 1] = torch.inf  # in the last columns: the bin sits out in the first as well
    labels = torch.randint(0, 20, (200,)).clamp(max=15)
    states, found = [], []
    for together in (feature_statistics._TOGETHER, 1):
        monkeypatch.setattr(feature_statistics, "_TOGETHER", together)
        fds = layer(D, LabelBins.integers(0, 19), **settings)
        for epoch in features:
            fds(epoch, labels)
            found.append(fds.end_epoch())
        states.append(fds.state_dict())
    assert len(list(feature_statistics.columns(torch.zeros(3, D)))) == D
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name].numpy(), value.numpy(), rtol=1e-6, atol=1e-9, err_msg=name)
    for whole, in_parts in zip(found[:2], found[2:], strict=True):
        assert in_parts == pytest.approx(whole)
    assert found[1]["bins_nonfinite"] == 1


@pytest.mark.parametrize("reach", [0, 1, 2, 4])
@pytest.mark.parametrize("seen", [1.0, 0.5])
def test_smoothing_by_bands_equals_the_matrix_product(reach: int, seen: float) -> None:
    window, values = torch.rand(2 * reach + 1, dtype=torch.float64), torch.randn(40, D, dtype=torch.float64)
    kernel = feature_statistics.smoothing_kernel(smoothing_matrix(window, 40), torch.rand(40) < seen)
    assert 4 * len(window) <= 40  # the bands are used
    np.testing.assert_allclose(
        feature_statistics.smooth(values, kernel, reach), kernel @ values, rtol=1e-10, atol=1e-12
    )
