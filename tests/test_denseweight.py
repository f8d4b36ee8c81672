"""Tests of DenseWeight: golden weights, a direct kernel sum, and use in place of LDS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde

from dir.bins import LabelBins
from dir.denseweight import DenseLoss, DenseWeight, density_on_grid, kernel_reach, silverman_bandwidth
from dir.losses import WeightedL1, WeightedMSE

Golden = Callable[..., dict[str, np.ndarray]]
CASES = [("agedb", 1.0), ("sts", 0.2), ("random", 1.0)]


@pytest.fixture
def skewed() -> torch.Tensor:
    return torch.empty(500, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("data", "fixed"), CASES)
@pytest.mark.parametrize("chosen", ["silverman", "fixed"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_golden_weights(golden: Golden, data: str, fixed: float, chosen: str, alpha: float) -> None:
    arrays = golden("denseweight.npz", key=f"denseweight/{data}/y")
    prefix = f"denseweight/{data}/alpha{alpha}_bw{'silverman' if chosen == 'silverman' else fixed}"
    labels = arrays[f"denseweight/{data}/y"]
    dense = DenseWeight(alpha=alpha, bandwidth="silverman" if chosen == "silverman" else fixed).fit(labels)
    np.testing.assert_allclose(dense(torch.from_numpy(labels)).numpy(), arrays[f"{prefix}/weights"], rtol=1e-9)
    raw = (1 - alpha * dense.density).clamp(min=1e-6)
    scale = (raw / dense.weights)[0].item()
    assert scale == pytest.approx(float(arrays[f"{prefix}/mean_w_star"]), rel=1e-12)
    if chosen == "silverman":
        assert silverman_bandwidth(labels) == pytest.approx(float(arrays[f"{prefix}/bandwidth"]), rel=1e-12)


@pytest.mark.parametrize(("data", "fixed"), CASES)
@pytest.mark.parametrize("chosen", ["silverman", "fixed"])
def test_golden_grid_and_queries(golden: Golden, data: str, fixed: float, chosen: str) -> None:
    arrays = golden("denseweight.npz", key=f"denseweight/{data}/y")
    prefix = f"denseweight/{data}/alpha1.0_bw{'silverman' if chosen == 'silverman' else fixed}"
    dense = DenseWeight(bandwidth="silverman" if chosen == "silverman" else fixed)
    dense.fit(arrays[f"denseweight/{data}/y"])
    np.testing.assert_allclose(dense.grid.numpy(), arrays[f"{prefix}/grid_x"], rtol=1e-12, atol=1e-12)
    # The FFT has rounding errors at the ends, where the density is almost 0.
    np.testing.assert_allclose(dense.density.numpy(), arrays[f"{prefix}/grid_density_minmax"], rtol=1e-9, atol=1e-12)
    query = torch.from_numpy(arrays[f"{prefix}/query"])
    np.testing.assert_allclose(dense(query).numpy(), arrays[f"{prefix}/query_weights"], rtol=1e-5)


def test_density_equals_a_direct_sum_of_kernels(skewed: torch.Tensor) -> None:
    values = skewed.numpy()
    points, density = density_on_grid(values, 0.3)
    direct = gaussian_kde(values, bw_method=0.3 / values.std(ddof=1))(points)
    direct = (direct - direct.min()) / np.ptp(direct)
    np.testing.assert_allclose(density, direct, rtol=0, atol=1e-3)  # binned, and the kernel cut off


def test_weights_have_mean_one_and_fall_with_density(skewed: torch.Tensor) -> None:
    dense = DenseWeight(alpha=0.9).fit(skewed)
    weights = dense(skewed)
    assert weights.mean().item() == pytest.approx(1, rel=1e-12)
    probe = dense(torch.tensor([0.5, 1.0, 2.0, 4.0]))
    assert (probe[1:] > probe[:-1]).all()
    flat = DenseWeight(alpha=0.0).fit(skewed)(skewed)
    torch.testing.assert_close(flat, torch.ones_like(flat))


@pytest.mark.parametrize("scale", [1e-5, 1e6])
def test_units_far_from_one_make_little_difference(skewed: torch.Tensor, scale: float) -> None:
    """Check that outside bandwidths of 0.01 to 100 the reach is proportional to the bandwidth."""
    expected = DenseWeight(alpha=0.9).fit(skewed)(skewed)
    got = DenseWeight(alpha=0.9).fit(skewed * scale)(skewed * scale)
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("bandwidth", [0.01, 1.0, 100.0])
def test_reach_is_where_the_kernel_ends(bandwidth: float) -> None:
    exact = bandwidth * np.sqrt(-2 * np.log(1e-4 * bandwidth * np.sqrt(2 * np.pi)))
    assert kernel_reach(bandwidth) == pytest.approx(exact + 1e-3, abs=1.1e-3)


def test_out_of_range_not_finite_and_integer_labels() -> None:
    labels = torch.tensor([1, 1, 1, 2, 9])
    dense = DenseWeight(bandwidth=0.5).fit(labels)
    weights = dense(torch.tensor([1.0, -100.0, 100.0, float("nan"), float("inf")]))
    torch.testing.assert_close(weights[1:3].double(), dense.weights[[0, -1]])
    assert weights[1:3].min() > 0.999 * dense.weights.max()
    assert (weights[3:] == 1).all()
    assert dense(labels).dtype == torch.float32
    assert dense(labels.reshape(5, 1, 1)).shape == (5, 1, 1)


@pytest.mark.parametrize("labels", [[3.0], [3.0, 3.0, 3.0]])
def test_equal_labels_weigh_one(labels: list[float]) -> None:
    given = torch.tensor(labels)
    torch.testing.assert_close(DenseWeight().fit(given)(given), torch.ones(len(labels)))


def test_excluded_labels_are_not_fitted_and_weigh_one() -> None:
    bins = LabelBins.uniform(0, 10, 10, out_of_range="exclude")
    labels = torch.tensor([1.0, 1.0, 2.0, 8.0, 50.0])
    dense = DenseWeight(bins, bandwidth=0.5).fit(labels)
    alone = DenseWeight(bandwidth=0.5).fit(labels[:4])
    torch.testing.assert_close(dense(labels)[:4], alone(labels[:4]))
    assert dense(labels)[4] == 1


def test_sampler_draws_in_proportion(skewed: torch.Tensor) -> None:
    dense = DenseWeight().fit(skewed)
    sampler = dense.sampler(skewed, torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.as_tensor(sampler.weights), dense(skewed))
    drawn = skewed[list(sampler)]
    assert drawn.mean() > 1.5 * skewed.mean()


def test_state_round_trip_and_casts(skewed: torch.Tensor) -> None:
    dense = DenseWeight().fit(skewed)
    other = DenseWeight()
    other.load_state_dict(dense.state_dict())
    torch.testing.assert_close(other(skewed), dense(skewed), rtol=0, atol=0)
    assert other.half().grid.dtype == torch.float64
    assert "fitted=True" in repr(other)


def test_dense_loss_weights_its_base(skewed: torch.Tensor) -> None:
    pred, own = skewed.flip(0), torch.rand(500, dtype=torch.float64)
    weight = DenseWeight().fit(skewed)(skewed)
    loss = DenseLoss(WeightedMSE(), DenseWeight()).fit(skewed, LabelBins.uniform(0, 9, 9))
    torch.testing.assert_close(loss(pred, skewed), WeightedMSE()(pred, skewed, weight))
    torch.testing.assert_close(loss(pred, skewed, own), WeightedMSE()(pred, skewed, weight * own))
    other = DenseLoss(WeightedL1(), DenseWeight())
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(pred, skewed), WeightedL1()(pred, skewed, weight))


def test_gradient_of_dense_loss() -> None:
    target = torch.tensor([0.0, 0.0, 0.5, 3.0], dtype=torch.float64)
    loss = DenseLoss(WeightedMSE(), DenseWeight(bandwidth=0.5)).fit(target)
    pred = torch.tensor([0.3, -0.4, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), pred)


def test_wrong_order() -> None:
    with pytest.raises(RuntimeError, match=r"DenseWeight.*fit"):
        DenseWeight()(torch.zeros(3))


def test_bad_arguments() -> None:
    for alpha in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha"):
            DenseWeight(alpha=alpha)
    for bandwidth in (0.0, -1.0, float("nan"), float("inf"), "scott"):
        with pytest.raises(ValueError, match="bandwidth"):
            DenseWeight(bandwidth=bandwidth)  # type: ignore[arg-type]
    for eps in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="eps"):
            DenseWeight(eps=eps)
    with pytest.raises(ValueError, match="row 1"):
        DenseWeight().fit(torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match=r"labels.*none"):
        DenseWeight().fit(torch.zeros(0))
    with pytest.raises(ValueError, match=r"labels.*none"):
        DenseWeight(LabelBins.uniform(0, 1, 2, out_of_range="exclude")).fit(torch.tensor([5.0]))
    with pytest.raises(TypeError, match=r"labels.*float16"):
        DenseWeight().fit(torch.zeros(3))(torch.zeros(3, dtype=torch.bfloat16))
