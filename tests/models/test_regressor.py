from __future__ import annotations

import pytest
import torch
from torch import nn

from dir.bins import LabelBins
from dir.fds import FDS
from dir.models.regressor import Regressor


class Encoder(nn.Module):
    num_features = 4

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def model(fds: bool = True) -> Regressor:
    torch.manual_seed(0)
    layer = FDS(4, LabelBins.integers(0, 3), kernel_size=3, sigma=1.0) if fds else None
    return Regressor(Encoder(), nn.Linear(4, 1), layer)


def test_without_fds_it_is_the_head_on_the_features() -> None:
    regressor, inputs = model(fds=False), torch.randn(5, 4)
    expected = inputs @ regressor.head.weight[0] + regressor.head.bias
    torch.testing.assert_close(regressor(inputs, torch.arange(5.0)), expected)
    assert regressor(inputs).shape == (5,)


def test_fds_acts_between_encoder_and_head_in_training_with_labels_only() -> None:
    regressor, labels = model(), torch.arange(4.0).repeat(10)
    inputs = torch.randn(40, 4) + labels[:, None]
    plain = regressor(inputs).detach()
    regressor(inputs, labels)
    regressor.fds.end_epoch()
    calibrated = regressor(inputs, labels)
    assert not torch.allclose(calibrated, plain, atol=1e-2)
    torch.testing.assert_close(calibrated, regressor.head(regressor.fds(inputs, labels)).squeeze(-1))
    torch.testing.assert_close(regressor(inputs), plain)
    torch.testing.assert_close(regressor.eval()(inputs, labels), plain)


def test_a_head_may_give_one_dimension() -> None:
    regressor = Regressor(Encoder(), nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)))
    assert regressor(torch.zeros(3, 4)).shape == (3,)


def test_a_batch_of_one_stays_a_batch() -> None:
    assert model()(torch.zeros(1, 4), torch.zeros(1)).shape == (1,)


def test_an_fds_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fds.num_features: expected 4.* got 3"):
        Regressor(Encoder(), nn.Linear(4, 1), FDS(3, LabelBins.integers(0, 3)))


def test_a_frozen_encoder_stays_in_eval_mode_and_without_gradients_in_every_mode_of_the_model() -> None:
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    encoder.num_features = 4
    frozen = Regressor(encoder, nn.Linear(4, 1))
    frozen.freeze_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    for mode in (True, False, True):
        frozen.train(mode)
        assert frozen.head.training == frozen.training == mode
        assert not any(part.training for part in encoder.modules())
    inputs = 5 + torch.randn(16, 4)
    assert torch.equal(frozen(inputs), frozen(inputs))
    frozen(inputs).sum().backward()
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert frozen.head.weight.grad is not None
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
