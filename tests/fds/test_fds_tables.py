"""Tests of scale and shift after whole epochs, against the NumPy oracle and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.fds import FDS

pytestmark = pytest.mark.filterwarnings("ignore:FDS. most")  # tiny data leave bins empty

B, D = 9, 4

SETTINGS = {
    "published": {},
    "exact gaussian": {"kernel": "exact_gaussian", "kernel_size": 7, "sigma": 1.5},
    "triangular": {"kernel": "triangular", "kernel_size": 9},
    "laplace": {"kernel": "laplace", "kernel_size": 9, "sigma": 1.0},
    "wider than the bins": {"kernel": "exact_gaussian", "kernel_size": 61, "sigma": 10.0},
    "size one": {"kernel_size": 1},
    "cumulative": {"momentum": None},
    "no memory": {"momentum": 0.0},
    "min_count": {"min_count": 5},
    "narrow clip": {"ratio_clip": (0.5, 2.0)},
    "late": {"start_update": 1, "start_smooth": 3},
    "count weighted": {"count_weighted": True},
    "shrinkage": {"shrinkage": 20.0},
    "mean only": {"statistics": "mean"},
    "the form that helped": {
        "kernel": "exact_gaussian",
        "kernel_size": 41,
        "sigma": 10.0,
        "count_weighted": True,
        "shrinkage": 20.0,
        "statistics": "mean",
    },
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_tables_over_epochs_agree_with_the_oracle(oracle, setting: str) -> None:
    kwargs = SETTINGS[setting]
    fds = FDS(D, LabelBins.integers(0, B - 1), **kwargs).double()
    reference = oracle.OracleFDS(B, D, **kwargs)
    for features, index in oracle.skewed_epochs(B, D, 4):
        labels = oracle.labels_of(fds.bins, index)
        with torch.no_grad():
            out = fds(torch.from_numpy(features), labels)
        np.testing.assert_allclose(out.numpy(), reference.calibrate(features, index), rtol=1e-6, atol=1e-9)
        oracle.run_epoch(fds, features, labels)
        reference.end_epoch(features, index)
        scale, shift = oracle.probe_tables(fds)
        np.testing.assert_allclose(scale, reference.scale, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(shift, reference.shift, rtol=1e-6, atol=1e-9)
    if kwargs.get("kernel_size") != 1:
        assert np.abs(reference.shift).max() > 0.1, "nothing was calibrated: the comparison proves nothing"


def trained(means: list[float | None], counts: list[int] | None = None, **kwargs: object) -> FDS:
    """Return an FDS of one dimension with the given mean and unit variance per bin (None: never seen)."""
    fds = FDS(1, LabelBins.integers(0, len(means) - 1), **kwargs).double()
    for bin_, mean in enumerate(means):
        if mean is None:
            continue
        count = 2 if counts is None else counts[bin_]
        rows = torch.linspace(-1, 1, count, dtype=torch.float64)
        rows = rows / rows.std() + mean if count > 1 else rows[:1] * 0 + mean
        fds(rows[:, None], torch.full((count,), float(bin_)))
    fds.end_epoch()
    return fds


def shifts(oracle, fds: FDS) -> list[float]:
    return oracle.probe_tables(fds)[1][:, 0].tolist()


def test_smoothing_uses_only_seen_bins_and_renormalises() -> None:
    fds = trained([0.0, None, 6.0], kernel="triangular", kernel_size=5)
    # weights 1, 2/3, 1/3 at distance 0, 1, 2: bin 0 sees itself and bin 2.
    out = fds.eval().train()(torch.zeros(3, 1, dtype=torch.float64), torch.arange(3.0))
    assert out[0].item() == pytest.approx(6.0 * (1 / 3) / (1 + 1 / 3))
    assert out[1].item() == 0.0, "a bin never seen passes"
    assert out[2].item() == pytest.approx(-6.0 * (1 / 3) / (1 + 1 / 3))


def test_borders_renormalise_and_do_not_reflect(oracle) -> None:
    fds = trained([0.0, 1.0, 2.0, 3.0, 4.0], kernel="triangular", kernel_size=3)
    expected = [(0.5 * 1) / 1.5, 0.0, 0.0, 0.0, (4 + 0.5 * 3) / 1.5 - 4]
    assert shifts(oracle, fds) == pytest.approx(expected, abs=1e-9)


def test_count_weighted_smoothing_pulls_toward_frequent_labels(oracle) -> None:
    fds = trained([0.0, 3.0], [2, 8], kernel="triangular", kernel_size=3, count_weighted=True)
    pulled = (0 * 2 + 0.5 * 8 * 3.0) / (2 + 0.5 * 8)
    stayed = (8 * 3.0) / (8 + 0.5 * 2) - 3.0
    assert shifts(oracle, fds) == pytest.approx([pulled, stayed], abs=1e-9)


def test_shrinkage_keeps_the_statistics_of_dense_bins(oracle) -> None:
    plain = shifts(oracle, trained([0.0, 3.0], [2, 800], kernel="triangular", kernel_size=3))
    shrunk = shifts(oracle, trained([0.0, 3.0], [2, 800], kernel="triangular", kernel_size=3, shrinkage=20.0))
    assert shrunk[0] == pytest.approx(plain[0] * 20 / 22)
    assert shrunk[1] == pytest.approx(plain[1] * 20 / 820)


def test_statistics_mean_shifts_only(oracle) -> None:
    fds = FDS(1, LabelBins.integers(0, 1), statistics="mean").double()
    fds(torch.tensor([[0.0], [1.0], [10.0], [90.0]]).double(), torch.tensor([0.0, 0, 1, 1]))
    fds.end_epoch()
    scale, shift = oracle.probe_tables(fds)
    assert scale.tolist() == [[1.0], [1.0]]
    assert shift[0, 0] > 1
    assert shift[1, 0] < -1


def test_the_variance_ratio_is_clipped(oracle) -> None:
    fds = FDS(1, LabelBins.integers(0, 1), ratio_clip=(0.25, 4.0)).double()
    fds(torch.tensor([[0.0], [1.0], [0.0], [900.0]]).double(), torch.tensor([0.0, 0, 1, 1]))
    fds.end_epoch()
    scale, _ = oracle.probe_tables(fds)
    assert scale[0, 0] == pytest.approx(2.0)
    assert scale[1, 0] == pytest.approx(np.sqrt(np.clip(scale[1, 0] ** 2, 0.25, 4.0)))


def test_an_untrusted_variance_has_scale_one_and_is_not_smoothed(oracle) -> None:
    fds = FDS(1, LabelBins.integers(0, 2), kernel="triangular", kernel_size=3).double()
    rows = torch.tensor([[0.0], [2.0], [50.0], [0.0], [8.0]]).double()
    fds(rows, torch.tensor([0.0, 0, 1, 2, 2]))
    fds.end_epoch()
    scale, shift = oracle.probe_tables(fds)
    # Bins 0 and 2 are two apart: out of each other's window, so each smooths to its own variance.
    assert scale[:, 0].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert shift[1, 0] == pytest.approx((0.5 * 1 + 50 + 0.5 * 4) / 2 - 50)
    assert shift[0, 0] == pytest.approx((1 + 0.5 * 50) / 1.5 - 1)


def test_a_dimension_with_variance_zero_is_not_changed(oracle) -> None:
    fds = FDS(2, LabelBins.integers(0, 1)).double()
    rows = torch.tensor([[5.0, 0.0], [5.0, 2.0], [7.0, 4.0], [9.0, 9.0]]).double()
    fds(rows, torch.tensor([0.0, 0, 1, 1]))
    fds.end_epoch()
    scale, shift = oracle.probe_tables(fds)
    assert (scale[0, 0], shift[0, 0]) == (1.0, 0.0)
    assert shift[0, 1] != 0
    assert shift[1, 0] != 0


def test_identity_until_start_smooth(oracle) -> None:
    fds = FDS(D, LabelBins.integers(0, B - 1), start_update=0, start_smooth=2)
    for epoch, (features, index) in enumerate(oracle.skewed_epochs(B, D, 3)):
        scale, shift = oracle.probe_tables(fds)
        identity = bool((scale == 1).all() and (shift == 0).all())
        assert identity == (epoch < 2)
        oracle.run_epoch(fds, features, oracle.labels_of(fds.bins, index))


def test_whitening_and_colouring_use_the_statistics_of_the_same_epoch(oracle) -> None:
    """Check that equal statistics in all bins never change features, unlike in the published code."""
    fds = FDS(1, LabelBins.integers(0, 4)).double()
    for center in (0.0, 100.0, -50.0):
        rows = torch.tensor([-1.0, 1.0]).repeat(5)[:, None].double() * (1 + abs(center)) + center
        fds(rows, torch.arange(5.0).repeat_interleave(2))
        fds.end_epoch()
        scale, shift = oracle.probe_tables(fds)
        np.testing.assert_allclose(scale, 1.0, atol=1e-12)
        np.testing.assert_allclose(shift, 0.0, atol=1e-9)


def test_one_bin_only_and_all_equal_labels_are_the_identity(oracle) -> None:
    for bins, label in ((LabelBins.uniform(0.0, 1.0, 1), 0.3), (LabelBins.integers(0, 8), 4.0)):
        fds = FDS(D, bins)
        rows = torch.randn(10, D)
        fds(rows, torch.full((10,), label))
        fds.end_epoch()
        torch.testing.assert_close(fds(rows, torch.full((10,), label)), rows, atol=1e-6, rtol=1e-5)


def test_features_of_excluded_and_non_finite_labels_are_not_changed(oracle) -> None:
    fds = FDS(D, LabelBins.integers(0, B - 1, out_of_range="exclude"))
    ((features, index),) = oracle.skewed_epochs(B, D, 1)
    oracle.run_epoch(fds, features, oracle.labels_of(fds.bins, index))
    rows = torch.randn(4, D)
    labels = torch.tensor([-3.0, float("nan"), 0.0, float("inf")])
    with torch.no_grad():
        out = fds(rows, labels)
    assert torch.equal(out[[0, 1, 3]], rows[[0, 1, 3]])
    assert not torch.equal(out[2], rows[2])


def test_dense_features_are_calibrated_pixel_by_pixel(oracle) -> None:
    fds = FDS(D, LabelBins.integers(0, B - 1))
    ((features, index),) = oracle.skewed_epochs(B, D, 1)
    oracle.run_epoch(fds, features, oracle.labels_of(fds.bins, index))
    maps, labels = torch.randn(2, D, 3, 5), torch.randint(0, B, (2, 1, 3, 5)).float()
    with torch.no_grad():
        out = fds(maps, labels)
        flat = fds(maps.permute(0, 2, 3, 1).reshape(-1, D), labels.flatten())
    assert out.shape == maps.shape
    torch.testing.assert_close(out.permute(0, 2, 3, 1).reshape(-1, D), flat)
