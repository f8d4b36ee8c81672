"""LabelPrior, adjust and choose_power, against Bayes' rule and the effective density of LDS."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from dir import LabelBins, LabelCells, LabelPrior
from dir.lds import effective_density
from dir.prior import adjust, choose_power


def test_power_one_is_bayes_rule_for_a_uniform_prior() -> None:
    generator = np.random.default_rng(0)
    prior = generator.dirichlet(np.ones(6))
    likelihood = generator.random((6, 4))  # p(x | y) for four inputs
    posterior = likelihood * prior[:, None] / (likelihood * prior[:, None]).sum(axis=0)
    uniform = likelihood / likelihood.sum(axis=0)
    ours = adjust(torch.from_numpy(np.log(posterior.T)), torch.from_numpy(np.log(prior)), 1.0).exp()
    np.testing.assert_allclose(ours, uniform.T, rtol=1e-12)


def test_power_zero_changes_nothing_and_powers_add_up() -> None:
    logits, log_density = torch.randn(3, 5).double(), torch.rand(5).double().log()
    torch.testing.assert_close(adjust(logits, log_density, 0.0), logits.log_softmax(-1))
    twice = adjust(adjust(logits, log_density, 0.3), log_density, 0.4)
    torch.testing.assert_close(twice, adjust(logits, log_density, 0.7))


def test_without_a_floor_the_density_is_the_effective_density_of_lds() -> None:
    """Labels in the middle of their cells, smoothed by the same Gaussian: the mass of a cell is the kernel."""
    bins = LabelBins.integers(0, 59)
    labels = torch.randint(15, 45, (300,), generator=torch.Generator().manual_seed(0)).double()
    cells = LabelCells(bins, num_cells=60, sigma=1.5, reach=0.0, scale="even")
    ours = LabelPrior(60, floor=0.0).fit(labels, cells).log_density.exp()
    offsets = np.arange(-12, 13)
    kernel = stats.norm.cdf((offsets + 0.5) / 1.5) - stats.norm.cdf((offsets - 0.5) / 1.5)
    counts = bins.counts(labels).double()
    lds = effective_density(counts / counts.sum(), torch.from_numpy(kernel))
    np.testing.assert_allclose(ours, lds, atol=1e-12)


def test_the_floor_bounds_the_gain_of_cells_without_labels() -> None:
    bins = LabelBins.uniform(0, 100, 100)
    cells = LabelCells(bins, num_cells=100, sigma=1.0, reach=0.0)
    prior = LabelPrior(100, floor=0.1).fit(torch.full((50,), 20.5), cells)
    density = prior.log_density.exp()
    assert density.sum().item() == pytest.approx(1)
    assert density.min().item() == pytest.approx(0.1 / 100 / 1.1)
    bare = LabelPrior(100, floor=0.0).fit(torch.full((50,), 20.5), cells)
    assert bool(torch.isfinite(bare.log_density).all())


def test_chunks_do_not_change_the_density() -> None:
    labels = torch.rand(2500, generator=torch.Generator().manual_seed(0)).double()
    bins = LabelBins.uniform(0, 1, 10)
    cells = LabelCells(bins, num_cells=40, sigma=1.0)
    whole = cells(labels).exp().mean(dim=0)
    ours = LabelPrior(40, floor=0.0).fit(labels, cells).log_density.exp()
    torch.testing.assert_close(ours, whole)


def test_the_lowest_finite_objective_is_chosen() -> None:
    values = {0.0: math.nan, 0.5: 2.0, 1.0: 1.0}
    power, found = choose_power(
        lambda p: torch.tensor([p]), torch.zeros(1), lambda p, _: values[p.item()], list(values)
    )
    assert power == 1.0
    assert math.isnan(found[0.0])
    with pytest.raises(ValueError, match=r"objective.*NaN"):
        choose_power(lambda p: torch.tensor([p]), torch.zeros(1), lambda p, _: math.nan, [0.0, 1.0])


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"floor.*got -1"):
        LabelPrior(5, floor=-1)
    with pytest.raises(ValueError, match="labels"):
        LabelPrior(60).fit(torch.zeros(0), LabelCells(LabelBins.integers(0, 9), num_cells=60))


def test_state_survives_a_round_trip_and_a_cast() -> None:
    cells = LabelCells(LabelBins.integers(0, 9), num_cells=60)
    fitted = LabelPrior(60).fit(torch.tensor([3.0, 4.0]), cells)
    other = LabelPrior(60)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.log_density, fitted.log_density)
    assert fitted.half().log_density.dtype == torch.float64
