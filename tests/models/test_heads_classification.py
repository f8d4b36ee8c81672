"""The classification head: expectation and variance against NumPy, and that it learns."""

from __future__ import annotations

import numpy as np
import torch

from dir.bins import LabelBins
from dir.losses.classification import RegressionByClassification
from dir.models.heads_classification import ClassificationHead

EDGES = [0.0, 1.0, 3.0, 4.0, 8.0]


def test_prediction_and_variance_are_moments_of_the_bins() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64)
    p = np.exp(logits.numpy())
    p /= p.sum(axis=1, keepdims=True)
    centers = np.array([0.5, 2.0, 3.5, 6.0])
    head = ClassificationHead(3, LabelBins.from_edges(EDGES)).double()
    mean = p @ centers
    np.testing.assert_allclose(head.predict(logits).numpy(), mean)
    # Moments of a density that is constant in each bin: the integrals of y and y^2 over the bins.
    low, high = np.array(EDGES[:-1]), np.array(EDGES[1:])
    second = p @ ((high**3 - low**3) / (3 * (high - low)))
    np.testing.assert_allclose(head.variance(logits).numpy(), second - mean**2)


def test_a_distribution_that_is_sure_of_a_bin_has_the_variance_within_it() -> None:
    head = ClassificationHead(3, LabelBins.from_edges(EDGES))
    sure = torch.full((4, 4), -1e4).fill_diagonal_(1e4)
    torch.testing.assert_close(head.variance(sure), torch.tensor([1.0, 4.0, 1.0, 16.0]) / 12)


def test_half_precision_logits_give_float32() -> None:
    head = ClassificationHead(3, LabelBins.from_edges(EDGES)).bfloat16()
    output = head(torch.zeros(2, 3, dtype=torch.bfloat16))
    assert output.dtype == torch.bfloat16
    assert head.predict(output).dtype == head.variance(output).dtype == torch.float32


def test_it_learns_a_line() -> None:
    torch.manual_seed(0)
    bins = LabelBins.uniform(0, 1, 20)
    x = torch.rand(512, 1)
    features = torch.cat([x, x.square(), torch.ones_like(x)], dim=1)
    head, loss = ClassificationHead(3, bins), RegressionByClassification().fit(x[:, 0], bins)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        loss(head(features), x[:, 0]).backward()
        optimizer.step()
    assert (head.predict(head(features)) - x[:, 0]).abs().mean() < 0.05


def test_state_dict_round_trip() -> None:
    head, other = (
        ClassificationHead(3, LabelBins.from_edges(EDGES)),
        ClassificationHead(3, LabelBins.from_edges(EDGES)),
    )
    other.load_state_dict(head.state_dict())
    features = torch.randn(4, 3)
    assert torch.equal(head(features), other(features))
