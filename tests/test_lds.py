"""Tests of LDS against a NumPy oracle of its order of operations, and with unusual labels, counts and states."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from dir.bins import LabelBins
from dir.lds import LDS


def oracle_weights(counts, window, clip=None, root=False, mode="constant", cap=None):
    """Return weights: clip the counts, take the root, smooth, invert, scale to mean one, and cap."""
    value = counts.astype(np.float64)
    if clip is not None:
        value = value.clip(*clip)
    if root:
        value = np.sqrt(value)
    value = convolve1d(value, window / window.max(), mode="reflect" if mode == "symmetric" else "constant")
    weights = 1 / value
    weights *= counts.sum() / (weights * counts).sum()
    return weights if cap is None else weights.clip(max=cap)


COUNTS = np.array([40, 30, 1, 7, 100, 3, 2, 1, 9, 12, 5, 60])


@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("mode", ["constant", "symmetric"])
@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("clip", [None, (3, 50)])
@pytest.mark.parametrize("kernel", ["gaussian", "exact_gaussian", "triangular", "laplace"])
def test_order_of_operations(oracle, kernel, clip, root, mode, cap) -> None:
    lds = LDS(
        LabelBins.integers(0, 11),
        kernel=kernel,
        kernel_size=7,
        sigma=1.5,
        reweight="sqrt_inverse" if root else "inverse",
        clip=clip,
        padding=mode,
        max_weight=cap,
    ).fit_counts(torch.from_numpy(COUNTS))
    expected = oracle_weights(COUNTS, oracle.window(kernel, 7, 1.5), clip, root, mode, cap)
    np.testing.assert_allclose(lds.weights.numpy(), expected, rtol=2e-6)


def test_the_root_goes_before_the_smoothing(oracle) -> None:
    lds = LDS(LabelBins.integers(0, 11), reweight="sqrt_inverse").fit_counts(torch.from_numpy(COUNTS))
    after = np.sqrt(convolve1d(COUNTS.astype(float), oracle.window("gaussian", 5, 2.0), mode="constant"))
    wrong = 1 / after * COUNTS.sum() / (COUNTS / after).sum()
    assert np.abs(lds.weights.numpy() / wrong - 1).max() > 0.05


def test_smoothed_counts_are_not_truncated_to_integers() -> None:
    lds = LDS(LabelBins.integers(0, 11)).fit_counts(torch.from_numpy(COUNTS))
    assert lds.density.is_floating_point()
    assert bool((lds.density % 1 != 0).any())


def test_mean_weight_over_the_fitted_labels_is_one() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).gamma(2.0, 10.0, 5000)).float().clip(0, 100)
    for reweight in ("inverse", "sqrt_inverse"):
        lds = LDS(LabelBins.uniform(0.0, 100.0, 50), reweight=reweight).fit(labels)
        assert float(lds(labels).double().mean()) == pytest.approx(1.0, abs=1e-6)


def test_the_cap_comes_last() -> None:
    bins = LabelBins.integers(0, 11)
    plain = LDS(bins).fit_counts(torch.from_numpy(COUNTS))
    capped = LDS(bins, max_weight=1.2).fit_counts(torch.from_numpy(COUNTS))
    assert torch.equal(capped.weights, plain.weights.clamp(max=1.2))


def test_a_callable_reweights_the_counts() -> None:
    bins = LabelBins.integers(0, 11)
    counts = torch.from_numpy(COUNTS)
    named = LDS(bins, reweight="sqrt_inverse").fit_counts(counts)
    called = LDS(bins, reweight=lambda c: c.sqrt()).fit_counts(counts)
    np.testing.assert_allclose(called.weights.numpy(), named.weights.numpy(), rtol=1e-6)


def test_chunks_and_counts_give_the_same_fit_as_all_labels() -> None:
    labels = torch.randint(0, 12, (500,), generator=torch.Generator().manual_seed(0))
    bins = LabelBins.integers(0, 11)
    whole = LDS(bins).fit(labels)
    chunks = LDS(bins)
    for part in labels.split(90):
        chunks.partial_fit(part)
    counted = LDS(bins).fit_counts(bins.counts(labels))
    for other in (chunks, counted):
        assert torch.equal(other.weights, whole.weights)
        assert torch.equal(other.counts, whole.counts)
    assert torch.equal(whole.fit(labels).counts, bins.counts(labels)), "fit starts over, partial_fit adds"


def test_bins_without_support_take_the_nearest_supported_weight() -> None:
    counts = torch.tensor([0, 0, 5, 0, 0, 0, 0, 0, 20, 0, 0])
    lds = LDS(LabelBins.integers(0, 10), kernel=None).fit_counts(counts)
    low, high = lds.weights[2], lds.weights[8]
    assert low > high
    assert torch.equal(lds.weights[:5], low.expand(5))
    assert torch.equal(lds.weights[6:], high.expand(5))
    assert lds.weights[5] in (low, high)
    smooth = LDS(LabelBins.integers(0, 10), kernel_size=3, sigma=1.0).fit_counts(counts)
    assert bool(torch.isfinite(smooth.weights).all())
    assert torch.equal(smooth.weights[0], smooth.weights[1])


@pytest.mark.parametrize("size", [5, 25])
def test_one_bin_only_and_kernels_wider_than_the_bins(size: int) -> None:
    lds = LDS(LabelBins.uniform(0.0, 1.0, 1), kernel_size=size).fit(torch.rand(10))
    assert lds(torch.rand(4)).tolist() == pytest.approx([1.0] * 4)
    few = LDS(LabelBins.integers(0, 2), kernel_size=size, padding="symmetric").fit(torch.tensor([0, 0, 1, 2]))
    assert bool(torch.isfinite(few.weights).all())


def test_all_equal_labels_weigh_one() -> None:
    lds = LDS(LabelBins.integers(0, 10)).fit(torch.full((7,), 4))
    assert lds(torch.full((3,), 4)).tolist() == pytest.approx([1.0] * 3)
    assert bool(torch.isfinite(lds.weights).all())


@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 1, 3, 4), (0,)])
def test_weights_have_the_shape_of_the_labels_and_no_gradient(shape: tuple[int, ...]) -> None:
    lds = LDS(LabelBins.uniform(0.0, 1.0, 10)).fit(torch.rand(100))
    weights = lds(torch.rand(shape))
    assert weights.shape == shape
    assert weights.is_floating_point()
    assert not weights.requires_grad


def test_calling_an_unfitted_lds_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="fit"):
        LDS(LabelBins.integers(0, 10))(torch.tensor([1.0]))


def test_state_dict_round_trip_into_an_unfitted_lds() -> None:
    fitted = LDS(LabelBins.integers(0, 11)).fit_counts(torch.from_numpy(COUNTS))
    fresh = LDS(LabelBins.integers(0, 11))
    fresh.load_state_dict(fitted.state_dict())
    labels = torch.arange(12)
    assert torch.equal(fresh(labels), fitted(labels))
    for name in ("counts", "density", "weights"):
        assert torch.equal(getattr(fresh, name), getattr(fitted, name))
    other = copy.deepcopy(fitted).fit_counts(torch.ones(12, dtype=torch.int64))
    assert not torch.equal(other(labels), fitted(labels)), "deep copies are independent"


def test_casting_never_narrows_the_state_and_double_widens_it() -> None:
    lds = LDS(LabelBins.integers(0, 11)).fit_counts(torch.from_numpy(COUNTS) * 70001)
    before = {name: value.clone() for name, value in lds.state_dict().items()}
    for cast in (lds.half, lds.bfloat16):
        cast()
        assert all(torch.equal(value, before[name]) for name, value in lds.state_dict().items())
    assert lds.double().weights.dtype == torch.float64
    assert torch.equal(lds.counts, before["counts"])


BAD = {
    "kernel": {"kernel": "box"},
    "even size": {"kernel_size": 4},
    "size zero": {"kernel_size": 0},
    "sigma": {"sigma": 0.0},
    "reweight": {"reweight": "square"},
    "clip reversed": {"clip": (10.0, 5.0)},
    "padding": {"padding": "circular"},
    "cap": {"max_weight": 0.0},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_value_errors_naming_the_argument(case: str) -> None:
    (name,) = BAD[case]
    with pytest.raises(ValueError, match=name):
        LDS(LabelBins.integers(0, 10), **BAD[case])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_fit_that_is_refused_leaves_the_state_unchanged(bad: float) -> None:
    lds = LDS(LabelBins.integers(0, 10)).fit(torch.arange(11))
    before = lds.weights.clone()
    with pytest.raises(ValueError, match="finite"):
        lds.fit(torch.tensor([1.0, bad]))
    assert torch.equal(lds.weights, before)


def test_fitting_nothing_or_wrong_counts_is_a_value_error() -> None:
    lds = LDS(LabelBins.integers(0, 10))
    for call in (
        lambda: lds.fit(torch.empty(0)),
        lambda: lds.fit_counts(torch.zeros(11, dtype=torch.int64)),
        lambda: lds.fit_counts(torch.ones(5, dtype=torch.int64)),
        lambda: lds.fit_counts(torch.tensor([-1] + [1] * 10)),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - the wording is the package's
            call()


def test_half_precision_labels_are_a_type_error() -> None:
    lds = LDS(LabelBins.integers(0, 10)).fit(torch.arange(11))
    with pytest.raises(TypeError, match="label"):
        lds(torch.ones(3, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="label"):
        lds.fit(torch.ones(3, dtype=torch.float16))


def test_sampler_draws_in_proportion_to_the_weights() -> None:
    labels = torch.cat([torch.zeros(900), torch.ones(100)])
    lds = LDS(LabelBins.integers(0, 1), kernel=None).fit(labels)
    sampler = lds.sampler(labels)
    assert isinstance(sampler, torch.utils.data.WeightedRandomSampler)
    assert len(sampler) == len(labels)
    np.testing.assert_allclose(torch.as_tensor(sampler.weights), lds(labels), rtol=1e-6)
    torch.manual_seed(0)
    drawn = labels[list(sampler)]
    assert 0.4 < float(drawn.mean()) < 0.6


def test_repr_names_the_settings() -> None:
    text = repr(LDS(LabelBins.integers(0, 10), kernel="laplace", kernel_size=9))
    assert "laplace" in text
    assert "9" in text


def test_excluded_and_nan_labels_get_weight_one_and_are_not_counted() -> None:
    bins = LabelBins.integers(0, 2, out_of_range="exclude")
    lds = LDS(bins, kernel=None).fit(torch.tensor([0, 0, 0, 1, 2, 2, 77]))
    assert lds.counts.tolist() == [3, 1, 2]
    weights = lds(torch.tensor([77.0, float("nan"), 1.0]))
    assert weights[:2].tolist() == [1.0, 1.0]
    assert float(weights[2]) == pytest.approx(2.0)


def test_labels_far_outside_take_the_edge_bins_weight_when_clamped() -> None:
    lds = LDS(LabelBins.integers(0, 2), kernel=None).fit(torch.tensor([0, 0, 0, 1, 2, 2]))
    assert lds(torch.tensor([-50.0, 50.0])).tolist() == lds(torch.tensor([0.0, 2.0])).tolist()
