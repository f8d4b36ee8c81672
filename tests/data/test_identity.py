"""Row ids and restored splits, for every data module that reads files or arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dir.data.base import SPLITS, ArrayDataset, RegressionData
from dir.data.csv_images import CsvImages
from dir.data.identity import rows_by_id
from dir.data.npz_images import NpzImages
from dir.data.stsb import STSBWords
from dir.data.synthetic.age_synthetic import AgeSyntheticData
from dir.data.synthetic.sts_synthetic import STSSyntheticData
from dir.data.tabular import TabularData

COUNT = 60
NAMES = np.resize(["train", "val", "test", "train"], COUNT)
# A label tells its row, but for a copy of row 0 in the place of row 4 (both are training rows).
LABELS = np.where(np.arange(COUNT) == 4, 0.0, np.arange(COUNT))

Write = Callable[[Path, np.ndarray], RegressionData]


class Arrays(RegressionData):
    def __init__(self, folder: Path, order: np.ndarray) -> None:
        super().__init__()
        self.order = order

    def build(self) -> dict[str, Dataset[Any]]:
        labels = torch.from_numpy(LABELS[self.order])
        inputs = labels[:, None] % 7, labels[:, None] + torch.zeros(1, 2)
        return {
            split: ArrayDataset(tuple(part[rows] for part in inputs), labels[rows])
            for split, rows in ((split, np.flatnonzero(NAMES[self.order] == split)) for split in SPLITS)
        }


def table(folder: Path, order: np.ndarray) -> RegressionData:
    content = pd.DataFrame({"a": LABELS % 7, "kind": [f"k{int(v) % 3}" for v in LABELS], "y": LABELS})
    content.iloc[order].to_csv(folder / "x.csv", index=False)
    return TabularData(str(folder / "x.csv"), "y", split="random")


def two_tables(folder: Path, order: np.ndarray) -> RegressionData:
    extra = pd.DataFrame({"y": [0.0, 99.0, 98.0], "kind": ["k0", "k1", "k1"], "a": [0.0, 1.0, 2.0]})
    extra.to_csv(folder / "extra.csv", index=False)
    table(folder, order)
    return TabularData(str(folder / "x.csv"), "y", test_path=str(folder / "extra.csv"), split="random")


def npz(folder: Path, order: np.ndarray) -> RegressionData:
    pixels = np.zeros((COUNT, 4, 4), dtype=np.uint8) + LABELS.astype(np.uint8)[:, None, None]
    np.savez(folder / "x.npz", images=pixels[order], age=LABELS[order], split=NAMES[order])
    return NpzImages(str(folder / "x.npz"), label="age")


def pictures(folder: Path, order: np.ndarray, **kwargs: Any) -> RegressionData:
    for row, label in enumerate(LABELS):
        Image.new("RGB", (4, 4), (int(label), 0, 0)).save(folder / f"{row}.png")
    content = {"path": [f"{row}.png" for row in range(COUNT)], "age": LABELS, "split": NAMES}
    pd.DataFrame(content).iloc[order].to_csv(folder / "list.csv", index=False)
    return CsvImages(str(folder / "list.csv"), str(folder), image_size=4, padding=0, **kwargs)


def cached_pictures(folder: Path, order: np.ndarray) -> RegressionData:
    return pictures(folder, order, cache_dir=str(folder / "cache"))


def sentences(folder: Path, order: np.ndarray) -> RegressionData:
    (folder / "glove.txt").write_text("a 0.5 0.5 1\nthe 1 0 1\n" + "".join(f"w{n} {n} 1 0\n" for n in range(COUNT)))
    for split, name in {"train": "train_new.tsv", "val": "dev_new.tsv", "test": "test_new.tsv"}.items():
        rows = [row for row in order if NAMES[row] == split]
        lines = [f"a w{int(LABELS[row])}\tthe\t{LABELS[row] / 20}" for row in rows]
        (folder / name).write_text("\n".join(["sentence1\tsentence2\tscore", *lines, ""]))
    return STSBWords(folder, folder / "glove.txt")


WRITERS: list[Write] = [Arrays, table, two_tables, npz, pictures, cached_pictures, sentences]
FILE_ORDER = np.arange(COUNT)


def all_ids(data: RegressionData) -> list[str]:
    return sorted(one for ids in data.split_ids().values() for one in ids)


def content(data: RegressionData) -> dict[str, list[list[float]]]:
    """Inputs and labels of each split, one row of numbers per sample."""
    data.setup()
    return {split: [_flat(data.dataset(split)[row]) for row in range(len(data.labels(split)))] for split in SPLITS}


def _flat(sample: tuple[Any, Tensor]) -> list[float]:
    inputs, label = sample
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    return [*(value for part in parts for value in part.flatten().tolist()), label.item()]


@pytest.mark.parametrize("write", WRITERS)
def test_ids_are_unique_hexadecimal_and_copies_have_a_suffix(write: Write, tmp_path: Path) -> None:
    data = write(tmp_path, FILE_ORDER)
    data.setup()
    ids = [one for split in SPLITS for one in data.row_ids(split)]
    assert len(set(ids)) == len(ids) == sum(len(data.labels(split)) for split in SPLITS)
    first, second = sorted(one for split in SPLITS for one in data.row_ids(split) if "-" in one or f"{one}-1" in ids)[
        :2
    ]
    assert second == f"{first}-1"
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids if "-" not in one)


@pytest.mark.parametrize("write", WRITERS)
def test_a_shuffled_file_gives_the_saved_splits_in_the_saved_order(write: Write, tmp_path: Path) -> None:
    first = write(tmp_path, FILE_ORDER)
    before, saved = content(first), json.loads(json.dumps(first.split_ids()))
    second = write(tmp_path, np.random.default_rng(1).permutation(COUNT))
    assert content(second) != before
    second.restore_split(saved)
    assert content(second) == before
    assert second.split_ids() == saved


@pytest.mark.parametrize("write", WRITERS)
def test_ids_do_not_depend_on_the_order_of_the_file(write: Write, tmp_path: Path) -> None:
    ids = []
    for order in (FILE_ORDER, FILE_ORDER[::-1]):
        data = write(tmp_path, order)
        data.setup()
        ids.append(sorted(one for split in SPLITS for one in data.row_ids(split)))
    assert ids[0] == ids[1]


def test_rows_move_between_the_splits_of_arrays(tmp_path: Path) -> None:
    data = Arrays(tmp_path, FILE_ORDER)
    saved = data.split_ids()
    moved = {"train": saved["train"][1:] + saved["val"][:1], "val": saved["val"][1:] + saved["train"][:1]}
    before = content(data)
    data.restore_split(saved | moved)
    assert content(data)["train"] == before["train"][1:] + before["val"][:1]
    assert content(data)["val"] == before["val"][1:] + before["train"][:1]


def test_new_missing_and_changed_rows_are_counted(tmp_path: Path) -> None:
    data = table(tmp_path, FILE_ORDER)
    saved = data.split_ids()
    lines = (tmp_path / "x.csv").read_text().splitlines()
    cells = lines[11].split(",")
    lines[11] = ",".join([*cells[:2], "1000"])  # another label
    lines[21] = ",".join(["999", *lines[21].split(",")[1:]])  # other inputs, with a label that no other row has
    lines = lines[:31] + lines[32:] + ["5,k9,70", "5,k9,71"]  # one row gone, two new
    (tmp_path / "x.csv").write_text("\n".join(lines))
    other = TabularData(str(tmp_path / "x.csv"), "y", split="random")
    with pytest.raises(ValueError, match=r"^data: .*2 new, 1 missing, 2 changed, of 60"):
        other.restore_split(saved)


def test_a_refused_split_leaves_the_data_as_it_was(tmp_path: Path) -> None:
    data = table(tmp_path, FILE_ORDER)
    before = content(data)
    with pytest.raises(ValueError, match="60 missing"):
        data.restore_split({"train": [f"{n:016x}" for n in range(60)], "val": [], "test": []})
    assert content(data) == before
    with pytest.raises(ValueError, match=r"saved.*train, val, test.*got \['train'\]"):
        data.restore_split({"train": []})


def test_a_row_that_is_saved_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="1 rows twice"):
        rows_by_id(["a", "b"], {"train": ["a", "b"], "val": ["a"], "test": []})


def test_restricted_rows_keep_their_ids_and_resampled_rows_have_none(tmp_path: Path) -> None:
    data = table(tmp_path, FILE_ORDER)
    data.setup()
    whole = data.row_ids("train")
    data.restrict("train", torch.tensor([3, 1]))
    assert data.row_ids("train") == [whole[3], whole[1]]
    assert data.split_ids()["train"] == whole

    class Same:
        def fit_resample(self, X: pd.DataFrame, y: pd.Series) -> tuple[pd.DataFrame, pd.Series]:  # noqa: N803
            return X, y

    data.resample(Same())
    with pytest.raises(RuntimeError, match=r"train.*resampled"):
        data.row_ids("train")
    assert data.split_ids()["train"] == whole


def test_the_id_of_a_table_row_does_not_depend_on_the_order_of_the_columns(tmp_path: Path) -> None:
    one = table(tmp_path, FILE_ORDER)
    expected = one.split_ids()
    content = pd.read_csv(tmp_path / "x.csv", dtype=str)
    content[["y", "kind", "a"]].to_csv(tmp_path / "x.csv", index=False)
    other = TabularData(str(tmp_path / "x.csv"), "y", split="random")
    other.restore_split(expected)
    assert other.split_ids() == expected


def test_rows_with_missing_values_that_are_dropped_have_no_place_in_the_splits(tmp_path: Path) -> None:
    table(tmp_path, FILE_ORDER)
    path = tmp_path / "x.csv"
    expected = all_ids(TabularData(str(path), "y", split="random"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:8], ",k1,7", "", *lines[8:]]))
    data = TabularData(str(path), "y", missing="drop", split="random")
    assert all_ids(data) == expected


def test_the_cache_keeps_the_ids_of_pictures_that_are_gone(tmp_path: Path) -> None:
    data = cached_pictures(tmp_path, FILE_ORDER)
    expected = data.split_ids()
    for row in range(COUNT):
        (tmp_path / f"{row}.png").unlink()
    again = CsvImages(
        str(tmp_path / "list.csv"), str(tmp_path), image_size=4, padding=0, cache_dir=str(tmp_path / "cache")
    )
    assert again.split_ids() == expected


def test_a_fingerprint_names_files_settings_and_rows(tmp_path: Path) -> None:
    data = two_tables(tmp_path, FILE_ORDER)
    found = json.loads(json.dumps(data.fingerprint()))
    assert found["class"] == "TabularData"
    raw = (tmp_path / "x.csv").read_bytes()
    assert found["files"]["data.path"] == {
        "name": "x.csv",
        "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    assert set(found["files"]) == {"data.path", "data.test_path"}
    assert found["settings"]["missing"] == "refuse"
    assert found["rows"]["test"] == {
        "count": 3,
        "ids": hashlib.sha256("\n".join(data.row_ids("test")).encode()).hexdigest(),
    }
    other = TabularData(
        str(tmp_path / "x.csv"), "y", test_path=str(tmp_path / "extra.csv"), missing="median", split="random"
    )
    assert other.fingerprint()["settings"] != found["settings"]


@pytest.mark.parametrize("write", [table, npz, pictures, sentences])
def test_a_fingerprint_changes_with_one_label(write: Write, tmp_path: Path) -> None:
    first = write(tmp_path, FILE_ORDER).fingerprint()
    assert write(tmp_path, FILE_ORDER).fingerprint() == first
    before = LABELS[30]
    try:
        LABELS[30] = 30.5
        second = write(tmp_path, FILE_ORDER).fingerprint()
    finally:
        LABELS[30] = before
    assert second["files"] != first["files"]
    assert second["rows"] != first["rows"]


@pytest.mark.parametrize("make", [lambda: AgeSyntheticData(limit=4), lambda: STSSyntheticData(limit=4)])
def test_generated_data_has_ids_and_a_fingerprint(make: Callable[[], RegressionData]) -> None:
    data, again = make(), make()
    assert [len(ids) for ids in data.split_ids().values()] == [4, 4, 4]
    assert data.fingerprint() == again.fingerprint()
    again.restore_split({split: ids[::-1] for split, ids in data.split_ids().items()})
    assert again.labels("val").tolist() == data.labels("val").tolist()[::-1]
