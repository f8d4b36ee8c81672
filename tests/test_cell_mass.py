"""Log-masses of intervals against SciPy, and the spread of bins against numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from dir._cell_mass import laplace_log_mass, normal_log_mass, spread, student_log_mass

EDGES = np.array([-60.0, -8.0, -2.0, -0.5, 0.0, 0.3, 1.5, 4.0, 9.0, 70.0])
MEAN, SCALE = np.array([-3.0, 0.1, 5.0]), np.array([0.7, 1.0, 2.5])


def log_difference(distribution: object) -> np.ndarray:
    """SciPy's log of F(high) - F(low), from the upper tail above the middle."""
    low, high = EDGES[:-1], EDGES[1:]
    below = np.log(distribution.cdf(high) - distribution.cdf(low) + 1e-320)
    above = np.log(distribution.sf(low) - distribution.sf(high) + 1e-320)
    return np.where(low + high > 2 * distribution.mean(), above, below)


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        (normal_log_mass, lambda m, s: stats.norm(m, s), 1e-9),
        (laplace_log_mass, lambda m, s: stats.laplace(m, s / 2**0.5), 1e-9),
        (lambda m, s, e: student_log_mass(m, s, torch.full_like(m, 4.0), e), lambda m, s: stats.t(4, m, s), 0.01),
        (lambda m, s, e: student_log_mass(m, s, torch.full_like(m, 30.0), e), lambda m, s: stats.t(30, m, s), 1e-4),
    ],
    ids=["normal", "laplace", "student-4", "student-30"],
)
def test_masses_are_those_of_scipy(ours: object, theirs: object, tolerance: float) -> None:
    found = ours(torch.from_numpy(MEAN), torch.from_numpy(SCALE), torch.from_numpy(EDGES)).numpy()
    for row, (mean, scale) in enumerate(zip(MEAN, SCALE, strict=True)):
        expected = log_difference(theirs(mean, scale))
        exact = expected > -600
        assert exact.sum() >= 6
        np.testing.assert_allclose(found[row][exact], expected[exact], atol=tolerance, rtol=tolerance)


def test_masses_below_the_smallest_float_are_finite_and_have_gradients() -> None:
    mean = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    edges = torch.tensor([0.0, 100.0, 101.0, 500.0], dtype=torch.float64)
    mass = normal_log_mass(mean, torch.ones(1), edges)
    # Mills' ratio: the mass beyond x is close to the density over x.
    expected = -0.5 * 100.0**2 - np.log(100.0 * np.sqrt(2 * np.pi))
    assert mass[0, 1].item() == pytest.approx(expected, abs=1e-3)
    mass.sum().backward()
    assert bool(torch.isfinite(mean.grad).all())


def test_bins_are_spread_evenly_over_the_cells_that_they_meet() -> None:
    """Oracle: the mean of the piecewise constant density over a fine grid of points in each cell."""
    generator = np.random.default_rng(0)
    bins, edges = np.array([0.0, 1.0, 2.5, 6.0]), np.array([-1.0, 0.2, 0.9, 3.0, 5.0, 8.0])
    probability = generator.dirichlet(np.ones(3), size=4)
    points = np.linspace(-1.0, 8.0, 900_001)[:-1] + 5e-6
    at = np.searchsorted(bins, points, side="right") - 1
    inside = (at >= 0) & (at < 3)
    density = np.where(inside, (probability / np.diff(bins))[:, at.clip(0, 2)], 0.0)
    cell = np.searchsorted(edges, points, side="right") - 1
    expected = np.stack([np.bincount(cell, row, 5) * 1e-5 for row in density])
    found = spread(torch.from_numpy(probability), torch.from_numpy(bins), torch.from_numpy(edges)).exp()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_cell_beyond_the_bins_keeps_a_small_mass() -> None:
    found = spread(torch.ones(1, 1), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0, 2.0]))
    assert found.exp()[0].tolist() == pytest.approx([1.0, 1e-12])
