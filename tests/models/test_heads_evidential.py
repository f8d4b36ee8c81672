"""The evidential head: its prediction and variance against SciPy, its units, its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from dir.bins import LabelBins
from dir.models.heads_evidential import EvidentialHead


def head() -> EvidentialHead:
    torch.manual_seed(0)
    return EvidentialHead(3, LabelBins.uniform(-3, 5, 4))  # a prior of mean 1 and variance 4


def test_prediction_and_variance_are_moments_of_the_predictive_distribution() -> None:
    output = torch.tensor([[2.0, 0.5, 7.0], [-1.0, 3.0, 0.2]])
    for (mean, variance, n), prediction, spread in zip(
        output.tolist(), head().predict(output).tolist(), head().variance(output).tolist(), strict=True
    ):
        nu, alpha = 1 + n, 2 + n / 2
        beta = 4 + n * variance / 2 + n * (mean - 1) ** 2 / (2 * nu)
        t = stats.t(2 * alpha, (1 + n * mean) / nu, np.sqrt(beta * (1 + nu) / (nu * alpha)))
        assert prediction == pytest.approx(t.mean(), rel=1e-5)
        assert spread == pytest.approx(t.var(), rel=1e-5)


def test_output_is_in_units_of_the_prior() -> None:
    layer = head()
    with torch.no_grad():
        layer.linear.weight.zero_()
        layer.linear.bias.copy_(torch.tensor([0.5, 0.0, 0.0]))
    assert layer(torch.zeros(1, 3)).tolist() == [[2.0, 4.0, 1.0]]


def test_extreme_features_stay_finite() -> None:
    layer = head()
    features = torch.tensor([[1e4, -1e4, 1e4], [-1e4, 1e4, -1e4]])
    output = layer(features)
    assert torch.isfinite(output).all()
    assert (output[:, 1:] > 0).all()
    assert torch.isfinite(layer.variance(output)).all()
    half = layer.bfloat16()(features.bfloat16())
    assert half.dtype == layer.predict(half).dtype == layer.variance(half).dtype == torch.float32


def test_under_autocast_only_the_linear_layer_is_narrow() -> None:
    torch.manual_seed(0)
    layer, features = EvidentialHead(3, LabelBins.uniform(60, 80, 4)), torch.randn(64, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, raw = layer(features), layer.linear(features)
    assert raw.dtype == torch.bfloat16
    assert output.dtype == torch.float32
    # The means are in units of the prior: around 70, bfloat16 has steps of 0.5.
    torch.testing.assert_close(output[:, 0], 70 + 5 * raw[:, 0].float())


def test_state_dict_round_trip() -> None:
    layer, other = head(), EvidentialHead(3, LabelBins.uniform(-3, 5, 4))
    other.load_state_dict(layer.state_dict())
    features = torch.randn(4, 3)
    assert torch.equal(layer.predict(layer(features)), other.predict(other(features)))
