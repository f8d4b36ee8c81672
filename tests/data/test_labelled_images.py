"""LabelledImages: pictures of one's own with any numeric label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dir.data import LabelledImages
from dir.data.describe import format_description


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., LabelledImages]:
    """`make(table, target="weight")` -> data of 30 pictures with a colour each, not set up."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(30):
        Image.new("RGB", (20, 12), (8 * number, 100, 0)).save(folder / f"{number}.png")

    def build(table: pd.DataFrame, sep: str = ",", **settings: Any) -> LabelledImages:
        table.to_csv(tmp_path / "labels.csv", index=False, sep=sep)
        chosen = {"target": "weight", "path": str(folder), "image_size": 8, "sep": sep} | settings
        return LabelledImages(str(tmp_path / "labels.csv"), **chosen)

    return build


def frame(**columns: Any) -> pd.DataFrame:
    numbers = np.arange(30)
    return pd.DataFrame({"picture": [f"{n}.png" for n in numbers], "weight": numbers % 10 + 0.5} | columns)


def test_pictures_of_a_split_column_are_resized_and_scaled(make: Callable[..., LabelledImages]) -> None:
    part = [("train", "dev", "test")[n % 3] for n in range(30)]
    data = make(frame(part=part), split_column="part")
    data.setup()
    assert data.labels("val").tolist() == [n % 10 + 0.5 for n in range(30) if n % 3 == 1]
    image, label = data.dataset("val")[2]
    assert label == 7.5
    expected = torch.tensor([8 * 7, 100, 0]) / 127.5 - 1
    torch.testing.assert_close(image, expected[:, None, None].expand(3, 8, 8))
    assert data.describe()["notes"] == ["pictures: column 'picture' names the files."]
    assert data.encoder_args() == {"in_channels": 3}


def test_several_targets_of_a_picture_are_columns_of_the_labels(make: Callable[..., LabelledImages]) -> None:
    table = frame(height=np.arange(30)[::-1] % 7, part=[("train", "dev", "test")[n % 3] for n in range(30)])
    data = make(table, target=["weight", "height"], split_column="part")
    data.setup()
    expected = table.loc[table["part"] == "dev", ["weight", "height"]].to_numpy()
    np.testing.assert_array_equal(data.labels("val").numpy(), expected.astype(np.float32))
    assert data.dataset("val")[1][1].tolist() == expected[1].tolist()
    assert data.settings()["label"] == ["weight", "height"]
    assert data.encoding()["target"] == "weight"
    assert make(frame()).settings()["label"] == "weight"
    with pytest.raises(
        ValueError, match=r"data\.split_column: expected another column than data\.target, got 'height'"
    ):
        make(table, target=["weight", "height"], split_column="height")
    with pytest.raises(ValueError, match="column 'height': missing values in rows 3"):
        make(table.assign(height=table["height"].where(table.index != 2)), target=["weight", "height"]).setup()


