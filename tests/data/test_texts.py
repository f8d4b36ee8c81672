"""Texts of any csv or tsv: reading, splits, encodings, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dir._sentence_encoder import cut_texts
from dir.data import TextData
from dir.data.describe import format_description
from dir.data.embeddings import sentence_embeddings
from dir.data.text_reading import text_columns

WORDS = ("a", "cat", "two", "dogs", "tall", "word", "five")


def frame(rows: int = 60) -> pd.DataFrame:
    """Different pairs of a word and a sentence, with a label, a split and an author."""
    numbers = np.arange(rows)
    sentences = [" ".join(WORDS[int(d)] for d in np.base_repr(n + 49, 7)) + " ." for n in numbers]
    return pd.DataFrame(
        {
            "word": [WORDS[n % 7] for n in numbers],
            "sentence": sentences,
            "score": (numbers * 7 % 31) / 10,
            "split": [("train", "train", "train", "dev", "test")[n % 5] for n in numbers],
            "author": numbers // 4,
        }
    )


@pytest.fixture
def make(tmp_path: Path, tiny_encoder: Callable[..., Path]) -> Callable[..., TextData]:
    """`make(table, quoting="none")` -> the data of a written tsv, set up."""
    encoder = tiny_encoder()

    def build(table: pd.DataFrame | str, **settings: Any) -> TextData:
        path = tmp_path / "texts.tsv"
        written = table if isinstance(table, str) else table.to_csv(index=False, sep="\t")
        path.write_text(written, encoding="utf-8")
        chosen = {"text": ["word", "sentence"], "target": "score", "max_length": 32, "encoder": str(encoder)}
        data = TextData(str(path), **(chosen | settings))
        data.setup()
        return data

    return build


def test_two_texts_keep_their_order_and_the_split_column_is_read(make: Callable[..., TextData]) -> None:
    table = frame()
    data = make(table, split_column="split")
    for name, own in (("train", "train"), ("val", "dev"), ("test", "test")):
        part = table[table["split"] == own]
        (words, sentences), labels = data.dataset(name).__getitems__(list(range(len(part))))
        expected = sentence_embeddings([*part["word"], *part["sentence"]], data.encoder, max_length=32)
        torch.testing.assert_close(words, expected[: len(part)])
        torch.testing.assert_close(sentences, expected[len(part) :])
        np.testing.assert_allclose(labels.numpy(), part["score"], rtol=1e-6)
    assert data.encoder_args() == {"texts": 2, "in_features": 8, "views": 1}


def test_several_scores_of_a_sentence_are_columns_of_the_labels(make: Callable[..., TextData]) -> None:
    table = frame().assign(arousal=np.arange(60) % 9 + 0.25)
    data = make(table, target=["score", "arousal"], split_column="split")
    part = table[table["split"] == "dev"]
    np.testing.assert_allclose(data.labels("val").numpy(), part[["score", "arousal"]], rtol=1e-6)
    assert list(data.describe()["splits"]["val"]) == ["score", "arousal"]
    assert data.settings()["target"] == ["score", "arousal"]
    assert data.encoding()["target"] == "score"
    # A changed label of the second score is another row.
    changed = table.assign(arousal=table["arousal"] + (table.index == 5))
    other = make(changed, target=["score", "arousal"], split_column="split")
    before, after = ({id for ids in one.split_ids().values() for id in ids} for one in (data, other))
    assert len(after - before) == 1
    table.loc[[3, 9], "arousal"] = np.nan
    with pytest.raises(ValueError, match=r"column 'arousal': missing values in rows 4, 10"):
        make(table, target=["score", "arousal"])


def test_one_text_gives_one_tensor_and_tokens_are_trimmed(make: Callable[..., TextData]) -> None:
    data = make(frame(), text="sentence", split_column="split")
    inputs, _ = data.dataset("val").__getitems__([0, 1])
    assert isinstance(inputs, torch.Tensor)
    assert inputs.shape == (2, 8)
    tokens = make(frame(), form="tokens", split_column="split")
    (ids, mask, long_ids, long_mask), _ = tokens.dataset("val").__getitems__([0, 1])
    assert ids.shape == mask.shape == (2, 3)  # [CLS] word [SEP]
    assert long_ids.shape == long_mask.shape == (2, 3 + 3)  # three words and a full stop
    assert tokens.encoder_args() == {"texts": 2, "encoder": tokens.encoder}


@pytest.mark.parametrize("split", ["balanced", "random"])
def test_drawn_splits_keep_equal_texts_together(make: Callable[..., TextData], split: str) -> None:
    table = pd.concat([frame(), frame().assign(score=9.0)], ignore_index=True)
    data = make(table, split=split, split_bins=4, seed=3)
    place = {row: name for name in ("train", "val", "test") for row in data.row_numbers(name)}
    assert len(place) == 120
    assert all(place[row] == place[row + 60] for row in range(60))
    assert min(len(data.labels(name)) for name in ("val", "test")) >= 2
    assert data.describe()["notes"] == []
    with pytest.raises(ValueError, match=r"60 rows leave none for val with data\.split=balanced"):
        make(frame(), split_bins=500)


def test_groups_are_kept_whole_and_a_group_in_two_given_splits_is_refused(make: Callable[..., TextData]) -> None:
    data = make(frame(), group="author")
    authors = {name: {row // 4 for row in data.row_numbers(name)} for name in ("train", "val", "test")}
    assert not authors["train"] & authors["val"]
    assert not authors["train"] & authors["test"]
    with pytest.raises(ValueError, match=r"column 'author': 15 groups are in more than one split"):
        make(frame(), group="author", split_column="split")


def test_texts_are_taken_as_they_stand() -> None:
    assert text_columns(["a", "b"]) == ["a", "b"]
    for wrong in ([], ["a", "b", "c"], ["a", "a"], [1], None):
        with pytest.raises(ValueError, match=r"data\.text: expected the name of one column"):
            text_columns(wrong)


def test_null_is_a_word_and_quotation_marks_belong_to_their_text(make: Callable[..., TextData]) -> None:
    lines = ["word\tsentence\tscore\tsplit"]
    for row, split in enumerate(["train", "train", "val", "test"]):
        lines.append(f'null\t"a cat {"tall " * row}\t{row}\t{split}')
    data = make("\n".join(lines) + "\n", split_column="split", quoting="none", text=["word", "sentence"])
    expected = sentence_embeddings(["null", '"a cat tall '], data.encoder, max_length=32)
    (word, sentence), label = data.dataset("train")[1]
    torch.testing.assert_close(word, expected[0])
    torch.testing.assert_close(sentence, expected[1])
    assert label == 1.0
    with pytest.raises(ValueError, match=r"neither enclose a text nor are doubled .* Set data\.quoting=none"):
        make("\n".join(lines) + "\n", split_column="split")
    # A mark that opens one text and a mark that ends another one join their rows, as if quoted.
    with pytest.raises(ValueError, match=r"1 rows below the header, and 2 rows if .* Set data\.quoting=none"):
        make('word\tsentence\tscore\na\t"a cat\t1\na\ttall"\t2\n')
    with pytest.raises(ValueError, match=r"neither enclose a text nor are doubled .* Set data\.quoting=none"):
        make('word\tsentence\tscore\na\t"a cat" tall\t1\n')


def test_texts_of_several_lines_in_quotation_marks_are_read(make: Callable[..., TextData]) -> None:
    table = frame()
    table.loc[1, "sentence"] = 'a cat\ntwo "tall" dogs\t.'
    data = make(table, split_column="split", text="sentence")
    expected = sentence_embeddings([table.loc[1, "sentence"]], data.encoder, max_length=32)[0]
    torch.testing.assert_close(data.dataset("train")[1][0], expected)


def test_all_problems_of_a_file_are_listed_with_their_rows(make: Callable[..., TextData]) -> None:
    table = frame(20)
    table.loc[[2, 6], "sentence"] = ["", "  "]
    table["score"] = table["score"].astype(object)
    table.loc[4, "score"] = "high"
    table.loc[9, "split"] = None
    with pytest.raises(ValueError, match="3 problems") as caught:
        make(table, split_column="split")
    text = str(caught.value)
    assert "column 'sentence': no text in rows 3, 7." in text
    assert "column 'score': 1 values are not finite numbers, the first is 'high'; rows 5" in text
    assert "column 'split': missing values in rows 10" in text
    with pytest.raises(ValueError, match=r"no column 'sentnce' \(data\.text; found: 'word', 'sentence'"):
        make(frame(), text="sentnce")
    with pytest.raises(
        ValueError, match=r"expected train, val, test or 0, 1, 2; 12 entries differ: 'held' \(row 5\)"
    ):
        make(frame().replace({"split": {"test": "held"}}), split_column="split")


def test_long_texts_are_counted_and_shared_texts_are_said(make: Callable[..., TextData]) -> None:
    table = frame()
    table.loc[[0, 7], "sentence"] = "a cat " * 10
    table.loc[[0, 7], "word"] = "cat"
    table.loc[[0, 7], "split"] = ["train", "test"]
    table.loc[3, "sentence"] = "two dogs " * 7  # 14 tokens and the two at the ends
    data = make(table, split_column="split", max_length=16)
    assert data.describe()["notes"] == [
        "texts: 2 of 60 rows have a text that is cut at 16 tokens. data.max_length sets the limit.",
        "texts: 1 of 13 test rows have the texts of a training row.",
    ]
    assert "texts: 2 of 60 rows have a text that is cut" in format_description(data.describe())
    with pytest.raises(ValueError, match=r"data\.max_length: the encoder takes at most 32 tokens, got 33"):
        make(table, split_column="split", max_length=33)


def test_cut_texts_counts_the_tokens_at_the_ends(tiny_encoder: Callable[..., Path]) -> None:
    encoder = str(tiny_encoder())
    texts = ["a " * 14, "a " * 15]
    assert cut_texts(texts, encoder, 16) == {texts[1]}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": ["score", "score"]}, r"data\.target: expected each column once"),
        ({"target": ["score", "word"]}, r"data\.target: expected a column that is not in data\.text"),
        (
            {"target": ["score", "author"], "group": "author"},
            r"data\.group: expected another column than data\.target",
        ),
        ({"target": "word"}, r"data\.target: expected a column that is not in data\.text"),
        ({"split_column": "score"}, r"data\.split_column: expected another column than data\.target"),
        ({"form": "tokens", "views": [["mean", 0]]}, r"data\.views: not read with data\.form=tokens"),
        ({"form": "words"}, r"data\.form: expected one of 'embeddings', 'tokens'"),
        ({"quoting": "all"}, r"data\.quoting: expected one of 'minimal', 'none'"),
        ({"encoder": "/nowhere/else"}, r"data\.encoder: cannot load '/nowhere/else'"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    make: Callable[..., TextData], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        make(frame(), **settings)


def test_a_restored_split_finds_its_rows_in_another_order(make: Callable[..., TextData]) -> None:
    saved = make(frame(), split_bins=4).split_ids()
    data = make(frame().iloc[::-1], split_bins=4, seed=5)
    assert data.split_ids() != saved
    data.restore_split(saved)
    assert data.split_ids() == saved
    assert data.settings()["text"] == ["word", "sentence"]
