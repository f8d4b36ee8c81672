"""NYUD2Maps: the published layout, units, places, test mask, bins and shot groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from dir.bins import LabelBins
from dir.data.map_sources import LabelCode
from dir.data.nyud2 import SCALES, NYUD2Maps
from dir.metrics.shot_groups import SHOTS, shot_of_bins
from dir.recipe.cli import config_dir, register_configs

Write = Callable[..., Path]
SIZES: dict[str, Any] = {"image_size": (16, 20), "crop": (12, 16), "map_size": (6, 8)}


def test_units_mask_and_places_of_the_published_files(nyud2_files: Write, tmp_path: Path) -> None:
    data = NYUD2Maps(str(nyud2_files(tmp_path)), share=0.2, **SIZES)
    data.setup()
    numbers = {split: data.row_numbers(split) for split in ("train", "val", "test")}
    assert numbers["test"] == [24, 25, 26, 27]
    places = {split: {row // 2 % 12 for row in numbers[split]} for split in ("train", "val")}
    assert places["train"] & places["val"] == set()  # recordings a and b of a place are in one split
    assert 1 <= len(places["val"]) <= 4
    # The centre of 12 x 16 of a picture of 16 x 20: rows 4 to 28 of 32 in the file, every fourth pixel.
    pixels = np.ix_(4 + 2 + 4 * np.arange(6), 4 + 2 + 4 * np.arange(8))
    row = numbers["val"][0]
    with Image.open(next(tmp_path.rglob(f"{row}.png"))) as file:
        expected = np.asarray(file)[pixels] / 255 * 10
    np.testing.assert_allclose(data.labels("val")[:48].numpy(), expected.flatten(), rtol=1e-6)
    mask = np.load(tmp_path / "test_balanced_mask.npy")[:, 1::2, 1::2] != 0
    kept = []
    for number in range(4):
        with Image.open(tmp_path / f"nyu2_test/{number:05d}_depth.png") as file:
            kept.append((np.asarray(file)[pixels] / 1000)[mask[number]])
    np.testing.assert_allclose(data.labels("test").numpy(), np.concatenate(kept), rtol=1e-6)
    everything = NYUD2Maps(str(tmp_path), share=0.2, test_mask=None, **SIZES)
    everything.setup()
    assert len(everything.labels("test")) == 4 * 48


def test_the_bin_of_each_stored_value_is_the_published_one() -> None:
    bins = LabelBins.uniform(0.7, 10.0, 93)
    ends = {"train": (0, 256, np.uint8), "test": (0, 10_000, np.uint16)}
    for split, (first, last, kind) in ends.items():
        stored = np.arange(first, last).astype(kind)
        labels = LabelCode(scale=SCALES[split]).labels(stored, None, "maps")
        plain = stored.astype(np.float32)
        published = plain / np.float32(255) * 10 if split == "train" else plain / 1000
        expected = [max(min(int(x * np.float32(10)), 99), 7) - 7 for x in published.astype(np.float32)]
        assert bins(labels).tolist() == expected


def test_the_shot_groups_are_the_published_ones(golden: Callable[..., Any]) -> None:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        shots = compose("train", ["+experiment=nyud2"]).task.shots
    counts = golden("lds_weights.npz", key="nyud2/train_bucket_num")["nyud2/train_bucket_num"]
    # The published lists, as bins of 0.1 m: more than 26 million pixels, fewer than 10 million, and the others.
    assert (counts[[*range(9, 46), 47, 49]] > 26e6).all()
    lists = {"many": (counts > 26e6), "few": (counts < 10e6)}
    assert np.flatnonzero(lists["many"]).tolist() == [*range(9, 46), 47, 49]
    assert np.flatnonzero(~lists["many"] & ~lists["few"]).tolist() == [7, 8, 46, 48, *range(50, 57), 58, 60, 61, 63]
    rule = {"many": shots.many, "few": shots.few, "by": shots.by, "zero_shot": shots.zero_shot}
    found = dict(zip(SHOTS, shot_of_bins(torch.from_numpy(counts[7:]), 93, **rule), strict=True))
    assert found["many"].tolist() == lists["many"][7:].tolist()
    assert found["few"].tolist() == lists["few"][7:].tolist()
    assert not found["zero"].any()
    # They stay when validation takes a few per cent of the pixels of some bins.
    share = np.random.default_rng(0).uniform(0.96, 1.0, 93)
    fewer = shot_of_bins(torch.from_numpy((counts[7:] * share).astype(np.int64)), 93, **rule)
    assert torch.equal(fewer[:3], torch.stack([found[name] for name in SHOTS])[:3])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("data/a.jpg\n", r"nyu2_train.csv: expected a picture and a map in each line.*1 lines differ: 1"),
        ("a.jpg,b.png\n", "1 lines differ: 1"),
        ("", "the file has no lines"),
        ("data/../../a.jpg,data/b.png\n", "1 paths lead out of .* the first is '../../a.jpg'"),
        ("data/none/a.jpg,data/none/a.png\n" * 9, "leave none for train|missing"),
    ],
)
def test_lists_of_another_form_are_refused(nyud2_files: Write, tmp_path: Path, content: str, words: str) -> None:
    (nyud2_files(tmp_path) / "nyu2_train.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        NYUD2Maps(str(tmp_path), **SIZES).setup()


def test_a_mask_that_is_missing_or_of_another_shape_is_refused(nyud2_files: Write, tmp_path: Path) -> None:
    folder = nyud2_files(tmp_path)
    np.save(folder / "other.npy", np.ones((3, 12, 16), bool))
    with pytest.raises(
        ValueError, match=r"other.npy: expected true and false, \[4, 12, 16\], got bool \[3, 12, 16\]"
    ):
        NYUD2Maps(str(folder), test_mask="other.npy", **SIZES).setup()
    (folder / "test_balanced_mask.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"^data.test_mask: .* Set data.test_mask=null"):
        NYUD2Maps(str(folder), **SIZES).setup()
