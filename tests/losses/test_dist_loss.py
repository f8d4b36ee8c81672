"""Dist loss against SciPy's kernel estimate, its inverse, and the Wasserstein distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor

from dir.bins import LabelBins
from dir.losses import weighted_l1, weighted_mse
from dir.losses.dist_loss import DistLoss, distribution_loss, label_cdf, pseudo_labels

BINS = LabelBins.uniform(0, 10, 10)
LABELS = torch.from_numpy(np.random.default_rng(0).gamma(2.0, 1.5, 700)).float()


def random(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kde(bandwidth: float) -> stats.gaussian_kde:
    values = LABELS.double().numpy()
    return stats.gaussian_kde(values, bw_method=bandwidth / values.std(ddof=1))


@pytest.mark.parametrize("bandwidth", [0.3, None])
def test_cdf_is_that_of_scipy(bandwidth: float | None) -> None:
    values = LABELS.double().numpy()
    grid, cdf = label_cdf(values, bandwidth)
    if bandwidth is None:
        quarter, three = np.quantile(values, [0.25, 0.75])
        bandwidth = 0.9 * min(values.std(), (three - quarter) / 1.34) * len(values) ** -0.2
    estimate = kde(bandwidth)
    for y in (0.4, 1.7, 3.0, 8.0):
        assert np.interp(y, grid, cdf) == pytest.approx(estimate.integrate_box_1d(-np.inf, y), abs=2e-4)


def test_pseudo_labels_invert_the_cdf() -> None:
    grid, cdf = label_cdf(LABELS.numpy(), 0.3)
    found = pseudo_labels(16, torch.from_numpy(grid), torch.from_numpy(cdf))
    estimate = kde(0.3)
    low, high = grid[0], grid[-1]
    for i, y in enumerate(found.tolist()):
        level = (i + 0.5) / 16
        root = optimize.brentq(lambda x, u=level: estimate.integrate_box_1d(-np.inf, x) - u, low - 2, high + 2)
        assert y == pytest.approx(np.clip(root, low, high), abs=5e-3)


def test_pseudo_labels_of_rare_labels_come_up_as_often_as_expected() -> None:
    labels = np.repeat([1.0, 3.0, 4.0, 6.0], [10, 20, 30, 10])
    grid, cdf = label_cdf(labels, 0.01)
    found = pseudo_labels(7, torch.from_numpy(grid), torch.from_numpy(cdf)).round()
    assert found.tolist() == [1, 3, 3, 4, 4, 4, 6]


def test_distance_is_wasserstein() -> None:
    pred, other = random(30), random(30, seed=1)
    expected = other.sort().values
    distance = stats.wasserstein_distance(pred.numpy(), other.numpy())
    assert distribution_loss(pred, expected).item() == pytest.approx(distance)
    squares = np.mean((np.sort(pred.numpy()) - np.sort(other.numpy())) ** 2)
    assert distribution_loss(pred, expected, "mse").item() == pytest.approx(squares)


@pytest.mark.parametrize(("base", "single"), [("l1", weighted_l1), ("mse", weighted_mse)])
def test_loss_adds_both_terms(base: Any, single: Any) -> None:
    loss = DistLoss(base, alignment=0.7).fit(LABELS, BINS)
    pred, target, weight = random(20) + 3, random(20, 1) + 3, random(20, 2).exp()
    expected = pseudo_labels(20, loss.grid, loss.cdf)
    assert loss(pred, target, weight).item() == pytest.approx(
        (single(pred, target, weight) + 0.7 * distribution_loss(pred, expected, base)).item()
    )
    alone = DistLoss(base, alignment=0.0).fit(LABELS, BINS)
    torch.testing.assert_close(alone(pred, target, weight), single(pred, target, weight))


@pytest.mark.parametrize("base", ["l1", "mse"])
def test_gradcheck(base: Any) -> None:
    loss = DistLoss(base).fit(LABELS, BINS)
    target = random(7, 1) + 3
    assert torch.autograd.gradcheck(lambda y: loss(y, target), (random(7) + 3).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("values", [[1.0, 1.0, 2.0, 2.0], [3.0], [2.0, 2.0, 2.0]])
def test_gradient_is_finite(values: list[float], dtype: torch.dtype) -> None:
    loss = DistLoss().fit(LABELS, BINS)
    pred = torch.tensor(values, dtype=dtype, requires_grad=True)
    value = loss(pred, torch.tensor(values))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()


def test_no_predictions_have_no_distance() -> None:
    empty = torch.zeros(0, requires_grad=True)
    assert distribution_loss(empty, torch.zeros(0)).item() == 0
    assert pseudo_labels(0, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])).shape == (0,)


def test_equal_labels_are_one_pseudo_label() -> None:
    grid, cdf = label_cdf(np.full(5, 3.0))
    found = pseudo_labels(4, torch.from_numpy(grid), torch.from_numpy(cdf))
    assert found.tolist() == [3, 3, 3, 3]


def test_state_dict_round_trip_and_casts() -> None:
    loss = DistLoss().fit(LABELS, BINS)
    loaded = DistLoss()
    loaded.load_state_dict(loss.state_dict())
    pred, target = random(9) + 3, random(9, 1) + 3
    assert torch.equal(loaded(pred, target), loss(pred, target))
    assert loss.half().cdf.dtype == torch.float64
    assert "fitted=True" in repr(loaded)


def test_bad_input() -> None:
    with pytest.raises(RuntimeError, match="fit"):
        DistLoss()(random(3), random(3))
    for arguments in ({"base": "huber"}, {"alignment": -1.0}, {"bandwidth": 0.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            DistLoss(**arguments)
    with pytest.raises(ValueError, match="base"):
        distribution_loss(random(3), random(3), "huber")
    with pytest.raises(ValueError, match=r"pred: .*got"):
        DistLoss().fit(LABELS, BINS)(random(3), random(3)[:, None])
    with pytest.raises(ValueError, match="labels"):
        DistLoss().fit(torch.tensor([1.0, float("nan")]), BINS)
    with pytest.raises(ValueError, match="labels"):
        DistLoss().fit(torch.zeros(0), BINS)
