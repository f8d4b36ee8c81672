"""The STS-B-DIR reader and its three data modules."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.data.stsb import STSBEmbeddings, STSBTokens, STSBWords, read_stsb
from dir.metrics import STSB_DIR_SHOTS

HEADER = "index\tgenre\tsentence1\tsentence2\tscore"
ROWS = ['0\tnews\tA "quoted word\tA cat.\t2.5', "1\tnews\tTwo dogs.\tA cat.\t0", '2\tnews\tfive" tall\tTall.\t5.000']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train_new.tsv", "dev_new.tsv", "test_new.tsv"):
        (tmp_path / name).write_text("\n".join([HEADER, *ROWS]) + "\n", encoding="utf-8")
    return tmp_path


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_reader_keeps_quotation_marks_and_rows(folder: Path) -> None:
    pairs = read_stsb(folder / "train_new.tsv")
    assert pairs.first == ['A "quoted word', "Two dogs.", 'five" tall']
    assert pairs.second == ["A cat.", "A cat.", "Tall."]
    assert pairs.scores.dtype == np.float32
    assert pairs.scores.tolist() == [2.5, 0.0, 5.0]


def test_reader_ends_rows_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "odd.tsv"
    path.write_bytes(f"\ufeff{HEADER}\r\n0\tx\ta\u2028b\x85c\td\t1.5\r\n".encode())
    assert read_stsb(path).first == ["a\u2028b\x85c"]


@pytest.mark.parametrize("score", ["nan", "", "5.001", "-0.1", "inf", "good"])
def test_reader_names_the_lines_of_bad_scores(tmp_path: Path, score: str) -> None:
    path = write(tmp_path / "bad.tsv", ROWS[0], f"1\tnews\ta\tb\t{score}", ROWS[1])
    with pytest.raises(ValueError, match=r"a score in 0\.\.5; 1 rows differ, lines 3\.$"):
        read_stsb(path)


def test_reader_names_the_lines_of_a_wrong_field_count(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.tsv", ROWS[0], "1\tnews\ta\t3.0", "", ROWS[1] + "\tmore")
    with pytest.raises(ValueError, match=r"5 tab-separated fields; 3 rows differ, lines 3, 4, 5\.$"):
        read_stsb(path)


def test_zero_bytes_are_refused_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", ROWS[0], ROWS[1].replace("dogs", "do\0s"))
    with pytest.raises(ValueError, match=r"x\.tsv: .*zero bytes; 1 rows differ, lines 3\.$"):
        read_stsb(path)


def test_reader_names_missing_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.tsv", "a\tb", header="sentence1\tlabel")
    with pytest.raises(ValueError, match="missing: sentence2, score"):
        read_stsb(path)


def test_missing_files_say_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^data\.path: .*train_new\.tsv.*imbalanced-regression"):
        STSBTokens(tmp_path, encoder="unused").setup()


def test_real_files(shared: Path) -> None:
    for name, rows, lost in (("train", 5249, 133), ("dev", 1000, 0), ("test", 1000, 43)):
        path = shared / "data" / "sts-b-dir" / f"{name}_new.tsv"
        pairs = read_stsb(path)
        assert len(pairs.first) == len(pairs.second) == len(pairs.scores) == rows
        with path.open(encoding="utf-8", newline="") as stream:
            quoted = sum(1 for _ in csv.reader(stream, delimiter="\t")) - 1
        assert rows - quoted == lost  # what a csv reader's default makes of the file
        if name == "train":
            counts = LabelBins.uniform(0.0, 5.0, 50).counts(torch.from_numpy(pairs.scores))
            few = tuple((counts < 30).nonzero().flatten().tolist())
            many = tuple((counts > 100).nonzero().flatten().tolist())
            assert (many, few) == (STSB_DIR_SHOTS["many"], STSB_DIR_SHOTS["few"])


def test_words(folder: Path) -> None:
    glove = folder / "glove.txt"
    glove.write_text("A 1 0\ncat 0 1\n. 2 2\ndogs 4 4\n", encoding="utf-8")
    data = STSBWords(folder, glove, batch_size=2)
    with pytest.raises(RuntimeError, match="setup"):
        data.encoder_args()
    data.setup()
    vectors = data.encoder_args()["embeddings"]
    (first, second), labels = data.dataset("train").__getitems__([1, 0])  # type: ignore[attr-defined]
    assert labels.tolist() == [0.0, 2.5]
    torch.testing.assert_close(vectors[second[0]][:3], torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]))
    # "Two" is unknown: the mean of the vectors found; the padding is zero.
    torch.testing.assert_close(vectors[first[0]][:2], torch.tensor([[1.75, 1.75], [4.0, 4.0]]))
    assert vectors[0].tolist() == [0.0, 0.0]
    assert first[0].tolist()[3:] == [0] * (first.shape[1] - 3)


def test_words_without_glove_say_what_to_fetch(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"glove\.840B\.300d\.zip.*Stanford.*data\.glove"):
        STSBWords(folder, folder / "none.txt").setup()


def test_tokens_are_cut_to_the_batch(folder: Path, tiny_encoder: Callable[..., Path]) -> None:
    data = STSBTokens(folder, encoder=str(tiny_encoder()), max_length=5, batch_size=3)
    data.setup()
    assert data.encoder_args() == {"encoder": data.encoder}
    (ids_a, mask_a, ids_b, mask_b), labels = next(iter(data.val_dataloader()))
    assert labels.tolist() == [2.5, 0.0, 5.0]
    assert ids_a.shape == mask_a.shape == (3, 5)
    assert ids_b.shape == mask_b.shape == (3, 5)
    (ids_a, mask_a, ids_b, _), _ = data.dataset("val").__getitems__([2])  # type: ignore[attr-defined]
    assert ids_b.shape == (1, 4)  # [CLS] tall . [SEP]
    assert mask_a.sum() == ids_a.numel()


def test_embeddings_follow_their_pairs(folder: Path, tiny_encoder: Callable[..., Path]) -> None:
    encoder = tiny_encoder()
    data = STSBEmbeddings(folder, encoder=str(encoder), cache_dir=folder / "cache")
    data.setup()
    (u, v), labels = data.dataset("test").__getitems__([0, 1])  # type: ignore[attr-defined]
    assert data.encoder_args() == {"in_features": 8, "views": 1}
    assert u.shape == (2, 8)
    assert labels.tolist() == [2.5, 0.0]
    torch.testing.assert_close(v[0], v[1])  # both "A cat."
    assert not torch.allclose(u[0], u[1])
