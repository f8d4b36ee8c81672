"""Maps of labels in an npz file: decoding, holes, splits, augmentation and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dir.data.npz_maps import NpzMaps


def arrays(count: int = 9, channels: int | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (count, 6, 5) if channels is None else (count, 6, 5, channels)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    return {"images": images, "depth": rng.random((count, 6, 5)), "split": np.arange(count) % 3}


def saved(folder: Path, **values: Any) -> str:
    np.savez(folder / "maps.npz", **values)
    return str(folder / "maps.npz")


def opened(folder: Path, content: dict[str, np.ndarray], **settings: Any) -> NpzMaps:
    data = NpzMaps(saved(folder, **content), "depth", **settings)
    data.setup()
    return data


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("extra_axis", [False, True])
def test_a_batch_holds_pictures_places_and_labels(tmp_path: Path, channels: int | None, extra_axis: bool) -> None:
    content = arrays(channels=channels)
    maps = content["depth"].copy()
    content["depth"][1, 2, 3] = np.nan
    content["depth"][7, 0, 0] = np.nan
    data = opened(tmp_path, content | ({"depth": content["depth"][:, None]} if extra_axis else {}))
    assert data.encoder_args() == {"in_channels": channels or 1, "map_size": [6, 5]}
    (images, places), labels = data.dataset("val").__getitems__([2, 0])  # rows 7 and 1 of the file
    assert images.shape == (2, channels or 1, 6, 5)
    expected = content["images"][[7, 1]].reshape(2, 6, 5, -1).transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6)
    kept = [place for place in range(60) if place not in (0, 30 + 2 * 5 + 3)]
    assert places.tolist() == kept
    np.testing.assert_array_equal(labels.numpy(), maps[[7, 1]].astype(np.float32).flatten()[kept])


def test_labels_of_a_split_are_those_of_its_batches_in_any_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = arrays()
    content["depth"][content["depth"] < 0.3] = np.nan
    data = opened(tmp_path, content)
    monkeypatch.setattr("dir.data.maps.CHUNK_PIXELS", 60)
    chunks = list(data.label_chunks("train").read())
    assert len(chunks) == 2
    whole = torch.cat([labels for _, labels in data.whole("train")])
    assert torch.equal(torch.cat(chunks), whole)
    assert torch.equal(data.labels("train"), whole)
    summary = data.describe()["splits"]["train"]
    assert (summary["maps"], summary["rows"], summary["holes"]) == (3, len(whole), 90 - len(whole))


def test_a_value_and_a_mask_make_holes_and_a_code_makes_labels(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 9, (9, 6, 5), dtype=np.uint8)
    mask = np.random.default_rng(2).random((9, 6, 5)) < 0.8
    content = arrays() | {"depth": values, "known": mask}
    data = opened(tmp_path, content, mask="known", hole=4, scale=0.5, power=2)
    rows = content["split"] == 0
    kept = mask[rows] & (values[rows] != 4)
    np.testing.assert_allclose(data.labels("train").numpy(), (values[rows][kept] / 2.0) ** 2)


def test_a_mirrored_picture_has_a_mirrored_map(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(30, dtype=np.uint8).reshape(6, 5), (30, 1, 1))
    content = {"images": ramp, "depth": ramp.astype(float), "split": np.arange(30) % 3}
    content["depth"][:, 0, 1] = np.nan
    data = opened(tmp_path, content, flip="both")
    torch.manual_seed(0)
    (images, places), labels = data.dataset("train").__getitems__(list(range(10)))
    pixels = ((images + 1) * 127.5).round().flatten()
    assert torch.equal(pixels[places], labels)  # each picture is its own map
    corners = {int(value) for value in pixels.view(10, 6, 5)[:, 0, 0]}
    assert corners == {0, 4, 25, 29}
    (images, _), _ = data.dataset("val").__getitems__([0])
    assert round(float((images[0, 0, 0, 0] + 1) * 127.5)) == 0


def test_drawn_pixels_are_labelled_and_as_many_as_asked_for(tmp_path: Path) -> None:
    content = arrays()
    content["depth"][0, :5] = np.nan  # five labels are left
    data = opened(tmp_path, content, pixels=7)
    seen = set()
    for _ in range(60):
        (_, places), labels = data.dataset("train").__getitems__([0, 1])
        assert ((places < 30).sum(), (places >= 30).sum()) == (5, 7)
        expected = content["depth"][[0, 3]].astype(np.float32).flatten()[places.numpy()]
        np.testing.assert_array_equal(labels.numpy(), expected)
        seen |= set(places.tolist())
    assert seen == {*range(25, 30), *range(30, 60)}  # every labelled pixel is drawn at some time
    assert len(data.dataset("val").__getitems__([0])[1]) == 30


def test_groups_are_drawn_and_not_shared(tmp_path: Path) -> None:
    content = arrays(30) | {"day": np.repeat(np.arange(10), 3)}
    data = opened(tmp_path, content, group="day", share=0.2)
    days = {split: set(np.array(data.row_numbers(split)) // 3) for split in ("train", "val", "test")}
    assert [len(found) for found in days.values()] == [6, 2, 2]
    assert len(set.union(*days.values())) == 10


def test_a_split_is_restored_by_the_content_of_the_rows(tmp_path: Path) -> None:
    content = arrays()
    saved_split = opened(tmp_path, content).split_ids()
    before = opened(tmp_path, content).labels("test")
    order = np.random.default_rng(3).permutation(9)
    data = NpzMaps(saved(tmp_path, **{key: value[order] for key, value in content.items()}), "depth")
    data.restore_split(saved_split)
    assert torch.equal(data.labels("test"), before)
    content["depth"][2, 0, 0] += 1
    changed = NpzMaps(saved(tmp_path, **content), "depth")
    with pytest.raises(ValueError, match="0 new, 0 missing, 1 changed"):
        changed.restore_split(saved_split)


@pytest.mark.parametrize(
    ("content", "settings", "text"),
    [
        ({"depth": np.zeros(9)}, {}, r"expected maps of numbers.*images_npz"),
        ({"depth": np.zeros((9, 2, 6, 5))}, {}, "expected maps of numbers"),
        ({"images": np.zeros((9, 6, 5))}, {}, "expected uint8"),
        ({"images": np.zeros((8, 6, 5), np.uint8)}, {}, "expected arrays of equal length"),
        ({"depth": np.full((9, 6, 5), np.inf)}, {}, "expected finite labels"),
        ({"depth": np.full((9, 6, 5), np.nan)}, {}, "no labelled pixel"),
        ({"depth": np.ones((9, 6, 5))}, {}, "at least two distinct values"),
        ({"depth": -np.random.default_rng(0).random((9, 6, 5))}, {"power": 2.0}, r"data\.power"),
        ({"known": np.ones((9, 6, 4), bool)}, {"mask": "known"}, "expected the shape of data.label"),
        ({}, {"mask": "known"}, r"no array for data\.mask=known \(found: depth, images, split\)"),
        ({}, {"scale": 0.0}, "data.scale: expected a finite number > 0"),
        ({}, {"flip": "left"}, "data.flip: expected one of"),
        ({}, {"pixels": 0}, "data.pixels: expected an integer >= 1"),
        ({"day": np.full(9, np.nan)}, {"group": "day"}, "expected one identity for each map"),
    ],
)
def test_refuses(tmp_path: Path, content: dict[str, Any], settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        opened(tmp_path, arrays() | content, **settings)


def test_single_pixels_are_not_left_out_or_weighted(tmp_path: Path) -> None:
    data = opened(tmp_path, arrays())
    with pytest.raises(ValueError, match="single labels of a map cannot be left out"):
        data.restrict("train", torch.arange(3))
    with pytest.raises(ValueError, match="single labels of a map have no importance"):
        data.multiply_importance("train", np.ones(3), "audit")
    with pytest.raises(ValueError, match=r"method\.views"):
        data.set_views(2)
