"""The type of raw labels, and labels of pictures that collide in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dir.data import NpzImages
from dir.data.label_types import check_float32, needs_float64


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (1.7e9 + np.arange(382.0), True),
        (1e8 + np.linspace(-30, 30, 50), True),
        (1e9 + np.linspace(-1, 1, 50), True),
        (np.linspace(0, 1e9, 50), False),
        (np.random.default_rng(0).normal(size=100), False),
        (np.full(10, 1e9), False),
    ],
)
def test_float64_is_used_where_float32_is_too_coarse(labels: np.ndarray, expected: bool) -> None:
    assert needs_float64(labels) is expected


def test_labels_of_pictures_that_collide_are_refused_with_their_number(tmp_path: Path) -> None:
    seconds = 1_700_000_000 + np.arange(60)
    images = np.zeros((60, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, age=seconds, split=np.repeat([0, 1, 2], 20))
    with pytest.raises(ValueError, match=r"age.*60 different labels.*got [12]\b"):
        NpzImages(tmp_path / "x.npz", label="age").setup()


def test_many_digits_may_collide_by_chance() -> None:
    check_float32(np.array([0.1, 0.1 + 1e-12, 5.0]), "labels")
