"""The pair MLP."""

from __future__ import annotations

import pytest
import torch

from dir.models.pair import PairMLPEncoder, pair_features


def test_features_in_eval_mode() -> None:
    torch.manual_seed(0)
    model = PairMLPEncoder(in_features=6, hidden=5, dropout=0.5, views=2).eval()
    u, v = torch.randn(2, 4, 6)
    cosines = [
        (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)) for a, b in ((u[:, :3], v[:, :3]), (u[:, 3:], v[:, 3:]))
    ]
    linear = model.mlp[0]
    expected = torch.cat([u, v, (u - v).abs(), u * v, torch.stack(cosines, 1)], dim=1)
    expected = (expected @ linear.weight.T + linear.bias).clamp(min=0)
    torch.testing.assert_close(model((u, v)), expected)
    assert model.num_features == 5


def test_training_sees_each_pair_either_way() -> None:
    torch.manual_seed(0)
    model = PairMLPEncoder(in_features=3, hidden=5, dropout=0.0)
    u, v = torch.randn(2, 1, 3)
    with torch.no_grad():
        given, swapped = model.eval()((u, v)), model((v, u))
        found = model.train()((u.expand(200, -1), v.expand(200, -1)))
    is_given = torch.isclose(found, given).all(dim=1)
    is_swapped = torch.isclose(found, swapped).all(dim=1)
    assert bool((is_given ^ is_swapped).all())
    assert 60 < int(is_given.sum()) < 140


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"in_features": 0}, "in_features"),
        ({"hidden": 0}, "hidden"),
        ({"dropout": 1.0}, "dropout"),
        ({"views": 2}, "multiple"),
    ],
)
def test_bad_arguments(kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairMLPEncoder(**({"in_features": 3} | kwargs))  # type: ignore[arg-type]


def test_bad_shapes() -> None:
    with pytest.raises(ValueError, match=r"u: .*got \["):
        pair_features(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        PairMLPEncoder(in_features=3)((torch.zeros(2, 4), torch.zeros(2, 4)))
