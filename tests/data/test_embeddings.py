"""Frozen sentence embeddings and their cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dir.data import embeddings
from dir.data.embeddings import sentence_embeddings

TEXTS = ["A cat.", "two dogs", "A cat.", 'five tall dogs "word" .']
Make = Callable[..., Path]


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of the encoder was given."""
    calls: list[int] = []
    original = embeddings._encode

    def counting(texts: list[str], *args: object) -> object:
        calls.append(len(texts))
        return original(texts, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(embeddings, "_encode", counting)
    return calls


def test_embeddings_pool_over_the_tokens(tiny_encoder: Make) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = tiny_encoder()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    expected = []
    for text in TEXTS:  # one by one: no padding, no mask
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        parts = [states[-1][0].mean(0), states[1][0].amax(0)]
        expected.append(torch.cat([part / part.norm() for part in parts]))
    found = sentence_embeddings(TEXTS, str(folder), views=(("mean", -1), ("max", 1)))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_cache_is_used_and_keyed_by_texts_encoder_and_settings(
    tiny_encoder: Make, tmp_path: Path, encodings: list[int]
) -> None:
    first, second = tiny_encoder(0), tiny_encoder(1)
    cache = tmp_path / "cache"
    fresh = sentence_embeddings(TEXTS, str(first), cache_dir=cache)
    assert encodings == [3]  # distinct texts only
    again = sentence_embeddings(TEXTS[::-1], str(first), cache_dir=cache)
    assert encodings == [3]
    torch.testing.assert_close(again.flip(0), fresh, rtol=0, atol=0)
    moved = tmp_path / "moved"
    first.rename(moved)
    sentence_embeddings(TEXTS, str(moved), cache_dir=cache)
    assert encodings == [3]  # known by its content, not by its place
    other = sentence_embeddings(TEXTS, str(second), cache_dir=cache)
    sentence_embeddings(TEXTS[:2], str(second), cache_dir=cache)
    sentence_embeddings(TEXTS, str(second), normalize=False, cache_dir=cache)
    assert encodings == [3, 3, 2, 3]
    assert not torch.allclose(fresh, other)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "short", "nan"])
def test_a_damaged_cache_is_computed_anew(
    tiny_encoder: Make, tmp_path: Path, encodings: list[int], damage: str
) -> None:
    folder, cache = tiny_encoder(), tmp_path / "cache"
    fresh = sentence_embeddings(TEXTS, str(folder), cache_dir=cache)
    (file,) = cache.iterdir()
    if damage == "garbage":
        file.write_bytes(b"not an npz")
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "short":
        np.savez(file, embeddings=np.zeros((2, 8), dtype=np.float32))
    else:
        np.savez(file, embeddings=np.full((3, 8), np.nan, dtype=np.float32))
    for _ in range(2):
        torch.testing.assert_close(sentence_embeddings(TEXTS, str(folder), cache_dir=cache), fresh)
    assert encodings == [3, 3]
    assert [path.name for path in cache.iterdir()] == [file.name]


def test_a_failed_write_leaves_nothing(tiny_encoder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        sentence_embeddings(TEXTS, str(tiny_encoder()), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_unknown_encoder_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `recipes`")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"data\.encoder.*minilm.*local folder"):
        sentence_embeddings(TEXTS, str(tmp_path / "empty"))


@pytest.mark.parametrize("views", [[], [("cls", -1)], [("mean",)]])
def test_bad_views(views: list[tuple[str, int]]) -> None:
    with pytest.raises(ValueError, match=r"^data\.views: .*mean or max"):
        sentence_embeddings(TEXTS, "unused", views=views)


def test_a_layer_that_is_not_there(tiny_encoder: Make) -> None:
    with pytest.raises(ValueError, match=r"hidden states 0\.\.2"):
        sentence_embeddings(TEXTS, str(tiny_encoder()), views=[("mean", 3)])


def test_no_texts() -> None:
    with pytest.raises(ValueError, match=r"^texts: .*got none"):
        sentence_embeddings([], "unused")
