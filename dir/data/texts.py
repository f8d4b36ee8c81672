"""TextData: regression on one or two columns of text of any csv or tsv file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import check_choice, check_integer, message
from dir._sentence_encoder import check_max_length, cut_texts, default_encoder, encoder_identity, load_tokenizer
from dir.data.arrays import ArrayDataset, Inputs
from dir.data.base import RegressionData
from dir.data.csv_reading import as_options
from dir.data.describe import shared_rows
from dir.data.embeddings import View, sentence_embeddings
from dir.data.identity import text_ids
from dir.data.splits import SPLITS, Names, check_share
from dir.data.table_splits import split_copies
from dir.data.target_names import label_dtype_of, target_names, target_setting
from dir.data.text_reading import Texts, read_texts, text_columns


class TextData(RegressionData):
    """Regression on one or two columns of text of a csv or tsv file.

    Splits that are not given by a column are drawn over the *distinct* texts: rows with the same texts are in the
    same split. With ``group`` whole groups are drawn.

    Args:
        path: csv or tsv file with a header.
        text: column of text, or two of them. Two texts are an ordered pair, such as a word and its sentence.
        target: column to predict, a number; or a list of several.
        encoder: hub name or local folder of a transformers model; None (default) for the bundled all-MiniLM-L6-v2
            (extra ``minilm``) if installed, else its hub name.
        form: "embeddings" (default) of the frozen encoder, computed once; or "tokens" for an encoder that is trained.
        views: of embeddings: pairs of a pooling ("mean" or "max") and a layer (0 the word embeddings, -1 the last
            layer). Their vectors, each of length one, are concatenated. None (default): the mean of the last layer.
        cache_dir: of embeddings: folder in which they are kept; None (default) computes them in every run.
        max_length: largest number of tokens of a text; longer texts are cut, and the data report counts them.
        split_column: column of the splits: train, val (or dev, valid, validation, trial) and test, or 0, 1, 2. None
            (default): splits are drawn by the seed.
        split: "balanced" (default): val and test are balanced over the label range; or "random". Only without
            ``split_column`` and ``group``.
        share: largest share of the distinct texts for val, and for test; in (0, 0.33]. Default 0.13.
        group: column of identities (authors, documents). Whole groups are drawn by the seed and ``split`` is
            ignored; with ``split_column`` a group in two splits is refused. None (default): rows are drawn.
        split_bins: number of bins of the balanced split if labels are not whole numbers. Default 50.
        sep, decimal, thousands, encoding, na_values, quoting: how the file is written; see
            :class:`~dir.data.csv_reading.CsvOptions`. ``sep=None`` (default) is a tab for ``.tsv`` files and a comma
            for others.
        batch_size, eval_batch_size, num_workers: see :class:`~dir.data.base.RegressionData`.
        seed: draws the split, and the training order.

    Shape:
        A batch of embeddings is (float32 [N, D], labels [N]), or ((float32 [N, D], float32 [N, D]), labels [N]) for
        two texts. A batch of tokens is ((ids, mask), labels [N]), int64 [N, L] with L tokens in the longest text of
        the batch, or ((ids_a, mask_a, ids_b, mask_b), labels [N]) for two texts. Labels of K targets are [N, K].

    Raises:
        FileNotFoundError: if there is no file at ``path``, or the encoder cannot be loaded.
        ValueError: for files that may be misread, see :func:`~dir.data.text_reading.read_texts`.
    """

    def __init__(
        self,
        path: str,
        text: str | Sequence[str],
        target: str | Sequence[str],
        encoder: str | None = None,
        form: Literal["embeddings", "tokens"] = "embeddings",
        views: Sequence[View] | None = None,
        cache_dir: str | None = None,
        max_length: int = 256,
        split_column: str | None = None,
        split: Literal["balanced", "random"] = "balanced",
        share: float = 0.13,
        group: str | None = None,
        split_bins: int = 50,
        sep: str | None = None,
        decimal: str = ".",
        thousands: str | None = None,
        encoding: str = "utf-8",
        na_values: Sequence[str] = (),
        quoting: str = "minimal",
        batch_size: int = 64,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        check_choice("data.form", form, ("embeddings", "tokens"))
        for key, given in (("data.views", views), ("data.cache_dir", cache_dir)):
            if form == "tokens" and given is not None:
                raise ValueError(message(key, "not read with data.form=tokens", given, "Remove the setting."))
        check_choice("data.split", split, ("balanced", "random"))
        check_share(share)
        check_integer("data.split_bins", split_bins)
        check_integer("data.max_length", max_length, minimum=4)
        self.text = text_columns(text)
        self.targets = target_names(target)
        named = [("data.target", name) for name in self.targets]
        for key, name in (*named, ("data.split_column", split_column), ("data.group", group)):
            if name is not None and name in self.text:
                raise ValueError(message(key, "expected a column that is not in data.text", name))
            if key != "data.target" and name in self.targets:
                raise ValueError(message(key, "expected another column than data.target", name))
        self.path = Path(path).expanduser()
        tabs = self.path.suffix.lower() == ".tsv"
        chosen = sep if sep is not None else "\t" if tabs else ","
        self.csv_options = as_options(chosen, decimal, thousands, encoding, na_values, quoting)
        self.encoder = encoder or default_encoder()
        self.form = form
        self.views: list[View] = [("mean", -1)] if views is None else [(str(pool), int(n)) for pool, n in views]
        self.cache_dir = cache_dir
        self.max_length = max_length
        self.split_column = split_column
        self.split = split
        self.share = share
        self.group = group
        self.split_bins = split_bins
        self._notes: list[str] = []
        self._width = 0

    def build(self) -> dict[str, Dataset[Any]]:
        read = read_texts(self.path, self.text, self.targets, self.split_column, self.group, self.csv_options)
        check_max_length(self.encoder, self.max_length)
        rows = read.rows
        placed = self.place_rows(lambda: text_ids(rows, read.labels), lambda: self._names(read))
        for name in SPLITS:
            if not len(placed[name]):
                problem = f"{len(rows)} rows leave none for {name} with data.split={self.split}"
                advice = "Give more rows, a larger data.share, fewer data.split_bins, or data.split=random."
                raise ValueError(message(str(self.path), f"{problem} and data.share={self.share}", advice=advice))
        self.label_dtype = label_dtype_of(read.labels)
        cut = cut_texts(set().union(*read.columns), self.encoder, self.max_length)
        count = sum(any(text in cut for text in row) for row in rows)
        self._notes = []
        if count:
            advice = "data.max_length sets the limit."
            problem = f"texts: {count} of {len(rows)} rows have a text that is cut at {self.max_length} tokens"
            self._notes.append(f"{problem}. {advice}")
        for name, shared in shared_rows(rows, placed).items():
            if shared:
                self._notes.append(
                    f"texts: {shared} of {len(placed[name])} {name} rows have the texts of a training row."
                )
        encoded = self._encode(read.columns)
        labels = torch.tensor(read.labels, dtype=self.label_dtype)
        datasets: dict[str, Dataset[Any]] = {}
        for name in SPLITS:
            index = torch.from_numpy(placed[name])
            parts = tuple(tensor.index_select(0, index) for side in encoded for tensor in side)
            own: Inputs = parts[0] if len(parts) == 1 else parts
            transform = trim if self.form == "tokens" else None
            datasets[name] = ArrayDataset(own, labels[index], transform, self.label_dtype)
        return datasets

    def files(self) -> dict[str, Path]:
        return {"data.path": self.path}

    def settings(self) -> dict[str, Any]:
        drawn = ("split", "share", "split_bins", "seed") if self.split_column is None else ()
        own = {"text": self.text, "target": target_setting(self.targets)}
        own |= {name: getattr(self, name) for name in ("split_column", "group", *drawn)}
        return own | self.csv_options.to_dict() | self._encoding()

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "notes": self._notes}

    def encoder_args(self) -> dict[str, Any]:
        self.setup()
        if self.form == "tokens":
            return {"texts": len(self.text), "encoder": self.encoder}
        return {"texts": len(self.text), "in_features": self._width, "views": len(self.views)}

    def encoding(self) -> dict[str, Any]:
        own = {
            "kind": "texts",
            "columns": self.text,
            # An evaluation by the bundle reads the labels of one target; the bundle lists several elsewhere.
            "target": self.targets[0],
            "csv": self.csv_options.to_dict(),
        }
        return own | self._encoding()

    def _encoding(self) -> dict[str, Any]:
        """Return what decides the numbers that the network sees of a text."""
        found: dict[str, Any] = {
            "form": self.form,
            "encoder": encoder_identity(self.encoder),
            "max_length": self.max_length,
        }
        if self.form == "embeddings":
            found |= {"views": [list(view) for view in self.views], "normalize": True}
        return found

    def _encode(self, columns: list[list[str]]) -> list[tuple[Tensor, ...]]:
        """Return the embeddings, or the token numbers and masks, of each column."""
        if self.form == "tokens":
            tokenizer = load_tokenizer(self.encoder)
            settings = {"padding": True, "truncation": True, "max_length": self.max_length, "return_tensors": "pt"}
            found = [tokenizer(column, **settings) for column in columns]
            return [(tokens["input_ids"], tokens["attention_mask"]) for tokens in found]
        texts = [text for column in columns for text in column]
        table = sentence_embeddings(
            texts, self.encoder, views=self.views, max_length=self.max_length, cache_dir=self.cache_dir
        )
        self._width = table.shape[1]
        return [(part,) for part in table.chunk(len(columns))]

    def _names(self, read: Texts) -> Names:
        if read.split is not None:
            return read.split
        return split_copies(
            read.copies(), read.labels, self.split, self.share, self.split_bins, self.seed, read.groups
        )


def trim(inputs: Inputs) -> Inputs:
    """Return token numbers and masks of a batch without the columns that are padding in every row.

    Example:
        >>> ids, mask = torch.tensor([[5, 6, 0], [7, 0, 0]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
        >>> trim((ids, mask))[0].tolist()
        [[5, 6], [7, 0]]
    """
    parts: list[Tensor] = []
    for ids, mask in zip(inputs[::2], inputs[1::2], strict=True):
        longest = int(mask.sum(dim=1).max())
        parts += [ids[:, :longest], mask[:, :longest]]
    return tuple(parts)
