from __future__ import annotations

import pytest
import torch

from dir.models.mlp import MLPEncoder


def test_two_layers_by_hand() -> None:
    torch.manual_seed(0)
    encoder = MLPEncoder(3, hidden=[4, 2])
    inputs = torch.randn(5, 3)
    first, second = (layer for layer in encoder.layers if isinstance(layer, torch.nn.Linear))
    hidden = (inputs @ first.weight.T + first.bias).clamp(min=0)
    expected = (hidden @ second.weight.T + second.bias).clamp(min=0)
    torch.testing.assert_close(encoder(inputs), expected)
    assert encoder.num_features == 2


def test_norm_comes_before_the_activation() -> None:
    torch.manual_seed(0)
    encoder = MLPEncoder(3, hidden=[16], norm="layer")
    linear = encoder.layers[0]
    inputs = torch.randn(5, 3)
    before = linear(inputs)
    centred = before - before.mean(1, keepdim=True)
    expected = (centred / (before.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()).clamp(min=0)
    torch.testing.assert_close(encoder(inputs), expected)


def test_batch_norm_uses_running_statistics_in_eval_mode() -> None:
    encoder = MLPEncoder(3, hidden=[8], norm="batch")
    encoder(torch.randn(64, 3))
    encoder.eval()
    rows = torch.randn(4, 3)
    torch.testing.assert_close(encoder(rows)[:1], encoder(rows[:1]))


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = MLPEncoder(3, hidden=[512], dropout=0.5)
    inputs = torch.ones(1, 3)
    zeros_in_training = (encoder(inputs) == 0).float().mean()
    zeros_in_eval = (encoder.eval()(inputs) == 0).float().mean()
    assert zeros_in_training > zeros_in_eval + 0.15


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"in_features": 0, "hidden": [4]}, "in_features"),
        ({"in_features": 3, "hidden": []}, "hidden"),
        ({"in_features": 3, "hidden": [4, 0]}, "hidden"),
        ({"in_features": 3, "hidden": [4], "dropout": 1.0}, "dropout"),
        ({"in_features": 3, "hidden": [4], "norm": "group"}, "norm"),
    ],
)
def test_refuses(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPEncoder(**kwargs)
