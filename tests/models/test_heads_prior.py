"""PriorHead: Bayes' rule on the distributions of other heads, against numerical integration on a fine grid."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from dir import LabelBins
from dir.models import ClassificationHead, EvidentialHead, ExpertsHead, Head, HistogramHead, LinearHead, PriorHead

BINS = LabelBins.uniform(0, 10, 10)
Density = Callable[[np.ndarray], np.ndarray]


def labels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).exponential(2.0, 500)).clamp(max=10)


def a_head(kind: Callable[..., Head], **arguments: object) -> PriorHead:
    settings = {"num_cells": 400, "sigma": 4.0, "scale": "even"} | arguments
    return PriorHead(4, BINS, head=kind, **settings).fit(labels(), BINS)


def of_classes(head: PriorHead, output: torch.Tensor, row: int) -> Density:
    p = output[row].double().softmax(dim=0).numpy()
    edges = BINS.edges.numpy()
    return lambda y: np.where((y >= 0) & (y < 10), p[(np.searchsorted(edges, y, side="right") - 1).clip(0, 9)], 0.0)


def of_student(head: PriorHead, output: torch.Tensor, row: int) -> Density:
    """The predictive distribution of a normal-inverse-gamma posterior (Murphy 2007, Eq. 110)."""
    nig = head.head._posterior(output)
    mean, nu, alpha, beta = (float(value[row]) for value in (nig.mean, nig.nu, nig.alpha, nig.beta))
    return stats.t(2 * alpha, mean, (beta * (1 + nu) / (nu * alpha)) ** 0.5).pdf


def of_experts(head: PriorHead, output: torch.Tensor, row: int) -> Density:
    pairs = [(float(mean), float(log_variance.exp().sqrt())) for mean, log_variance in output[row]]
    if head.head.noise == "laplace":
        return lambda y: np.mean([stats.laplace(m, s / 2**0.5).pdf(y) for m, s in pairs], axis=0)
    return lambda y: np.mean([stats.norm(m, s).pdf(y) for m, s in pairs], axis=0)


LAPLACE = functools.partial(ExpertsHead, noise="laplace")
CASES = [
    (ClassificationHead, of_classes),
    (EvidentialHead, of_student),
    (ExpertsHead, of_experts),
    (LAPLACE, of_experts),
]
NAMES = ["classes", "student", "normal-mixture", "laplace-mixture"]


def an_output(head: PriorHead) -> torch.Tensor:
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        if isinstance(head.head, ExpertsHead):
            head.head.linear.bias.view(-1, 2)[:, 0] += torch.tensor([1.0, 4.0, 6.0])
        return head(features)


@pytest.mark.parametrize(("kind", "density_of"), CASES, ids=NAMES)
@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_mean_and_variance_follow_bayes_rule_on_a_fine_grid(
    kind: Callable[..., Head], density_of: Callable[..., Density], power: float
) -> None:
    """Oracle: ``p(y | x) / density(y) ** power`` at 400,000 points, with the training density of the cells."""
    head = a_head(kind, power=power)
    output = an_output(head)
    edges, log_density = head.cells.edges.numpy(), head.prior.log_density.numpy()
    step = (edges[-1] - edges[0]) / 400_000
    y = edges[0] + step * (np.arange(400_000) + 0.5)
    gain = np.exp(-power * log_density)[(np.searchsorted(edges, y, side="right") - 1).clip(0, 399)]
    width = float(np.diff(edges).max())
    for row in range(len(output)):
        weight = density_of(head, output, row)(y) * gain
        mean = (weight * y).sum() / weight.sum()
        variance = (weight * (y - mean) ** 2).sum() / weight.sum()
        assert head.predict(output)[row].item() == pytest.approx(mean, abs=0.02 * width + 1e-3)
        assert head.variance(output)[row].item() == pytest.approx(variance, rel=0.01, abs=width**2 / 6)


def test_a_temperature_raises_the_distribution_to_its_inverse() -> None:
    head = a_head(ClassificationHead, temperature=True, power=0.5)
    output = an_output(head)
    head.temperature.fill_(2.0)
    mass = head.log_mass(output).double().numpy() / 2 - 0.5 * head.prior.log_density.numpy()
    expected = np.exp(mass) / np.exp(mass).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.log_prob(output).exp(), expected, rtol=1e-4, atol=1e-9)


def test_the_other_head_and_its_gradients_stay_as_they_are() -> None:
    torch.manual_seed(3)
    plain = EvidentialHead(4, BINS)
    torch.manual_seed(3)
    head = a_head(EvidentialHead)
    features = torch.randn(3, 4)
    torch.testing.assert_close(head(features), plain(features), rtol=0, atol=0)
    head.predict(head(features), power=0.7).sum().backward()
    assert bool(torch.isfinite(head.head.linear.weight.grad).all())


def test_labels_that_are_rare_in_training_gain_by_the_power() -> None:
    head = a_head(ClassificationHead)
    output = an_output(head)
    means = torch.stack([head.predict(output, power) for power in (0.0, 0.5, 1.0)])
    assert bool((means.diff(dim=0) > 0).all())


@pytest.mark.parametrize("kind", [LinearHead, HistogramHead])
def test_heads_without_a_distribution_or_with_a_prior_are_refused(kind: type[Head]) -> None:
    with pytest.raises(ValueError, match=f"head.*{kind.__name__}"):
        PriorHead(4, BINS, head=kind)