def test_training_pictures_move_with_a_repeated_border_and_are_mirrored_on_request(
    make: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    left = np.zeros((8, 8, 3), np.uint8)
    left[:, :4] = 255
    for number in range(30):
        Image.fromarray(left).save(tmp_path / "pictures" / f"{number}.png")
    torch.manual_seed(0)
    widths, mirrored = set(), set()
    for flip in ("none", "horizontal"):
        data = make(frame(part=["train", "val", "test"] * 10), split_column="part", padding=2, flip=flip)
        data.setup()
        for _ in range(40):
            image = data.dataset("train")[0][0]
            assert ((image == 1) | (image == -1)).all()
            first = bool(image[0, 0, 0] == 1)
            mirrored.add((flip, not first))
            widths.add(int((image[0, 0] == 1).sum()))
    assert widths == {2, 3, 4, 5, 6}
    assert mirrored == {("none", False), ("horizontal", False), ("horizontal", True)}
    still = make(frame(), padding=0, split="random")
    assert not still.augments


def test_copies_of_a_picture_are_in_one_split_and_groups_are_kept_whole(
    make: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    for number in range(15):
        source = tmp_path / "pictures" / f"{number}.png"
        (tmp_path / "pictures" / f"{number + 15}.png").write_bytes(source.read_bytes())
    data = make(frame(), split="random", share=0.2)
    place = _places(data)
    assert all(place[row] == place[row + 15] for row in range(15))
    given = make(frame(split=["train"] * 20 + ["val", "test"] * 5), split_column="split")
    given.setup()
    assert "pictures: 5 of 5 test rows show a training picture." in format_description(given.describe())
    grouped = make(frame(farm=np.arange(30) // 3), group="farm")
    place = _places(grouped)
    assert all(len({place[row] for row in range(start, start + 3)}) == 1 for start in range(0, 30, 3))
    with pytest.raises(ValueError, match=r"column 'farm': \d+ groups are in more than one split"):
        make(frame(farm=0, split=["train", "val", "test"] * 10), group="farm", split_column="split").setup()


def _places(data: LabelledImages) -> dict[int, str]:
    data.setup()
    place = {row: name for name in ("train", "val", "test") for row in data.row_numbers(name)}
    assert len(place) == 30
    return place


def test_balanced_splits_take_equally_many_of_each_label(make: Callable[..., LabelledImages]) -> None:
    data = make(frame().assign(weight=np.repeat([1, 2], [24, 6])), share=0.14)
    data.setup()
    assert sorted(data.labels("val").tolist()) == sorted(data.labels("test").tolist()) == [1.0, 1.0, 2.0, 2.0]
    with pytest.raises(ValueError, match=r"30 pictures leave none for val with data\.split=balanced"):
        make(frame().assign(weight=np.arange(30) + 0.5), split_bins=500).setup()


def test_missing_and_broken_pictures_are_listed_at_once(make: Callable[..., LabelledImages], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "3.png").unlink()
    (folder / "9.png").write_bytes((folder / "9.png").read_bytes()[:50])
    for cache in (None, str(tmp_path / "cache")):
        with pytest.raises(FileNotFoundError, match="2 images listed") as caught:
            make(frame(), cache_dir=cache).setup()
        assert "3.png: missing" in str(caught.value)
        assert "9.png" in str(caught.value)


def test_all_problems_of_the_csv_are_listed_and_a_column_of_files_is_found_or_asked_for(
    make: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    table = frame(site="a").rename(columns={"picture": "jpg"})
    data = make(table, sep=";", split="random")
    data.setup()
    assert data.encoding()["key"] == "jpg"
    assert data.encoding()["csv"]["sep"] == ";"
    with pytest.raises(
        ValueError, match=r"no single column of picture files \(found: 'a', 'b'\)\. Set data\.file_col"
    ):
        make(table.rename(columns={"jpg": "a"}).assign(b="x.png")).setup()
    table["weight"] = table["weight"].astype(object)
    table.loc[2, "weight"] = "heavy"
    table.loc[[4, 5], "jpg"] = None
    with pytest.raises(ValueError, match="2 problems") as caught:
        make(table, file_column="jpg").setup()
    assert "the first is 'heavy'; rows 3" in str(caught.value)
    assert "column 'jpg': missing values in rows 5, 6" in str(caught.value)
    with pytest.raises(ValueError, match=r"no column 'wait' \(data\.target; found: 'picture', 'weight'"):
        make(frame(), target="wait").setup()
    with pytest.raises(ValueError, match=r"column 'picture': 1 paths lead out"):
        make(frame().assign(picture=["../secret.png", *frame()["picture"][1:]])).setup()
    with pytest.raises(ValueError, match=r"data\.flip: expected one of"):
        make(frame(), flip="vertical")
    note = "splits: drawn, although the csv has a column 'split'. data.split_column=split reads the column."
    data = make(frame(split="train"), split="random")
    data.setup()
    assert note in data.describe()["notes"]


def test_a_restored_split_finds_its_pictures_in_another_order(make: Callable[..., LabelledImages]) -> None:
    first = make(frame(), split="random", seed=1)
    first.setup()
    second = make(frame().iloc[::-1], split="random", seed=2)
    second.restore_split(first.split_ids())
    assert second.split_ids() == first.split_ids()
    assert second.labels("val").tolist() == first.labels("val").tolist()
