"""LabelCells and log_cell_mass, against arbitrary precision, the published closed form and numerical integration."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from dir import LabelBins, LabelCells
from dir.cells import log_cell_mass


@pytest.mark.parametrize("position", [-40.0, -3.0, 0.0, 2.25, 9.99, 10.0, 57.0])
@pytest.mark.parametrize("sigma", [0.05, 0.7, 3.0])
def test_masses_agree_with_arbitrary_precision_inside_and_far_outside(position: float, sigma: float) -> None:
    ours = log_cell_mass(torch.tensor([position], dtype=torch.float64), 10, sigma)[0].tolist()
    with mpmath.workdps(600):
        edges = [mpmath.ncdf((k - mpmath.mpf(position)) / mpmath.mpf(sigma)) for k in range(11)]
        if position < 5:  # differences of upper tails need no cancellation of numbers near 1
            edges = [-mpmath.ncdf((mpmath.mpf(position) - k) / mpmath.mpf(sigma)) for k in range(11)]
        total = edges[-1] - edges[0]
        expected = [float(mpmath.log((high - low) / total)) for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_masses_agree_with_numerical_integration() -> None:
    sigma, position = 1.3, 4.2
    total, _ = integrate.quad(stats.norm(position, sigma).pdf, 0, 8)
    parts = [integrate.quad(stats.norm(position, sigma).pdf, k, k + 1)[0] / total for k in range(8)]
    np.testing.assert_allclose(
        log_cell_mass(torch.tensor([position], dtype=torch.float64), 8, sigma)[0].exp(), parts, rtol=1e-9
    )


def test_masses_agree_with_the_published_closed_form() -> None:
    """Imani and White 2018, Sec. 3: differences of error functions over those of the ends."""
    sigma, position, cells = 0.8, 3.3, 7
    z = [math.erf((k - position) / (math.sqrt(2) * sigma)) for k in range(cells + 1)]
    expected = [(high - low) / (z[-1] - z[0]) for low, high in itertools.pairwise(z)]
    ours = log_cell_mass(torch.tensor([position], dtype=torch.float64), cells, sigma)[0].exp()
    np.testing.assert_allclose(ours, expected, rtol=1e-10)


def test_a_narrow_sigma_gives_the_one_hot_cell() -> None:
    mass = log_cell_mass(torch.tensor([0.5, 3.5]), 5, 1e-3).exp()
    np.testing.assert_allclose(mass, np.eye(5)[[0, 3]], atol=1e-12)


def test_the_gradient_with_respect_to_the_position_is_finite_in_the_tails() -> None:
    position = torch.tensor([-300.0, 5.0, 400.0], dtype=torch.float64, requires_grad=True)
    log_cell_mass(position, 10, 0.5).sum().backward()
    assert bool(torch.isfinite(position.grad).all())


def test_even_cells_are_even_and_leave_the_reach_on_both_sides() -> None:
    cells = LabelCells(LabelBins.uniform(10, 30, 4), num_cells=50, sigma=2.0, reach=2.5, scale="even")
    widths = cells.widths
    np.testing.assert_allclose(widths, widths[0].item(), rtol=1e-12)
    assert cells.edges[0].item() == pytest.approx(10 - 5 * widths[0].item())
    assert cells.edges[-1].item() == pytest.approx(30 + 5 * widths[0].item())


def test_positions_are_linear_within_a_cell_and_beyond_the_grid() -> None:
    cells = LabelCells(LabelBins.uniform(0, 1, 4), num_cells=30, sigma=1.0, scale="quantile")
    labels = torch.rand(500, generator=torch.Generator().manual_seed(0)).square()
    cells.fit(labels, LabelBins.uniform(0, 1, 4))
    expected = np.interp(labels.double().numpy(), cells.edges.numpy(), np.arange(31))
    np.testing.assert_allclose(cells.position(labels), expected, atol=1e-9)
    beyond = cells.position(torch.tensor([cells.edges[-1] + 2 * cells.widths[-1]]))
    assert beyond.item() == pytest.approx(32)


def test_auto_takes_log_cells_for_skewed_labels_only() -> None:
    generator = np.random.default_rng(0)
    skewed, plain = (
        torch.from_numpy(np.exp(generator.normal(0, 1.2, 4000))),
        torch.from_numpy(generator.normal(0, 1, 4000)),
    )
    for labels, chosen in ((skewed, "log"), (plain, "even")):
        bins = LabelBins.uniform(float(labels.min()), float(labels.max()), 50)
        cells = LabelCells(bins).fit(labels, bins)
        assert cells.chosen == chosen
        assert bool((cells.widths > 0).all())
    assert "chosen='even'" in repr(cells)


def test_log_cells_are_even_in_the_logarithm() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).exponential(5, 2000))
    bins = LabelBins.uniform(0, float(labels.max()), 50)
    cells = LabelCells(bins, scale="log").fit(labels, bins)
    shift = float(labels.sub(float(bins.edges[0])).median())
    steps = np.diff(np.log1p((cells.edges.numpy() - float(bins.edges[0])) / shift))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_whole_number_labels_lie_in_the_middle_of_a_cell() -> None:
    labels = torch.randint(1, 30, (500,), generator=torch.Generator().manual_seed(0)).double()
    bins = LabelBins.integers(1, 29)
    cells = LabelCells(bins, num_cells=100, sigma=2.0).fit(labels, bins)
    assert cells.chosen == "labels"
    fraction = cells.position(labels) % 1
    np.testing.assert_allclose(fraction, 0.5, atol=1e-9)
    assert cells.position(labels).min() >= 6  # the reach
    assert cells.position(labels).max() <= 94


def test_labels_cells_that_do_not_fit_are_refused() -> None:
    labels = torch.arange(0.0, 121.0)
    with pytest.raises(ValueError, match=r"scale.*100 cells.*'labels'"):
        LabelCells(LabelBins.integers(0, 120), num_cells=100, scale="labels").fit(labels, LabelBins.integers(0, 120))


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"num_cells": 1}, "num_cells.*got 1"),
        ({"num_cells": 18}, "num_cells.*got 18"),
        ({"sigma": 0.0}, "sigma.*got 0.0"),
        ({"reach": -1.0}, "reach.*got -1.0"),
        ({"scale": "linear"}, "scale.*got 'linear'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], path: str) -> None:
    with pytest.raises(ValueError, match=path):
        LabelCells(LabelBins.integers(0, 9), **arguments)


def test_state_survives_a_round_trip_and_a_cast() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).exponential(5, 2000))
    bins = LabelBins.uniform(0, float(labels.max()), 50)
    fitted = LabelCells(bins, scale="log").fit(labels, bins)
    other = LabelCells(bins, scale="log")
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.edges, fitted.edges)
    assert fitted.half().edges.dtype == torch.float64
