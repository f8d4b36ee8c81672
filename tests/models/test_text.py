"""Encoders of one or two texts: shapes, the order of two texts, and arguments that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dir.models import PairMLPEncoder, TextMLPEncoder, TransformerTextEncoder
from dir.models.pair import pair_features


def test_one_text_is_scaled_and_encoded_by_one_layer() -> None:
    torch.manual_seed(0)
    encoder = TextMLPEncoder(in_features=6, hidden=5, views=2).eval()
    u = torch.randn(4, 6)
    layer = encoder.mlp[0]
    # A view is three wide: the vector of a view, of length one, gets the length sqrt(3).
    expected = (3**0.5 * u @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(encoder(u), expected)
    assert encoder.num_features == 5
    with pytest.raises(ValueError, match=r"inputs: expected embeddings \[N, 6\], got 5"):
        encoder(u[:, :5])


def test_two_texts_are_compared_by_pair_features() -> None:
    torch.manual_seed(0)
    encoder = TextMLPEncoder(in_features=3, texts=2, hidden=5).eval()
    u, v = torch.randn(2, 4, 3)
    layer = encoder.mlp.mlp[0]
    cosine = (u * v).sum(1, keepdim=True) / (u.norm(dim=1) * v.norm(dim=1))[:, None]
    inputs = torch.cat([pair_features(3**0.5 * u, 3**0.5 * v), cosine], dim=1)
    torch.testing.assert_close(encoder((u, v)), (inputs @ layer.weight.T + layer.bias).clamp(min=0))


@pytest.mark.parametrize("symmetric", [False, True])
def test_training_keeps_the_order_of_two_texts_unless_they_are_symmetric(symmetric: bool) -> None:
    torch.manual_seed(0)
    encoder = TextMLPEncoder(in_features=3, texts=2, hidden=5, dropout=0.0, symmetric=symmetric)
    pair = tuple(torch.randn(2, 32, 3))
    kept, swapped = encoder.eval()(pair), encoder(pair[::-1])
    trained = encoder.train()(pair)
    is_kept, is_swapped = ((trained - other).abs().amax(dim=1) < 1e-6 for other in (kept, swapped))
    if symmetric:
        assert (is_kept | is_swapped).all()
        assert is_kept.any()
        assert is_swapped.any()
    else:
        assert is_kept.all()
    assert PairMLPEncoder(3).symmetric


def tiny_transformer() -> Any:
    transformers = pytest.importorskip("transformers", reason="needs the extra `recipes`")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return transformers.BertModel(config)


def tokens() -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, 20, (3, 5))
    mask = torch.ones_like(ids)
    mask[0, 3:] = 0
    return ids, mask


def test_a_transformer_encodes_one_or_two_texts_and_ignores_padding() -> None:
    encoder = TransformerTextEncoder(tiny_transformer(), hidden=4).eval()
    ids, mask = tokens()
    whole = encoder((ids, mask))
    assert whole.shape == (3, 4)
    torch.testing.assert_close(encoder((ids[:1, :3], mask[:1, :3])), whole[:1], rtol=1e-4, atol=1e-5)
    two = TransformerTextEncoder(tiny_transformer(), texts=2, hidden=4)
    two((*tokens(), *tokens())).sum().backward()
    lacking = [name for name, value in two.named_parameters() if value.requires_grad and value.grad is None]
    assert lacking == []


@pytest.mark.parametrize(
    "make", [lambda **a: TextMLPEncoder(4, **a), lambda **a: TransformerTextEncoder(tiny_transformer(), **a)]
)
def test_arguments_that_cannot_be_are_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"model\.symmetric: one text has no order"):
        make(texts=1, symmetric=True)
    with pytest.raises(ValueError, match="texts: expected one of 1, 2, got 3"):
        make(texts=3)
    with pytest.raises(ValueError, match="dropout"):
        make(dropout=1.0)
    with pytest.raises(ValueError, match="hidden"):
        make(hidden=0)
