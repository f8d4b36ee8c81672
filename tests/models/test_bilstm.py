"""The BiLSTM pair encoder."""

from __future__ import annotations

import pytest
import torch

from dir.models.bilstm import BiLSTMPairEncoder


def encoder(**kwargs: object) -> BiLSTMPairEncoder:
    torch.manual_seed(0)
    return BiLSTMPairEncoder(**({"vocab_size": 9, "embedding_dim": 4, "hidden": 3} | kwargs)).eval()  # type: ignore[arg-type]


def test_features_are_those_of_single_unpadded_sentences() -> None:
    model = encoder()
    a = [[1, 2, 3], [4], [5, 6]]
    b = [[7, 8], [1, 1, 1, 2, 3], [2]]

    def pad(rows: list[list[int]], width: int) -> torch.Tensor:
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    def alone(sentence: list[int]) -> torch.Tensor:
        states, _ = model.lstm(model.embedding(torch.tensor([sentence])))
        return states[0].max(dim=0).values

    found = model((pad(a, 3), pad(b, 7)))
    assert found.shape == (3, model.num_features)
    for row, (first, second) in enumerate(zip(a, b, strict=True)):
        u, v = alone(first), alone(second)
        torch.testing.assert_close(found[row], torch.cat([u, v, (u - v).abs(), u * v]))


def test_an_empty_sentence_is_finite() -> None:
    model = encoder()
    features = model((torch.zeros(2, 3, dtype=torch.int64), torch.tensor([[1, 2, 0], [0, 0, 0]])))
    assert torch.isfinite(features).all()


def test_given_embeddings_stay_frozen() -> None:
    vectors = torch.randn(6, 5)
    model = encoder(vocab_size=None, embeddings=vectors).train()
    model((torch.tensor([[1, 2]]), torch.tensor([[3, 4]]))).sum().backward()
    assert model.embedding.weight.grad is None
    assert model.lstm.weight_ih_l0.grad.abs().sum() > 0
    torch.testing.assert_close(model.embedding.weight.detach(), vectors, rtol=0, atol=0)
    assert model.lstm.input_size == 5


def test_dropout_acts_in_training_only() -> None:
    pair = (torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5, 6]]))
    model = encoder(dropout=0.5)
    torch.testing.assert_close(model(pair), model(pair))
    model.train()
    assert not torch.allclose(model(pair), model(pair))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"vocab_size": None}, "vocab_size, embeddings: .*got"),
        ({"embeddings": torch.zeros(3, 2)}, "vocab_size, embeddings: .*got"),
        ({"vocab_size": None, "embeddings": torch.zeros(3, dtype=torch.int64)}, r"\[V, E\]"),
        ({"hidden": 0}, "hidden: .*got 0"),
    ],
)
def test_bad_arguments(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(**kwargs)
