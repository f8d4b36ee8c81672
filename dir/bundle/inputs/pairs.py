"""Pairs of sentences as embeddings, tokens or words, encoded as in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dir._checks import message
from dir._sentence_encoder import HUB_NAME, content_hash, default_encoder, encoder_identity, load_tokenizer
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs.rows import InputEncoder, Inputs, Rows, no_options
from dir.data.glove import PAD, tokenize

COLUMNS = ("sentence1", "sentence2")
TOKENIZER = "tokenizer"
Encode = Callable[[list[str], list[str]], tuple[Tensor, ...]]


class PairRows(Rows):
    """Pairs of sentences, encoded when their batch is needed."""

    def __init__(self, first: list[Any], second: list[Any], encode: Encode) -> None:
        super().__init__(len(first))
        self.first = first
        self.second = second
        self._encode = encode
        for row, pair in enumerate(zip(first, second, strict=True)):
            if not all(isinstance(sentence, str) for sentence in pair):
                self.problems[row] = f"expected two texts, got {pair!r}"

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        return indices, self._encode([self.first[i] for i in indices], [self.second[i] for i in indices])


class PairInputs(InputEncoder):
    """A list of pairs of texts, or a frame with the columns sentence1 and sentence2."""

    kind = "pairs"

    def open(self, inputs: Any, **options: Any) -> PairRows:
        no_options(options)
        first, second = _columns(inputs)
        return self.rows(first, second)

    def rows(self, first: list[Any], second: list[Any]) -> PairRows:
        """Return the rows of two lists of sentences."""
        raise NotImplementedError


class WordPairs(PairInputs):
    """Word numbers from the vocabulary of the training run, int64 ``[N, longest]`` for either side.

    A word that the vocabulary does not have takes the number ``unknown``; without such a number its row cannot be
    predicted.
    """

    def __init__(self, fields: Fields) -> None:
        self.split: Callable[[str], list[str]] = (
            str.split if fields.choice("split", ["spaces", "penn"]) == "spaces" else tokenize
        )
        words = fields.section("words")
        self.words = {word: words.integer(word, 1, 2 * len(words.values) + 2) for word in words.values}
        self.unknown = None if fields.values.get("unknown") is None else fields.integer("unknown", 1, 2)

    def rows(self, first: list[Any], second: list[Any]) -> PairRows:
        rows = PairRows(first, second, lambda a, b: (self._ids(a), self._ids(b)))
        if self.unknown is None:
            for row in rows.good(list(range(rows.count))):
                strange = [w for text in (first[row], second[row]) for w in self.split(text) if w not in self.words]
                if strange:
                    rows.problems[row] = f"words that the vocabulary does not have: {', '.join(strange[:5])}"
        return rows

    def _ids(self, sentences: Sequence[str]) -> Tensor:
        numbers = [[self.words.get(word, self.unknown or PAD) for word in self.split(text)] for text in sentences]
        width = max(1, *map(len, numbers))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in numbers], dtype=torch.int64)


class TokenPairs(PairInputs):
    """Token numbers and masks by the tokenizer in the bundle: ``(ids_a, mask_a, ids_b, mask_b)``."""

    def __init__(self, fields: Fields, folder: Path) -> None:
        self.max_length = fields.integer("max_length", 1, 2**16)
        if not (folder / TOKENIZER).is_dir():
            raise BundleError(message(str(folder / TOKENIZER), "the bundle has no tokenizer"))
        self.tokenizer = load_tokenizer(str(folder / TOKENIZER))

    def rows(self, first: list[Any], second: list[Any]) -> PairRows:
        return PairRows(first, second, lambda a, b: (*self._tokens(a), *self._tokens(b)))

    def _tokens(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        tokens = self.tokenizer(
            sentences, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return tokens["input_ids"], tokens["attention_mask"]


class EmbeddingPairs(PairInputs):
    """Embeddings by the frozen sentence encoder of the run, float32 ``[N, D]`` for either side.

    The encoder is not in the bundle: it is found by its name, and its content must have the hash of the run.
    """

    def __init__(self, fields: Fields, text_encoder: str | Path | None) -> None:
        self.views = _read_views(fields)
        self.normalize = fields.flag("normalize")
        self.max_length = fields.integer("max_length", 1, 2**16)
        self.identity = fields.section("encoder")
        self.name = self.identity.text("name")
        self._given = None if text_encoder is None else str(text_encoder)
        self._found: str | None = None

    def rows(self, first: list[Any], second: list[Any]) -> PairRows:
        rows = PairRows(first, second, lambda a, b: (self._embed(a), self._embed(b)))
        good = rows.good(list(range(rows.count)))
        if good:
            # All sentences at once: repeated sentences are encoded once, and batches hold similar lengths.
            texts = sorted({text for row in good for text in (first[row], second[row])})
            vectors = self._embed(texts)
            place = {text: row for row, text in enumerate(texts)}

            def look_up(a: list[str], b: list[str]) -> tuple[Tensor, ...]:
                return vectors[[place[text] for text in a]], vectors[[place[text] for text in b]]

            return PairRows(first, second, look_up)
        return rows

    def _embed(self, texts: list[str]) -> Tensor:
        from dir.data.embeddings import sentence_embeddings

        encoder = self._encoder()
        return sentence_embeddings(
            texts, encoder, views=self.views, normalize=self.normalize, max_length=self.max_length
        )

    def _encoder(self) -> str:
        """Return the folder or hub name of the frozen encoder, once its content is known to be the run's."""
        if self._found is None:
            expected = self.identity.values.get("sha256")
            encoder = self._given or (default_encoder() if self.name == HUB_NAME else self.name)
            advice = "Give the encoder of the run: load(path, text_encoder=FOLDER), or text_encoder=FOLDER."
            local = Path(encoder).is_dir()
            if self._given is None and not (local and encoder == default_encoder()) and "/" not in self.name:
                raise BundleError(message(self.identity.name("name"), "a local folder of the run", self.name, advice))
            if local and expected is not None and content_hash(Path(encoder)) != expected:
                problem = "the sentence encoder is another one than the run's (its sha256 differs)"
                raise BundleError(message(encoder, problem, advice=advice))
            revision = self.identity.values.get("revision")
            if not local and revision is not None and encoder_identity(encoder)["revision"] != revision:
                problem = f"the hub has another revision than the run's {revision}"
                raise BundleError(message(encoder, problem, advice=advice))
            self._found = encoder
        return self._found


