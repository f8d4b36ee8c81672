"""Texts, and pairs of texts, as embeddings, tokens or words, encoded as in training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dir._checks import message
from dir._sentence_encoder import (
    HUB_NAME,
    content_hash,
    cut_texts,
    default_encoder,
    encoder_identity,
    load_tokenizer,
)
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs.csv_options import read_csv_options
from dir.bundle.inputs.rows import InputEncoder, Inputs, Rows, no_options
from dir.data.glove import PAD, tokenize

COLUMNS = ("sentence1", "sentence2")
TOKENIZER = "tokenizer"
Columns = list[list[Any]]
Encode = Callable[[Columns], tuple[Tensor, ...]]

log = logging.getLogger(__name__)


class TextRows(Rows):
    """Rows of one or more texts, encoded when their batch is needed.

    Args:
        columns: the texts of each column.
        encode: returns the tensors of the network for such columns.
        blank: whether a text may be empty.
    """

    def __init__(self, columns: Columns, encode: Encode, blank: bool) -> None:
        super().__init__(len(columns[0]))
        self.columns = columns
        self._encode = encode
        wanted = "a text" if len(columns) == 1 else "two texts"
        for row, texts in enumerate(zip(*columns, strict=True)):
            if not all(isinstance(text, str) and (blank or text.strip()) for text in texts):
                self.problems[row] = f"expected {wanted}, got {texts[0] if len(texts) == 1 else texts!r}"

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        parts = self._encode([[column[i] for i in indices] for column in self.columns])
        return indices, parts[0] if len(parts) == 1 else parts


class TextInputs(InputEncoder):
    """Texts of one or two columns: a frame with these columns, or a list of texts or of pairs of texts.

    Attributes:
        kind: "texts"; or "pairs" of sentences, with the columns sentence1 and sentence2.
        columns: names of the columns.
        csv: how a file of such rows is written; None for pairs.
        target: column of the label; None for pairs.
    """

    def __init__(self, fields: Fields) -> None:
        self.kind = fields.choice("kind", ["pairs", "texts"])
        self.columns: tuple[str, ...] = COLUMNS
        self.target: str | None = None
        if self.kind == "texts":
            self.columns = tuple(fields.texts("columns"))
            self.csv = read_csv_options(fields.section("csv"))
            self.target = fields.text("target")
        if len(self.columns) not in (1, 2):
            raise BundleError(message(fields.name("columns"), "expected one or two columns", self.columns))

    def open(self, inputs: Any, **options: Any) -> TextRows:
        no_options(options)
        return self.rows(self._read(inputs))

    def rows(self, columns: Columns) -> TextRows:
        """Return the rows of texts, one list for each column."""
        return TextRows(columns, self.encode, self.kind == "pairs")

    def encode(self, columns: Columns) -> tuple[Tensor, ...]:
        """Return the tensors of the network for good texts."""
        raise NotImplementedError

    def _read(self, inputs: Any) -> Columns:
        if hasattr(inputs, "columns") or isinstance(inputs, dict):
            lacking = [name for name in self.columns if name not in inputs]
            if lacking:
                problem = f"expected the columns {', '.join(self.columns)}, missing {lacking[0]}"
                raise ValueError(message("inputs", problem))
            return [list(inputs[name]) for name in self.columns]
        if isinstance(inputs, str):
            raise ValueError(message("inputs", "expected a list of texts, or a frame", inputs))
        rows = list(inputs)
        if len(self.columns) == 1:
            return [rows]
        wrong = [row for row, pair in enumerate(rows) if isinstance(pair, str) or len(pair) != 2]
        if wrong:
            problem = f"expected pairs of texts, row {wrong[0] + 1} is no pair"
            raise ValueError(message("inputs", problem, rows[wrong[0]]))
        return [[pair[0] for pair in rows], [pair[1] for pair in rows]]


class WordTexts(TextInputs):
    """Word numbers from the vocabulary of the training run, int64 ``[N, longest]`` for each column.

    A word that the vocabulary does not have takes the number ``unknown``; without such a number its row cannot be
    predicted.
    """

    def __init__(self, fields: Fields) -> None:
        super().__init__(fields)
        self.split: Callable[[str], list[str]] = (
            str.split if fields.choice("split", ["spaces", "penn"]) == "spaces" else tokenize
        )
        words = fields.section("words")
        self.words = {word: words.integer(word, 1, 2 * len(words.values) + 2) for word in words.values}
        self.unknown = None if fields.values.get("unknown") is None else fields.integer("unknown", 1, 2)

    def rows(self, columns: Columns) -> TextRows:
        rows = super().rows(columns)
        if self.unknown is None:
            for row in rows.good(list(range(rows.count))):
                strange = [word for texts in columns for word in self.split(texts[row]) if word not in self.words]
                if strange:
                    rows.problems[row] = f"words that the vocabulary does not have: {', '.join(strange[:5])}"
        return rows

    def encode(self, columns: Columns) -> tuple[Tensor, ...]:
        return tuple(self._ids(column) for column in columns)

    def _ids(self, sentences: Sequence[str]) -> Tensor:
        numbers = [[self.words.get(word, self.unknown or PAD) for word in self.split(text)] for text in sentences]
        width = max(1, *map(len, numbers))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in numbers], dtype=torch.int64)


class TokenTexts(TextInputs):
    """Token numbers and masks by the tokenizer in the bundle: ``(ids, mask)`` for each column."""

    def __init__(self, fields: Fields, folder: Path) -> None:
        super().__init__(fields)
        self.max_length = fields.integer("max_length", 1, 2**16)
        self.folder = folder / TOKENIZER
        if not self.folder.is_dir():
            raise BundleError(message(str(self.folder), "the bundle has no tokenizer"))
        self.tokenizer = load_tokenizer(str(self.folder))

    def rows(self, columns: Columns) -> TextRows:
        rows = super().rows(columns)
        warn_of_cut_texts(rows, str(self.folder), self.max_length)
        return rows

    def encode(self, columns: Columns) -> tuple[Tensor, ...]:
        return tuple(part for column in columns for part in self._tokens(column))

    def _tokens(self, texts: list[Any]) -> tuple[Tensor, Tensor]:
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        return tokens["input_ids"], tokens["attention_mask"]


class EmbeddingTexts(TextInputs):
    """Embeddings by the frozen sentence encoder of the run, float32 ``[N, D]`` for each column.

    The encoder is not in the bundle: it is found by its name, and its content must have the hash of the run.
    """

    def __init__(self, fields: Fields, text_encoder: str | Path | None) -> None:
        super().__init__(fields)
        self.views = _read_views(fields)
        self.normalize = fields.flag("normalize")
        self.max_length = fields.integer("max_length", 1, 2**16)
        self.identity = fields.section("encoder")
        self.name = self.identity.text("name")
        self._given = None if text_encoder is None else str(text_encoder)
        self._found: str | None = None

    def rows(self, columns: Columns) -> TextRows:
        rows = super().rows(columns)
        good = rows.good(list(range(rows.count)))
        if not good:
            return rows
        warn_of_cut_texts(rows, self._encoder(), self.max_length)
        # All texts at once: repeated texts are encoded once, and batches hold similar lengths.
        texts = sorted({column[row] for column in columns for row in good})
        vectors = self._embed(texts)
        place = {text: row for row, text in enumerate(texts)}

        def look_up(columns: Columns) -> tuple[Tensor, ...]:
            return tuple(vectors[[place[text] for text in column]] for column in columns)

        return TextRows(columns, look_up, self.kind == "pairs")

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


def text_inputs(fields: Fields, folder: Path, text_encoder: str | Path | None = None) -> TextInputs:
    """Return the encoder of texts that a section describes."""
    form = fields.choice("form", ["words", "tokens", "embeddings"])
    if form == "words":
        return WordTexts(fields)
    return TokenTexts(fields, folder) if form == "tokens" else EmbeddingTexts(fields, text_encoder)


def warn_of_cut_texts(rows: TextRows, encoder: str, max_length: int) -> None:
    """Log how many good rows have a text of more than ``max_length`` tokens, of which the rest is not read."""
    good = rows.good(list(range(rows.count)))
    cut = cut_texts({column[row] for column in rows.columns for row in good}, encoder, max_length)
    count = sum(any(column[row] in cut for column in rows.columns) for row in good)
    if count:
        log.warning(
            "%d of %d rows have a text that is cut at %d tokens, as in training.", count, rows.count, max_length
        )


def _read_views(fields: Fields) -> list[tuple[str, int]]:
    found = []
    views = fields.values.get("views")
    for view in views if isinstance(views, list) and 0 < len(views) <= 64 else [None]:
        if not isinstance(view, list) or len(view) != 2 or view[0] not in ("mean", "max") or type(view[1]) is not int:
            raise BundleError(message(fields.name("views"), "expected pairs of a pooling and a layer", views))
        found.append((str(view[0]), int(view[1])))
    return found
