"""The GloVe reader, against a small file with the oddities of GloVe 840B."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dir.data.glove import Vocabulary, read_glove, tokenize

LINES = [
    ", 1 2 3",
    ". . . 9 9 9",  # a token with spaces: not the full stop
    ". 4 5 6",
    "at name@domain.com 7 7 7",
    "na\x85ve 1 1 1",
    "cat 0.5 -0.5 1e-1",
    "cat 8 8 8",  # a repeated word: the first counts
    "broken x y z",
]


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_bytes(("\n".join(LINES) + "\n").encode())
    return path


def test_only_wanted_words_are_read(glove: Path) -> None:
    vectors = read_glove(glove, [",", ".", "at", "cat", "dog", "na\x85ve"])
    assert sorted(vectors) == [",", ".", "cat", "na\x85ve"]
    assert vectors["."].tolist() == [4, 5, 6]
    np.testing.assert_array_equal(vectors["cat"], np.array([0.5, -0.5, 0.1], dtype=np.float32))


def test_bad_lines_are_named(glove: Path) -> None:
    with pytest.raises(ValueError, match=r"^data\.glove: .*line 8.*3 finite numbers, got"):
        read_glove(glove, ["broken"])


def test_word2vec_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "word2vec.txt"
    path.write_text("400000 300\ncat 1 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 1.*word2vec"):
        read_glove(path, ["cat"])


def test_vocabulary_falls_back_to_lower_case_and_to_the_mean(glove: Path) -> None:
    vocabulary = Vocabulary([["Cat", "unheard"], [".", "cat"]], glove)
    assert vocabulary.missing == 1
    ids = vocabulary.encode([["Cat", "unheard", "."], []])
    vectors = vocabulary.vectors[ids].numpy()
    np.testing.assert_allclose(vectors[0, 0], [0.5, -0.5, 0.1])
    np.testing.assert_allclose(
        vectors[0, 1], np.mean([[4, 5, 6], [0.5, -0.5, 0.1], [0.5, -0.5, 0.1]], axis=0), rtol=1e-6
    )
    assert not vectors[1].any()


def test_vocabulary_without_any_vector(glove: Path) -> None:
    with pytest.raises(ValueError, match="none of the 1 words"):
        Vocabulary([["unheard"]], glove)


@given(st.text())
def test_tokenize_keeps_every_visible_character(text: str) -> None:
    tokens = tokenize(text)
    assert "".join(tokens) == "".join(text.split())
    assert all(tokens)
