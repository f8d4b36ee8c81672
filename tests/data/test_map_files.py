"""Maps of labels in files: pairs, stored types, sizes, splits, and one list of all bad files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dir.data.map_files import MapFiles
from dir.data.map_reading import read_map


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


def written(folder: Path, count: int = 12, size: tuple[int, int] = (6, 8), scenes: int = 4) -> np.ndarray:
    """Write two folders, ``images/s0/0.png`` and ``maps/s0/0.png``; return the 16-bit maps, 0 is a hole."""
    random = np.random.default_rng(0)
    maps = random.integers(0, 9000, (count, *size)).astype(np.uint16)
    for number, values in enumerate(maps):
        save(folder / f"images/s{number % scenes}/{number}.png", random.integers(0, 256, (*size, 3), np.uint8))
        save(folder / f"maps/s{number % scenes}/{number}.png", values)
    return maps


def listing(folder: Path, count: int = 12, scenes: int = 4, **columns: Any) -> Path:
    rows = ["image,map" + "".join(f",{name}" for name in columns)]
    for row in range(count):
        name = f"s{row % scenes}/{row}.png"
        rows.append(",".join([f"images/{name}", f"maps/{name}", *(str(values[row]) for values in columns.values())]))
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder / "pairs.csv"


def opened(folder: Path, **settings: Any) -> MapFiles:
    data = MapFiles(str(folder), "depth", **settings)
    data.setup()
    return data


def test_labels_are_the_stored_values_in_units_without_holes(tmp_path: Path) -> None:
    maps = written(tmp_path)
    csv = listing(tmp_path, split=[0, 1, 2] * 4)
    data = opened(tmp_path, csv=str(csv), split_column="split", scale=0.001, hole=0)
    (images, places), labels = data.dataset("val").__getitems__([1, 0])  # rows 4 and 1
    expected = maps[[4, 1]].astype(np.float64).flatten()
    assert places.tolist() == np.flatnonzero(expected).tolist()
    np.testing.assert_allclose(labels.numpy(), expected[expected != 0] / 1000, rtol=1e-6)
    with Image.open(tmp_path / "images/s0/4.png") as file:
        picture = np.asarray(file).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(images[0].numpy(), picture, atol=1e-6)
    assert data.encoder_args() == {"in_channels": 3, "map_size": [6, 8]}
    assert data.labels("train").numel() == int((maps[::3] != 0).sum())


def test_folders_that_are_named_like_splits_are_pointed_out(tmp_path: Path) -> None:
    written(tmp_path)
    assert not any(note.startswith("splits:") for note in opened(tmp_path).describe()["notes"])
    for kind in ("images", "maps"):
        (tmp_path / kind / "s0").rename(tmp_path / kind / "Train")
        (tmp_path / kind / "s1").rename(tmp_path / kind / "test")
    (note,) = (note for note in opened(tmp_path).describe()["notes"] if note.startswith("splits:"))
    assert note.startswith("splits: drawn by chance. Folders named Train, test do not split the pictures. ")


def test_two_folders_are_paired_by_name_and_groups_are_kept_whole(tmp_path: Path) -> None:
    maps = written(tmp_path, 24, scenes=6)
    data = opened(tmp_path, by_folder=True, share=0.17)
    names = sorted(f"s{number % 6}/{number}" for number in range(24))
    scenes = {}
    for split in ("train", "val", "test"):
        rows = data.row_numbers(split)
        scenes[split] = {names[row][:2] for row in rows}
        expected = np.concatenate([maps[int(names[row][3:])].flatten() for row in rows])
        np.testing.assert_array_equal(data.labels(split).numpy(), expected.astype(np.float32))
    assert [len(found) for found in scenes.values()] == [3, 1, 2] or [len(one) for one in scenes.values()] == [
        4,
        1,
        1,
    ]
    assert len(set.union(*scenes.values())) == 6


@pytest.mark.parametrize("by", ["column", "folder"])
def test_a_group_in_two_given_splits_is_refused(tmp_path: Path, by: str) -> None:
    written(tmp_path)
    csv = listing(tmp_path, split=[0, 1, 2] * 4, scene=[0, 1, 2, 3] * 3)
    how: dict[str, Any] = {"group": "scene"} if by == "column" else {"by_folder": True}
    with pytest.raises(ValueError, match="4 groups are in more than one split"):
        opened(tmp_path, csv=str(csv), split_column="split", **how)


def test_copies_of_a_picture_are_drawn_together(tmp_path: Path) -> None:
    written(tmp_path, 30, scenes=1)
    for number in range(0, 30, 2):
        copy = (tmp_path / f"images/s0/{number}.png").read_bytes()
        (tmp_path / f"images/s0/{number + 1}.png").write_bytes(copy)
    data = opened(tmp_path)
    names = sorted(f"{number}" for number in range(30))
    for split in ("train", "val", "test"):
        pairs = [int(names[row]) // 2 for row in data.row_numbers(split)]
        assert all(pairs.count(pair) == 2 for pair in pairs)
    assert not any("equal a training picture" in note for note in data.describe()["notes"])


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.float32), (".npy", np.float64)]
)
def test_maps_of_each_type_keep_their_values(tmp_path: Path, suffix: str, kind: type) -> None:
    written(tmp_path, 6, scenes=1)
    maps = (np.random.default_rng(1).random((6, 6, 8)) * 250).astype(kind)
    for number in range(6):
        (tmp_path / f"maps/s0/{number}.png").unlink()
        save(tmp_path / f"maps/s0/{number}{suffix}", maps[number][None] if suffix == ".npy" else maps[number])
    data = opened(tmp_path, share=0.33)
    found = np.concatenate([data.labels(split).numpy() for split in ("train", "val", "test")])
    np.testing.assert_array_equal(np.sort(found), np.sort(maps.astype(np.float32).flatten()))


def test_resized_pictures_and_maps_show_the_same_place(tmp_path: Path) -> None:
    # The picture is the map: a ramp in both directions. Files of 24 x 32, scaled to 12 x 16, the centre 8 x 12, and
    # maps of half that size.
    ramp = (np.arange(24)[:, None] * 6 + np.arange(32) * 3).astype(np.uint8)
    for number in range(9):
        save(tmp_path / f"images/{number}.png", np.roll(ramp + number, number % 2)[..., None].repeat(3, 2))
        save(tmp_path / f"maps/{number}.npy", np.roll(ramp + number, number % 2).astype(np.float32))
    data = opened(tmp_path, image_size=[12, 16], crop=[8, 12], map_size=[4, 6], share=0.2)
    (images, places), labels = data.dataset("train").__getitems__([0])
    assert images.shape == (1, 3, 8, 12)
    assert places.tolist() == list(range(24))
    pixels = (images[0, 0] + 1) * 127.5
    inner = pixels.unfold(0, 2, 2).unfold(1, 2, 2).mean((-1, -2))
    # A pixel of the map is 4 x 4 pixels of the file: the value at its centre differs from the mean by one step.
    assert float((inner.flatten() - labels).abs().max()) <= 6
    encoding = data.encoding()
    assert (encoding["size"], encoding["resized"], encoding["resize"]) == ([8, 12], [12, 16], True)


def test_maps_beyond_the_memory_are_read_again_with_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    kept = opened(tmp_path, map_size=[3, 4])
    monkeypatch.setattr("dir.data.file_maps.KEPT_BYTES", 100)
    read = opened(tmp_path, map_size=[3, 4])
    assert torch.equal(kept.labels("train"), read.labels("train"))
    assert [data.describe()["notes"] for data in (kept, read)] == [
        ["maps: 12 files, 0.0 MB in memory."],
        ["maps: 12 files, read from their files."],
    ]


def test_all_bad_files_are_listed_at_once(tmp_path: Path) -> None:
    written(tmp_path, 16, scenes=1)
    (tmp_path / "images/s0/0.png").write_bytes(b"no picture")
    content = (tmp_path / "images/s0/1.png").read_bytes()
    (tmp_path / "images/s0/1.png").write_bytes(content[: len(content) // 2])
    save(tmp_path / "maps/s0/2.png", np.zeros((6, 8, 3), np.uint8))
    save(tmp_path / "maps/s0/3.png", np.zeros((8, 6), np.uint16))
    csv = listing(tmp_path, 16, scenes=1)
    csv.write_text(csv.read_text() + "images/s0/4.png,maps/s0/none.png\n")
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "maps/s0/5.png", format="JPEG")
    np.save(tmp_path / "maps/s0/6.npy", np.full((6, 8), np.inf))
    csv.write_text(csv.read_text().replace("maps/s0/6.png", "maps/s0/6.npy"))
    save(tmp_path / "images/s0/7.png", np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(ValueError, match=r"pairs\.csv: 8 problems:") as error:
        opened(tmp_path, csv=str(csv))
    for words in (
        "images/s0/0.png: UnidentifiedImageError",
        "images/s0/1.png: ",
        "maps/s0/2.png: expected one number for each pixel, got the channels RGB",
        "maps/s0/3.png: a map of 8 x 6 does not fit its picture of 6 x 8",
        "maps/s0/none.png: missing",
        "maps/s0/5.png: a jpg changes the stored values",
        "maps/s0/6.npy: expected finite labels, 48 are infinite",
        "pictures of different sizes: 13 are 6 x 8, but ",
    ):
        assert words in str(error.value)
    assert "7.png (12 x 16)" in str(error.value)
    assert "Set data.image_size=[6,8]" in str(error.value)


def test_maps_of_colours_and_several_maps_in_a_file_are_refused(tmp_path: Path) -> None:
    values = np.array([[0, 100], [200, 250]], np.uint8)
    # Its bytes are 0 to 3.
    Image.fromarray(values).quantize(4).save(tmp_path / "palette.png")
    with pytest.raises(ValueError, match="a map with a palette stores no labels"):
        read_map(tmp_path / "palette.png")
    first, second = (Image.fromarray(values.astype(np.float32) + step) for step in (0, 1))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    with pytest.raises(ValueError, match="expected one map in a file, got 2"):
        read_map(tmp_path / "two.tif")


def test_hidden_folders_hold_no_pairs(tmp_path: Path) -> None:
    written(tmp_path, 6, scenes=1)
    for kind in ("images", "maps"):
        shutil.copytree(tmp_path / kind / "s0", tmp_path / kind / ".ipynb_checkpoints")
    assert opened(tmp_path).describe()["notes"][0].startswith("maps: 6 files")


def test_names_without_a_partner_are_listed(tmp_path: Path) -> None:
    written(tmp_path, 4, scenes=1)
    (tmp_path / "maps/s0/1.png").rename(tmp_path / "maps/s0/9.png")
    with pytest.raises(ValueError, match=r"1 names of a picture without a map: 's0/1'") as error:
        opened(tmp_path)
    assert "1 names of a map without a picture: 's0/9'" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"csv": "pairs.csv", "maps": "depth"}, r"no column 'depth' \(data.maps; found: 'image', 'map'\)"),
        ({"maps": "depth"}, "no folder 'depth' .data.maps."),
        ({"crop": 4}, "^data.crop: needs a size of the maps"),
        ({"image_size": [4]}, "^data.image_size: expected a height and a width"),
        ({"group": "scene"}, "^data.group: names a column, and there is no csv"),
        ({"csv": "pairs.csv", "group": "map", "by_folder": True}, "^data.by_folder: data.group already gives groups"),
        ({"image_size": [4, 4], "crop": [5, 5], "map_size": 2}, "expected at least 5 x 5 pixels, got 4 x 4"),
        ({"scale": -1.0}, "data.scale: expected a finite number > 0"),
    ],
)
def test_refuses(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    written(tmp_path, 6)
    listing(tmp_path, 6)
    if "csv" in settings:
        settings = settings | {"csv": str(tmp_path / settings["csv"])}
    with pytest.raises(ValueError, match=words):
        opened(tmp_path, **settings)


def test_paths_that_lead_out_of_the_folder_need_consent(tmp_path: Path) -> None:
    written(tmp_path / "in", 6)
    save(tmp_path / "out.png", np.arange(48, dtype=np.uint16).reshape(6, 8))
    csv = listing(tmp_path / "in", 6)
    csv.write_text(csv.read_text().replace("maps/s0/0.png", "../out.png"))
    with pytest.raises(ValueError, match=r"1 paths lead out of .* the first is '../out.png'.*data.outside=true"):
        opened(tmp_path / "in", csv=str(csv))
    assert opened(tmp_path / "in", csv=str(csv), outside=True, share=0.3).describe()["splits"]["train"]["maps"] >= 2
