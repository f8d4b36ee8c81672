"""The uncertainty metrics against SciPy and NumPy loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dir.metrics.functional import ause, gaussian_nll, interval_coverage, sparsification_curve


def random(n: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    preds, target = torch.randn(2, n, generator=generator, dtype=torch.float64)
    return preds, torch.rand(n, generator=generator, dtype=torch.float64) + 0.1, target


def curve(loss: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    order = np.argsort(-uncertainty)
    return np.array([loss[order[k:]].mean() for k in range(len(loss))]) / loss.mean()


def test_nll_is_that_of_scipy() -> None:
    preds, variance, target = random()
    expected = -stats.norm.logpdf(target, preds, variance.sqrt()).mean()
    assert gaussian_nll(preds, variance, target).item() == pytest.approx(expected)
    assert gaussian_nll(preds.view(8, 1, 5), variance.view(8, 1, 5), target.view(8, 1, 5)).item() == pytest.approx(
        expected
    )


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_counts_labels_in_the_interval(level: float) -> None:
    preds, variance, target = random()
    low, high = stats.norm.interval(level, preds, variance.sqrt())
    inside = np.mean((target.numpy() >= low) & (target.numpy() <= high))
    assert 0 < inside < 1
    assert interval_coverage(preds, variance, target, level).item() == pytest.approx(inside)


def test_coverage_of_true_variances_is_the_level() -> None:
    generator = torch.Generator().manual_seed(0)
    variance = torch.rand(20000, generator=generator) + 0.1
    target = variance.sqrt() * torch.randn(20000, generator=generator)
    for level in (0.5, 0.8, 0.95):
        assert interval_coverage(torch.zeros(20000), variance, target, level).item() == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("error", ["mae", "mse"])
def test_ause_is_that_of_the_loops(error: str) -> None:
    preds, variance, target = random()
    gap = np.abs((preds - target).numpy())
    loss = gap if error == "mae" else gap**2
    expected = np.mean(curve(loss, variance.numpy()) - curve(loss, loss))
    assert expected > 0
    assert ause(preds, variance, target, error).item() == pytest.approx(expected)


def test_ause_is_zero_for_the_true_order_and_one_level_is_like_chance() -> None:
    preds, _, target = random()
    assert ause(preds, (preds - target).square() + 1e-9, target).item() == pytest.approx(0)
    loss = (preds - target).abs()
    torch.testing.assert_close(sparsification_curve(loss, torch.ones(40)), torch.ones(40, dtype=torch.float64))
    shuffled = [
        curve(loss.numpy(), np.random.default_rng(seed).permutation(40).astype(float)).mean() for seed in range(2000)
    ]
    expected = np.mean(shuffled) - curve(loss.numpy(), loss.numpy()).mean()
    assert ause(preds, torch.ones(40), target).item() == pytest.approx(expected, abs=0.02)


def test_ties_do_not_depend_on_the_order_of_the_samples() -> None:
    preds, variance, target = random()
    variance = (4 * variance).round() / 4 + 0.25
    turn = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ause(preds, variance, target), ause(preds[turn], variance[turn], target[turn]))


def test_perfect_predictions_and_none() -> None:
    zero = torch.zeros(3)
    assert ause(zero, torch.tensor([1.0, 2.0, 3.0]), zero).item() == 0
    empty = torch.zeros(0)
    for value in (
        gaussian_nll(empty, empty, empty),
        interval_coverage(empty, empty, empty),
        ause(empty, empty, empty),
    ):
        assert torch.isnan(value)


def test_bad_input() -> None:
    preds, variance, target = random()
    with pytest.raises(ValueError, match=r"preds: .*\[40\], got \[40, 1\]"):
        gaussian_nll(preds[:, None], variance, target)
    with pytest.raises(ValueError, match=r"variance: .*\[40\], got \[40, 1\]"):
        ause(preds, variance[:, None], target)
    with pytest.raises(ValueError, match=r"variance: .*got -0."):
        gaussian_nll(preds, variance - 0.2, target)
    with pytest.raises(ValueError, match=r"level: .*got 1.0"):
        interval_coverage(preds, variance, target, 1.0)
    with pytest.raises(ValueError, match=r"error: .*got 'gm'"):
        ause(preds, variance, target, "gm")
