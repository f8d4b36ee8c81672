"""STS-B-DIR: pairs of sentences with a similarity in [0, 5], as embeddings, tokens or words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import message
from dir._sentence_encoder import default_encoder, encoder_identity, load_tokenizer
from dir.data.arrays import ArrayDataset, Inputs
from dir.data.base import RegressionData
from dir.data.embeddings import View, sentence_embeddings
from dir.data.glove import UNKNOWN, Vocabulary, tokenize
from dir.data.identity import text_ids

log = logging.getLogger(__name__)

FILES = {"train": "train_new.tsv", "val": "dev_new.tsv", "test": "test_new.tsv"}
COLUMNS = ("sentence1", "sentence2", "score")
LOW, HIGH = 0.0, 5.0
FETCH = (
    "Fetch train_new.tsv, dev_new.tsv and test_new.tsv (the STS-B-DIR split) from sts-b-dir/glue_data/STS-B "
    "of https://github.com/YyzHarry/imbalanced-regression, put them into one folder and set data.path=FOLDER."
)


@dataclass(frozen=True)
class Pairs:
    """One split: the first sentences, the second sentences and the scores (float32 [N])."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float32]


def read_stsb(path: str | Path) -> Pairs:
    """Read one tab-separated file with the columns sentence1, sentence2 and score.

    These files have no quoting: a quotation mark is part of its sentence. (The default quoting of a csv reader would
    lose 133 rows of STS-B-DIR's training file and 43 of its test file.)

    Raises:
        FileNotFoundError: if there is no such file; the message says where to fetch it.
        ValueError: for text that is not UTF-8, for missing columns, for rows with a wrong number of fields and for
            scores outside [0, 5]; the lines are named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(message("data.path", f"file {path} not found", advice=FETCH))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(message(str(path), f"expected text in UTF-8 ({error})")) from error
    # Only "\n" ends a row: str.splitlines would also cut at other characters, which occur in sentences.
    header, *lines = (line.rstrip("\r").split("\t") for line in text.split("\n"))
    if lines and lines[-1] == [""]:
        lines.pop()
    _refuse(path, "text without zero bytes", ["\0" in "".join(row) for row in lines])
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(message(str(path), f"expected the columns {COLUMNS}; missing: {', '.join(missing)}"))
    _refuse(path, f"{len(header)} tab-separated fields", [len(row) != len(header) for row in lines])
    first, second, score = (header.index(column) for column in COLUMNS)
    scores = np.array([_number(row[score]) for row in lines])
    inside = (scores >= LOW) & (scores <= HIGH)  # False for NaN
    _refuse(path, f"a score in {LOW:g}..{HIGH:g}", [not ok for ok in inside])
    return Pairs([row[first] for row in lines], [row[second] for row in lines], scores.astype(np.float32))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _refuse(path: Path, expected: str, bad: Sequence[bool]) -> None:
    # The header is line 1.
    numbers = [str(number) for number, is_bad in enumerate(bad, start=2) if is_bad]
    if numbers:
        shown = ", ".join(numbers[:10]) + (", ..." if len(numbers) > 10 else "")
        raise ValueError(message(str(path), f"expected {expected}; {len(numbers)} rows differ, lines {shown}"))


class STSBData(RegressionData):
    """Base of the STS-B-DIR data modules: reads the three files; a subclass encodes the sentences.

    Args:
        path: folder with train_new.tsv, dev_new.tsv and test_new.tsv.
        batch_size, eval_batch_size, num_workers, seed: see :class:`dir.data.base.RegressionData`.

    Raises:
        FileNotFoundError, ValueError: by :meth:`setup`; see :func:`read_stsb`.
    """

    def __init__(
        self,
        path: str | Path,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.path = Path(path).expanduser()

    def build(self) -> dict[str, Dataset[Any]]:
        pairs = {split: read_stsb(self.path / file) for split, file in FILES.items()}
        first = [text for part in pairs.values() for text in part.first]
        second = [text for part in pairs.values() for text in part.second]
        scores = np.concatenate([part.scores for part in pairs.values()])
        placed = self.place_rows(
            lambda: text_ids(list(zip(first, second, strict=True)), scores),
            lambda: np.repeat(list(pairs), [len(part.scores) for part in pairs.values()]),
        )
        encoded = self.inputs(first + second)
        datasets: dict[str, Dataset[Any]] = {}
        for split, rows in placed.items():
            sides = (torch.from_numpy(rows), torch.from_numpy(rows + len(first)))
            inputs = tuple(tensor.index_select(0, side) for side in sides for tensor in encoded)
            datasets[split] = ArrayDataset(inputs, torch.from_numpy(scores[rows]), transform=self.transform)
        return datasets

    def files(self) -> dict[str, Path]:
        return {f"data.path/{file}": self.path / file for file in FILES.values()}

    def inputs(self, sentences: list[str]) -> tuple[Tensor, ...]:
        """Return one or more tensors with a row for each sentence."""
        raise NotImplementedError(f"{type(self).__name__} must implement inputs()")

    def transform(self, inputs: Inputs) -> Inputs:
        """Transform the inputs of a fetched batch. The base class returns them unchanged."""
        return inputs


class STSBEmbeddings(STSBData):
    """STS-B-DIR with frozen sentence embeddings; a batch's inputs are ``(u, v)``, float32 ``[N, D]`` each.

    Args:
        path: folder with train_new.tsv, dev_new.tsv and test_new.tsv.
        encoder: hub name or local folder of a transformers model; None for the bundled all-MiniLM-L6-v2 (extra
            ``minilm``) if installed, else its hub name.
        views: pairs of a pooling ("mean" or "max") and a layer (0 the word embeddings, -1 the last layer); their
            vectors are concatenated.
        normalize: whether the vector of each view is scaled to length one.
        cache_dir: folder of the cached embeddings; None computes them in every run.
        batch_size, eval_batch_size, num_workers, seed: see :class:`dir.data.base.RegressionData`.
    """

    def __init__(
        self,
        path: str | Path,
        encoder: str | None = None,
        views: Sequence[View] = (("mean", -1),),
        normalize: bool = True,
        cache_dir: str | Path | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(path, batch_size, eval_batch_size, num_workers, seed)
        self.encoder = encoder
        self.views = views
        self.normalize = normalize
        self.cache_dir = cache_dir
        self._width: int | None = None

    def inputs(self, sentences: list[str]) -> tuple[Tensor, ...]:
        table = sentence_embeddings(
            sentences, self.encoder, views=self.views, normalize=self.normalize, cache_dir=self.cache_dir
        )
        self._width = table.shape[1]
        return (table,)

    def encoder_args(self) -> dict[str, Any]:
        self.setup()
        return {"in_features": self._width, "views": len(self.views)}

    def encoding(self) -> dict[str, Any]:
        return {
            "kind": "pairs",
            "form": "embeddings",
            "encoder": encoder_identity(self.encoder or default_encoder()),
            "views": [list(view) for view in self.views],
            "normalize": self.normalize,
            "max_length": 128,
        }

    def settings(self) -> dict[str, Any]:
        return {
            "encoder": encoder_identity(self.encoder or default_encoder()),
            "views": [list(view) for view in self.views],
            "normalize": self.normalize,
        }


class STSBTokens(STSBData):
    """STS-B-DIR tokenised for a transformer that is trained.

    A batch's inputs are ``(ids_a, mask_a, ids_b, mask_b)``, int64 ``[N, L]``, with L tokens in the longest sentence.

    Args:
        path: folder with train_new.tsv, dev_new.tsv and test_new.tsv.
        encoder: hub name or local folder; None as for :class:`STSBEmbeddings`.
        max_length: largest number of tokens; longer sentences are cut.
        batch_size, eval_batch_size, num_workers, seed: see :class:`dir.data.base.RegressionData`.
    """

    def __init__(
        self,
        path: str | Path,
        encoder: str | None = None,
        max_length: int = 64,
        batch_size: int = 32,
        eval_batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(path, batch_size, eval_batch_size, num_workers, seed)
        self.encoder = encoder or default_encoder()
        self.max_length = max_length

    def inputs(self, sentences: list[str]) -> tuple[Tensor, ...]:
        tokens = load_tokenizer(self.encoder)(
            sentences, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return tokens["input_ids"], tokens["attention_mask"]

    def transform(self, inputs: Inputs) -> Inputs:
        ids_a, mask_a, ids_b, mask_b = inputs
        long_a, long_b = (int(mask.sum(dim=1).max()) for mask in (mask_a, mask_b))
        return ids_a[:, :long_a], mask_a[:, :long_a], ids_b[:, :long_b], mask_b[:, :long_b]

    def encoder_args(self) -> dict[str, Any]:
        return {"encoder": self.encoder}

    def encoding(self) -> dict[str, Any]:
        return {
            "kind": "pairs",
            "form": "tokens",
            "encoder": encoder_identity(self.encoder),
            "max_length": self.max_length,
        }

    def settings(self) -> dict[str, Any]:
        return {"encoder": encoder_identity(self.encoder), "max_length": self.max_length}


class STSBWords(STSBData):
    """STS-B-DIR as words with frozen GloVe vectors; inputs are ``(ids_a, ids_b)``, int64 ``[N, L]``.

    Args:
        path: folder with train_new.tsv, dev_new.tsv and test_new.tsv.
        glove: a GloVe text file (published: glove.840B.300d.txt).
        batch_size, eval_batch_size, num_workers, seed: see :class:`dir.data.base.RegressionData`.
    """

    def __init__(
        self,
        path: str | Path,
        glove: str | Path,
        batch_size: int = 128,
        eval_batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(path, batch_size, eval_batch_size, num_workers, seed)
        self.glove = Path(glove).expanduser()
        self.vectors: Tensor | None = None
        self.words: dict[str, int] = {}

    def inputs(self, sentences: list[str]) -> tuple[Tensor, ...]:
        words = [tokenize(sentence) for sentence in sentences]
        vocabulary = Vocabulary(words, self.glove)
        log.info("GloVe has vectors for %d words and none for %d words.", len(vocabulary.ids), vocabulary.missing)
        self.vectors = vocabulary.vectors
        self.words = vocabulary.ids
        return (vocabulary.encode(words),)

    def encoder_args(self) -> dict[str, Any]:
        if self.vectors is None:
            raise RuntimeError("STSBWords is not set up. Call setup() first.")
        return {"embeddings": self.vectors}

    def encoding(self) -> dict[str, Any]:
        self.setup()
        return {"kind": "pairs", "form": "words", "split": "penn", "unknown": UNKNOWN, "words": self.words}

    def files(self) -> dict[str, Path]:
        return super().files() | {"data.glove": self.glove}
