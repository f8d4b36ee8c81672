"""Words, vocabularies and GloVe text files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._checks import message

PAD = 0  # id of the padding; its vector is zero
UNKNOWN = 1  # id of words without a vector; its vector is the mean of all vectors found
FIRST_WORD = 2

# GloVe 840B was trained on text split as in the Penn treebank: "don't" is "do", "n't"; "it's" is "it", "'s".
_CONTRACTION = re.compile(r"(?<=[^\W_])(?=n't\b)", re.IGNORECASE)
_WORD = re.compile(r"n't\b|'(?:s|m|d|re|ve|ll)\b|\d+(?:[.,:]\d+)+|[^\W_]+(?:-[^\W_]+)*|[^\w\s]|_", re.IGNORECASE)


def tokenize(text: str) -> list[str]:
    """Return the words and punctuation marks of a text. Case is kept, and contractions are split.

    Example:
        >>> tokenize("It's 3.5 km; don't run.")
        ['It', "'s", '3.5', 'km', ';', 'do', "n't", 'run', '.']
    """
    return _WORD.findall(_CONTRACTION.sub(" ", text))


def read_glove(path: str | Path, words: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of ``words`` in a GloVe text file (``word x_1 ... x_E`` on each line).

    The file is read line by line, and only the lines of ``words`` are parsed. The last E fields of a line are its
    vector, so that GloVe 840B's tokens with spaces (". . .") are not mistaken for ".".

    Args:
        path: the file.
        words: words to look up.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the line of a word does not hold E finite numbers, or the file has another form.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            message(
                "data.glove",
                f"file {path} not found",
                advice="Fetch glove.840B.300d.zip (2 GB) from the GloVe page of the Stanford NLP group "
                "(https://nlp.stanford.edu/projects/glove/), unpack it and set data.glove to glove.840B.300d.txt.",
            )
        )
    wanted = set(words)
    vectors: dict[str, NDArray[np.float32]] = {}
    dimension = 0
    # Only "\n" ends a line: some tokens contain other characters at which str.splitlines would cut.
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"{path} line {number}"
                raise ValueError(message("data.glove", f"{where}: expected text in UTF-8 ({error})")) from error
            if not dimension:
                dimension = len(line.split()) - 1
                if dimension < 2:
                    raise ValueError(
                        message(
                            "data.glove",
                            f"{path} line 1: expected a word and its vector",
                            line[:60],
                            "Files with a word2vec header and binary files are not GloVe text.",
                        )
                    )
            if line.partition(" ")[0] not in wanted:
                continue
            word, *fields = line.rstrip("\r\n ").rsplit(" ", dimension)
            if word not in wanted or word in vectors:
                continue
            vectors[word] = _vector(fields, dimension, f"{path} line {number}")
    return vectors


def _vector(fields: Sequence[str], dimension: int, where: str) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # a number that is too large is refused below
            vector = np.array(fields, dtype=np.float32)
    except ValueError:
        vector = np.empty(0, dtype=np.float32)
    if len(vector) != dimension or not np.isfinite(vector).all():
        raise ValueError(
            message("data.glove", f"{where}: expected {dimension} finite numbers", " ".join(fields)[:60])
        )
    return vector


class Vocabulary:
    """Ids and frozen vectors of words.

    A word without a vector takes the vector of its lower case. Words without both share the mean of all vectors
    found.

    Args:
        sentences: tokenised sentences, which contain the words of the vocabulary.
        glove: the GloVe text file.

    Raises:
        ValueError: if no word has a vector.
    """

    def __init__(self, sentences: Iterable[Sequence[str]], glove: str | Path) -> None:
        words = sorted({word for sentence in sentences for word in sentence})
        vectors = read_glove(glove, {form for word in words for form in (word, word.lower())})
        self.ids: dict[str, int] = {}
        rows: list[NDArray[np.float32]] = []
        for word in words:
            vector = vectors.get(word, vectors.get(word.lower()))
            if vector is not None:
                self.ids[word] = FIRST_WORD + len(rows)
                rows.append(vector)
        if not rows:
            raise ValueError(message("data.glove", f"{glove} has none of the {len(words)} words of the data"))
        self.missing = len(words) - len(rows)
        table = np.stack(rows)
        self.vectors: Tensor = torch.from_numpy(
            np.concatenate([np.zeros_like(table[:1]), table.mean(axis=0, keepdims=True), table])
        )

    def encode(self, sentences: Sequence[Sequence[str]]) -> Tensor:
        """Return the ids ``[N, L]`` of N sentences, padded with 0 to the longest sentence."""
        width = max(1, *map(len, sentences))
        ids = torch.full((len(sentences), width), PAD, dtype=torch.int64)
        for row, sentence in enumerate(sentences):
            ids[row, : len(sentence)] = torch.tensor(
                [self.ids.get(word, UNKNOWN) for word in sentence], dtype=torch.int64
            )
        return ids
