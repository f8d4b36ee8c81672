from __future__ import annotations

import pytest
import torch

from dir.models.conv import ConvEncoder


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 64), (3, 33)])
@pytest.mark.parametrize("num_features", [None, 20])
def test_num_features_is_what_comes_out(channels, size, num_features):
    encoder = ConvEncoder(channels, widths=(4, 8), blocks=2, num_features=num_features)
    features = encoder(torch.randn(3, channels, size, size))
    assert features.shape == (3, encoder.num_features)
    assert encoder.num_features == (num_features or 8)


def test_stages_blocks_and_norm_are_as_asked():
    encoder = ConvEncoder(3, widths=(4, 8, 16), blocks=2)
    convolutions = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride[0]) for c in convolutions] == [
        (3, 4, 2), (4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 16, 2), (16, 16, 1),
    ]  # fmt: skip
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in encoder.modules()) == 6
    plain = ConvEncoder(3, widths=(4,), norm=False)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in plain.modules())
    assert plain.stages[0].bias is not None


def test_without_padding_effects_the_features_are_the_mean_over_places():
    encoder = ConvEncoder(1, widths=(6,), norm=False).eval()
    x = torch.randn(2, 1, 8, 8)
    weight, bias = encoder.stages[0].weight, encoder.stages[0].bias
    expected = torch.relu(torch.nn.functional.conv2d(x, weight, bias, stride=2, padding=1)).mean((2, 3))
    torch.testing.assert_close(encoder(x), expected)


def test_dropout_acts_in_training_only():
    encoder = ConvEncoder(1, widths=(32,), norm=False, dropout=0.5)
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(encoder.eval()(x), encoder(x))
    assert (encoder.train()(x) == 0).float().mean() > 0.25


def test_every_parameter_is_trained():
    encoder = ConvEncoder(3, widths=(4, 8), num_features=5)
    encoder(torch.randn(6, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize(
    ("option", "value"),
    [("widths", ()), ("widths", (0, 4)), ("blocks", 0), ("num_features", 0), ("in_channels", 0), ("dropout", 1.0)],
)
def test_wrong_options_are_named(option, value):
    with pytest.raises(ValueError, match=option):
        ConvEncoder(**{option: value})
