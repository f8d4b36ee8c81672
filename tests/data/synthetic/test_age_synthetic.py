from __future__ import annotations

import csv

import pytest
import torch

import dir.data.synthetic.age_synthetic as module
from dir.data.synthetic.age_synthetic import AgeSyntheticData, augment
from dir.data.synthetic.histograms import AGEDB_DIR_AGES, shuffled_values

SIZES = {"train": 12208, "val": 2140, "test": 2140}


@pytest.fixture
def without_drawing(monkeypatch):
    """Full-sized splits without the seconds that drawing takes."""
    monkeypatch.setattr(module, "draw_faces", lambda ages, indices: indices.view(-1, 1, 1, 1).expand(-1, 3, 2, 2))


def test_the_histograms_are_those_of_agedb_dir(shared):
    counts = {split: [0] * 102 for split in SIZES}
    with (shared / "data" / "agedb-dir" / "agedb.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts[row["split"]][int(row["age"])] += 1
    assert {split: list(AGEDB_DIR_AGES[split]) for split in SIZES} == counts


def test_every_split_has_its_size_and_histogram(without_drawing):
    data = AgeSyntheticData()
    data.setup()
    for split, size in SIZES.items():
        labels = data.labels(split)
        assert len(labels) == size
        assert torch.bincount(labels.long(), minlength=102).tolist() == list(AGEDB_DIR_AGES[split])


def test_no_face_is_in_two_splits(without_drawing):
    data = AgeSyntheticData()
    data.setup()
    seen = torch.cat([data.dataset(split).inputs[:, 0, 0, 0] for split in SIZES])
    assert len(seen.unique()) == sum(SIZES.values())


def test_the_data_set_does_not_depend_on_the_seed_nor_on_the_limit():
    first, second = AgeSyntheticData(limit=40, seed=0), AgeSyntheticData(limit=20, seed=9)
    first.setup()
    second.setup()
    for split in SIZES:
        assert torch.equal(first.labels(split)[:20], second.labels(split))
        assert torch.equal(first.dataset(split).inputs[:20], second.dataset(split).inputs)


def test_batches_are_normalised_pictures_and_raw_ages():
    data = AgeSyntheticData(limit=40, batch_size=16)
    data.setup()
    images, ages = next(iter(data.train_dataloader()))
    assert images.shape == (16, 3, 64, 64)
    assert images.dtype == torch.float32
    assert -1 <= images.min() < 0 < images.max() <= 1
    assert ages.dtype == torch.float32
    assert ages.max() > 20
    assert data.encoder_args() == {"in_channels": 3}


def test_validation_is_not_augmented():
    data = AgeSyntheticData(limit=4)
    data.setup()
    images, _ = next(iter(data.val_dataloader()))
    torch.testing.assert_close(images, data.dataset("val").inputs / 127.5 - 1)


def test_augmentation_is_a_shift_and_maybe_a_mirror_of_each_picture():
    pictures = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8)
    torch.manual_seed(0)
    changed = augment(pictures, padding=2)
    padded = torch.nn.functional.pad(pictures.float(), (2, 2, 2, 2), mode="replicate").byte()
    mirrored = 0
    for before, after in zip(padded, changed, strict=True):
        crops = [before[:, i : i + 12, j : j + 12] for i in range(5) for j in range(5)]
        straight = any(torch.equal(after, crop) for crop in crops)
        mirror = any(torch.equal(after.flip(2), crop) for crop in crops)
        assert straight or mirror
        mirrored += mirror
    assert 5 < mirrored < 35


def test_without_padding_pictures_are_only_mirrored():
    pictures = torch.randint(0, 256, (20, 3, 4, 4), dtype=torch.uint8)
    for before, after in zip(pictures, augment(pictures, padding=0), strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(2))


def test_augmentation_follows_the_global_seed():
    pictures = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(pictures, padding=4))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_shuffled_values_is_a_fixed_shuffle():
    a, b = shuffled_values((3, 0, 50), seed=1), shuffled_values((3, 0, 50), seed=1)
    assert torch.equal(a, b)
    assert not torch.equal(a, a.sort().values)


@pytest.mark.parametrize(("option", "value"), [("limit", 1), ("padding", -1), ("batch_size", 0)])
def test_wrong_options_are_named(option, value):
    with pytest.raises(ValueError, match=option):
        AgeSyntheticData(**{option: value})
