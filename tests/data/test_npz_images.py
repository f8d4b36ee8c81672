from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dir.data.npz_images import NpzImages, random_shift, to_float


def arrays(count: int = 12, channels: int | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (count, 6, 5) if channels is None else (count, 6, 5, channels)
    return {
        "images": rng.integers(0, 256, shape, dtype=np.uint8),
        "angle": np.arange(count, dtype=np.int16),
        "split": np.arange(count) % 3,
    }


def saved(folder: Path, **values: Any) -> Path:
    path = folder / "pictures.npz"
    np.savez(path, **values)
    return path


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_pixels_labels_and_splits_are_those_of_the_file(tmp_path: Path, channels: int | None) -> None:
    content = arrays(channels=channels)
    data = NpzImages(str(saved(tmp_path, **content)), "angle")
    data.setup()
    assert data.encoder_args() == {"in_channels": channels or 1}
    for code, name in enumerate(("train", "val", "test")):
        rows = np.flatnonzero(content["split"] == code)
        np.testing.assert_array_equal(data.labels(name).numpy(), content["angle"][rows])
        images, labels = data.dataset(name).__getitems__([1, 0])
        assert images.dtype == labels.dtype == torch.float32
        pixels = content["images"][rows[[1, 0]]].reshape(2, 6, 5, -1)
        for channel in range(channels or 1):
            expected = pixels[..., channel].astype(np.float64) / 127.5 - 1.0
            np.testing.assert_allclose(images[:, channel].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "names", [np.array(["train", "val", "test"] * 4), np.array([b"train", b"val", b"test"] * 4), np.arange(12.0) % 3]
)
def test_splits_may_be_names_bytes_or_codes(tmp_path: Path, names: np.ndarray) -> None:
    data = NpzImages(str(saved(tmp_path, **arrays() | {"split": names})), "angle")
    data.setup()
    assert data.labels("val").tolist() == [1.0, 4.0, 7.0, 10.0]


def test_names_of_the_arrays_can_be_given(tmp_path: Path) -> None:
    content = arrays()
    path = saved(tmp_path, x=content["images"], y=content["angle"], part=content["split"])
    data = NpzImages(str(path), "y", images="x", split="part")
    data.setup()
    assert len(data.labels("train")) == 4


def test_augmentation_is_for_training_only(tmp_path: Path) -> None:
    data = NpzImages(str(saved(tmp_path, **arrays())), "angle", shift=2, noise=0.5)
    data.setup()

    def twice(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        dataset = data.dataset(name)
        return dataset.__getitems__([0, 1, 2, 3])[0], dataset.__getitems__([0, 1, 2, 3])[0]

    assert not torch.equal(*twice("train"))
    assert torch.equal(*twice("val"))
    assert torch.equal(*twice("test"))


def test_shift_is_a_crop_of_the_image_with_repeated_borders() -> None:
    torch.manual_seed(3)
    images = torch.arange(4 * 2 * 7 * 6, dtype=torch.float32).reshape(4, 2, 7, 6)
    moved = random_shift(images, 2)
    assert moved.shape == images.shape
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    found = set()
    for image in range(4):
        places = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(padded[image, :, dy : dy + 7, dx : dx + 6], moved[image])
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 1  # every image has its own


def test_to_float_maps_the_range_of_bytes_to_one() -> None:
    assert to_float(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).tolist() == [[[[-1.0, 1.0]]]]


def test_a_missing_file_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^data\.path: .*none\.npz.*uint8.*data\.label"):
        NpzImages(str(tmp_path / "none.npz"), "angle").setup()


def test_missing_keys_list_those_found(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays())
    with pytest.raises(ValueError, match=r"data\.label=rbc \(found: angle, images, split\)"):
        NpzImages(str(path), "rbc").setup()


def test_pickled_arrays_are_not_read(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays() | {"angle": np.array([{}] * 12, dtype=object)})
    with pytest.raises(ValueError, match="Python objects"):
        NpzImages(str(path), "angle").setup()


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"text\.npz: not readable"):
        NpzImages(str(tmp_path / "text.npz"), "angle").setup()
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(ValueError, match="single array"):
        NpzImages(str(tmp_path / "single.npy"), "angle").setup()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((12, 6, 5), np.float32)}, r"uint8 of shape .* got float32 \[12, 6, 5\]"),
        ({"images": np.zeros((12, 6), np.uint8)}, "uint8 of shape"),
        ({"angle": np.zeros((12, 1))}, r"numbers of shape \[N\], got float64 \[12, 1\]"),
        ({"angle": np.array(["a"] * 12)}, "numbers of shape"),
        ({"angle": np.zeros(11)}, r"equal length, got .*'angle': 11"),
        (
            {"angle": np.where(np.arange(12) == 7, np.nan, np.arange(12.0))},
            r"labels .angle.*got nan in row 7",
        ),
        ({"split": np.arange(12) % 4}, r"'split'.*3 entries differ: '3' \(row 3\)"),
        ({"split": np.arange(12) % 2}, "no sample of test"),
    ],
)
def test_refuses_what_it_cannot_use(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NpzImages(str(saved(tmp_path, **arrays() | change)), "angle").setup()


def test_rotated_digits_and_blood_cells_load(shared: Path) -> None:
    digits = NpzImages(str(shared / "data/images/rotmnist_skew.npz"), "angle")
    digits.setup()
    assert [len(digits.labels(name)) for name in ("train", "val", "test")] == [6000, 1500, 2500]
    assert digits.encoder_args() == {"in_channels": 1}
    cells = NpzImages(str(shared / "data/images/bccd_counts.npz"), "rbc")
    cells.setup()
    assert [len(cells.labels(name)) for name in ("train", "val", "test")] == [205, 87, 72]
    assert cells.dataset("val").__getitems__([0])[0].shape == (1, 3, 96, 128)


def test_channels_first_arrays_are_recognised(tmp_path: Path) -> None:
    content = arrays(channels=3)
    last = NpzImages(str(saved(tmp_path, **content)), "angle")
    last.setup()
    expected = last.dataset("val").__getitems__([1, 0])[0]
    for layout in (None, "NCHW"):
        first = NpzImages(
            str(saved(tmp_path, **content | {"images": content["images"].transpose(0, 3, 1, 2)})),
            "angle",
            layout=layout,  # type: ignore[arg-type]
        )
        first.setup()
        assert first.encoder_args() == {"in_channels": 3}
        torch.testing.assert_close(first.dataset("val").__getitems__([1, 0])[0], expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(12, 3, 6, 3), (12, 6, 6, 5)])
def test_arrays_whose_channels_are_not_clear_need_a_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = str(saved(tmp_path, **arrays() | {"images": np.zeros(shape, np.uint8)}))
    with pytest.raises(ValueError, match=rf"'images'.*got \[12, {shape[1]}, .*data\.layout=NHWC"):
        NpzImages(path, "angle").setup()
    data = NpzImages(path, "angle", layout="NHWC")
    data.setup()
    assert data.encoder_args() == {"in_channels": shape[3]}
    with pytest.raises(ValueError, match=r"^data\.layout: .*got 'HWC'"):
        NpzImages(path, "angle", layout="HWC")  # type: ignore[arg-type]
