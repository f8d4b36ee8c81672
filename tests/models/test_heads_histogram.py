"""HistogramHead: predictions, quantiles, intervals and scores against numerical integration and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from dir import LabelBins
from dir.models import HistogramHead

BINS = LabelBins.uniform(0, 10, 10)


def a_head(**arguments: object) -> HistogramHead:
    labels = torch.from_numpy(np.random.default_rng(1).exponential(2.0, 400)).clamp(max=10)
    return HistogramHead(4, BINS, **({"num_cells": 30, "sigma": 1.5} | arguments)).fit(labels, BINS)


def logits(rows: int = 6, cells: int = 30) -> torch.Tensor:
    return torch.randn(rows, cells, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2


def density(head: HistogramHead, output: torch.Tensor, power: float) -> np.ndarray:
    """Cell probabilities by NumPy."""
    log_p = output.numpy() - (power - head.loss_power) * head.prior.log_density.numpy()
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("scale", ["even", "log", "quantile"])
@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_mean_and_variance_are_those_of_the_piecewise_uniform_density(scale: str, power: float) -> None:
    head, output = a_head(scale=scale, power=power, loss_power=0.4), logits()
    p, edges = density(head, output, power), head.cells.edges.numpy()
    low, high = edges[:-1], edges[1:]
    mean = (p * (low + high) / 2).sum(axis=1)
    second = (p * (high**3 - low**3) / 3 / (high - low)).sum(axis=1)
    np.testing.assert_allclose(head.predict(output), mean, rtol=1e-5)
    np.testing.assert_allclose(head.variance(output), second - mean**2, rtol=1e-4)


def test_quantiles_invert_the_distribution_function() -> None:
    head, output = a_head(power=0.5), logits()
    p, edges = density(head, output, 0.5), head.cells.edges.numpy()
    for q in (0.05, 0.5, 0.93):
        expected = [np.interp(q, np.concatenate([[0], np.cumsum(row)]), edges) for row in p]
        np.testing.assert_allclose(head.quantile(output, q), expected, rtol=1e-6)
    median = a_head(power=0.5, point="median")
    torch.testing.assert_close(median.predict(output), head.quantile(output, 0.5))
    interval = head.interval(output, 0.9)
    torch.testing.assert_close(interval[:, 0], head.quantile(output, 0.05))
    torch.testing.assert_close(interval[:, 1], head.quantile(output, 0.95))


def test_crps_agrees_with_numerical_integration() -> None:
    head, output = a_head(scale="log"), logits(4)
    p, edges = density(head, output, 0.0), head.cells.edges.numpy()
    targets = torch.tensor([1.3, 5.0, edges[-1] + 2.0, edges[0] - 1.0], dtype=torch.float64)
    for row, target, ours in zip(p, targets.tolist(), head.crps(output, targets).tolist(), strict=True):
        cdf = np.concatenate([[0], np.cumsum(row)])
        low, high = min(edges[0], target) - 1, max(edges[-1], target) + 1
        points = np.sort(np.concatenate([edges, [target]]))
        value, _ = integrate.quad(
            lambda y, cdf=cdf, target=target: (np.interp(y, edges, cdf) - (y >= target)) ** 2,
            low, high, points=points, limit=500,
        )  # fmt: skip
        assert ours == pytest.approx(value, rel=1e-5)


def test_nll_is_the_log_density_and_infinite_outside() -> None:
    head, output = a_head(), logits(3)
    p, edges = density(head, output, 0.0), head.cells.edges.numpy()
    targets = torch.tensor([0.4, 7.0, edges[-1] + 1], dtype=torch.float64)
    ours = head.nll(output, targets)
    for row in range(2):
        cell = np.searchsorted(edges, float(targets[row]), side="right") - 1
        assert ours[row].item() == pytest.approx(-np.log(p[row, cell] / np.diff(edges)[cell]), rel=1e-6)
    assert ours[2].item() == float("inf")


def test_coverage_of_intervals_is_their_level_for_a_perfect_head() -> None:
    """Logits that are the log masses of normal distributions: labels drawn from these are covered at the level."""
    generator = np.random.default_rng(0)
    head = HistogramHead(4, BINS, num_cells=200, sigma=1.0, scale="even")
    edges = head.cells.edges.numpy()
    mean = generator.uniform(3, 7, 3000)
    masses = np.diff(stats.norm.cdf(edges[None, :], mean[:, None], 0.8), axis=1)
    labels = generator.normal(mean, 0.8)
    interval = head.interval(torch.from_numpy(np.log(masses + 1e-300)), 0.8).numpy()
    covered = ((labels >= interval[:, 0]) & (labels <= interval[:, 1])).mean()
    assert covered == pytest.approx(0.8, abs=0.03)


def test_the_power_is_a_buffer_and_can_be_changed_after_training() -> None:
    head, output = a_head(), logits()
    plain = head.predict(output)
    torch.testing.assert_close(head.predict(output, power=0.8), a_head(power=0.8).predict(output))
    head.power.fill_(0.8)
    torch.testing.assert_close(head.predict(output), a_head(power=0.8).predict(output))
    other = a_head()
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other.predict(output), head.predict(output))
    # Labels are exponential: a higher power moves predictions to the rare, high ones.
    assert bool((head.predict(output) > plain).all())


def test_half_precision_outputs_are_worked_on_in_float32() -> None:
    head = a_head().to(torch.bfloat16)
    output = head(torch.zeros(2, 4, dtype=torch.bfloat16))
    assert head.predict(output).dtype == torch.float32
    assert head.variance(output).dtype == torch.float32
    assert head.cells.edges.dtype == torch.float64


def test_gradients_reach_the_linear_layer_through_the_prediction() -> None:
    head = a_head(power=0.5)
    head.predict(head(torch.randn(3, 4))).sum().backward()
    assert bool(torch.isfinite(head.linear.weight.grad).all())
    assert float(head.linear.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"power": -0.1}, r"power.*got -0\.1"),
        ({"point": "mode"}, "point.*'mode'"),
        ({"floor": -1.0}, r"floor.*got -1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], path: str) -> None:
    with pytest.raises(ValueError, match=path):
        HistogramHead(4, BINS, **arguments)
    with pytest.raises(ValueError, match=r"q.*got 1\.5"):
        a_head().quantile(logits(), 1.5)
    with pytest.raises(ValueError, match=r"target.*\[5\]"):
        a_head().crps(logits(6), torch.zeros(5))