def pair_inputs(fields: Fields, folder: Path, text_encoder: str | Path | None = None) -> PairInputs:
    """Return the encoder of sentence pairs that a section describes."""
    form = fields.choice("form", ["words", "tokens", "embeddings"])
    if form == "words":
        return WordPairs(fields)
    return TokenPairs(fields, folder) if form == "tokens" else EmbeddingPairs(fields, text_encoder)


def _columns(inputs: Any) -> tuple[list[Any], list[Any]]:
    if hasattr(inputs, "columns") or isinstance(inputs, dict):
        lacking = [name for name in COLUMNS if name not in inputs]
        if lacking:
            raise ValueError(message("inputs", f"expected the columns {', '.join(COLUMNS)}, missing {lacking[0]}"))
        first, second = (list(inputs[name]) for name in COLUMNS)
        return first, second
    pairs = list(inputs)
    wrong = [row for row, pair in enumerate(pairs) if isinstance(pair, str) or len(pair) != 2]
    if wrong:
        raise ValueError(
            message("inputs", f"expected pairs of texts, row {wrong[0] + 1} is no pair", pairs[wrong[0]])
        )
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _read_views(fields: Fields) -> list[tuple[str, int]]:
    found = []
    views = fields.values.get("views")
    for view in views if isinstance(views, list) and 0 < len(views) <= 64 else [None]:
        if not isinstance(view, list) or len(view) != 2 or view[0] not in ("mean", "max") or type(view[1]) is not int:
            raise BundleError(message(fields.name("views"), "expected pairs of a pooling and a layer", views))
        found.append((str(view[0]), int(view[1])))
    return found
