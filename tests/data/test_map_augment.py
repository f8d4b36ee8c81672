"""Random changes of pictures and maps: what moves in the picture moves in the map, and labels are never mixed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from dir.data.map_augment import MapAugment, rotated


@pytest.mark.parametrize("size", [(20, 20), (18, 26)])
def test_pictures_turn_about_their_centre_as_scipy_turns_them(size: tuple[int, int]) -> None:
    picture = ndimage.gaussian_filter(np.random.default_rng(0).random(size), 2)
    picture = (picture - picture.min()) / np.ptp(picture) * 255
    images = torch.from_numpy(picture.astype(np.uint8))[None, None]
    turned, _ = rotated(images, torch.zeros(1, *size), torch.tensor([math.radians(20.0)]))
    expected = ndimage.rotate(images[0, 0].numpy().astype(float), 20.0, reshape=False, order=1)
    inner = (slice(5, -5), slice(7, -7))
    np.testing.assert_allclose(turned[0, 0].numpy()[inner], expected[inner], atol=1.0)


def test_a_map_of_half_the_size_turns_with_its_picture_and_mixes_no_labels() -> None:
    rows, columns = np.mgrid[:40, :60]
    picture = (2 * rows + 3 * columns).astype(np.uint8)
    maps = torch.from_numpy(picture.reshape(20, 2, 30, 2).mean((1, 3)).astype(np.float32))
    maps[3, 4] = torch.nan
    images = torch.from_numpy(picture)[None, None]
    turned, labels = rotated(images, maps[None], torch.tensor([0.2]))
    known = ~labels[0].isnan()
    assert set(labels[0][known].tolist()) <= set(maps[~maps.isnan()].tolist())
    half = torch.nn.functional.avg_pool2d(turned.float(), 2)[0, 0]
    inner = torch.from_numpy(
        ndimage.binary_erosion(known.numpy(), iterations=2)
    )  # without black from beyond the border
    assert int(inner.sum()) > 300
    assert float((half - labels[0])[inner].abs().max()) <= 5  # half a step of the map in both directions
    corners = labels[0][[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.isnan().all()  # holes, and not a label of 0
    assert int((~known).sum()) > 4


def test_angles_lie_in_the_range_on_both_sides() -> None:
    torch.manual_seed(0)
    images = torch.zeros(200, 1, 41, 41, dtype=torch.uint8)
    images[:, 0, 20, 30:] = 255
    turned, _ = MapAugment(rotate=30.0)(images, torch.zeros(200, 41, 41))
    rows, columns = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    weight = turned[:, 0].double()
    angles = torch.atan2((weight * rows).sum((1, 2)), (weight * columns).sum((1, 2))) * 180 / math.pi
    assert float(angles.abs().max()) <= 31
    assert float(angles.min()) < -20
    assert float(angles.max()) > 20


def test_jitter_changes_pictures_and_no_labels() -> None:
    torch.manual_seed(0)
    images = torch.randint(60, 120, (8, 3, 6, 5), dtype=torch.uint8)
    maps = torch.rand(8, 6, 5)
    changed, same = MapAugment(jitter=0.4)(images.clone(), maps.clone())
    assert torch.equal(maps, same)
    ratio = changed.float().mean((1, 2, 3)) / images.float().mean((1, 2, 3))
    assert float(ratio.min()) > 0.55
    assert float(ratio.max()) < 1.45
    assert float(ratio.std()) > 0.1  # each picture has its own factor


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"flip": "left"}, "data.flip: expected one of"),
        ({"rotate": 90.0}, r"data.rotate: .*\[0, 45\]"),
        ({"jitter": -0.1}, r"data.jitter: .*\[0, 1\]"),
    ],
)
def test_refuses(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MapAugment(**settings).check()
