from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dir.data import csv_images, image_files
from dir.data.csv_images import CsvImages
from dir.data.image_files import find_broken, load_image, open_cache


def pictures(folder: Path, count: int = 9, **columns: Any) -> Path:
    """A csv of random JPEG pictures in folder/images, with ages 20, 21, ..."""
    (folder / "images" / "faces").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / "faces" / f"{i}.jpg", quality=95)
    table = pd.DataFrame(
        {
            "age": np.arange(count) + 20,
            "path": [f"faces/{i}.jpg" for i in range(count)],
            "split": [("train", "val", "test")[i % 3] for i in range(count)],
        }
        | columns
    )
    table.to_csv(folder / "faces.csv", index=False)
    return folder / "faces.csv"


def data_of(csv: Path, **kwargs: Any) -> CsvImages:
    return CsvImages(str(csv), str(csv.parent / "images"), **{"image_size": 16, "padding": 2, **kwargs})


def test_evaluation_images_are_resized_and_scaled(tmp_path: Path) -> None:
    data = data_of(pictures(tmp_path))
    data.setup()
    assert data.labels("val").tolist() == [21.0, 24.0, 27.0]
    image, age = data.dataset("val")[1]
    assert age == 24.0
    with Image.open(tmp_path / "images/faces/4.jpg") as picture:
        pixels = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR), np.float64)
    np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), pixels / 127.5 - 1.0, atol=1e-5)


def test_training_images_are_crops_and_mirror_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = data_of(pictures(tmp_path))
    data.setup()
    plain = data.plain(torch.from_numpy(np.array(load_image(tmp_path / "images/faces/0.jpg", 16))).permute(2, 0, 1))
    padded = torch.nn.functional.pad(plain, (2, 2, 2, 2), value=-1.0)
    seen = set()
    for _ in range(60):
        image, _ = data.dataset("train")[0]
        for mirrored in (False, True):
            shown = image.flip(2) if mirrored else image
            for top in range(5):
                for left in range(5):
                    if torch.allclose(padded[:, top : top + 16, left : left + 16], shown, atol=1e-6):
                        seen.add((mirrored, top, left))
    assert {place[0] for place in seen} == {False, True}
    assert len(seen) > 15


def test_a_batch_of_the_loader(tmp_path: Path) -> None:
    data = data_of(pictures(tmp_path), batch_size=2)
    data.setup()
    images, ages = next(iter(data.train_dataloader()))
    assert images.shape == (2, 3, 16, 16)
    assert images.dtype == ages.dtype == torch.float32
    assert data.encoder_args() == {"in_channels": 3}


def test_cached_images_equal_those_of_the_files(tmp_path: Path) -> None:
    csv = pictures(tmp_path)
    files, cached = data_of(csv), data_of(csv, cache_dir=str(tmp_path / "cache"))
    files.setup()
    cached.setup()
    for index in range(3):
        for got, expected in zip(cached.dataset("test")[index], files.dataset("test")[index], strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)
    # Nothing half-made is left beside the cache and its checksums.
    sums, only = sorted((tmp_path / "cache").iterdir())
    assert sums.name == only.stem + ".crc32.npz"
    assert isinstance(open_cache(only).images, np.memmap)


def test_the_cache_is_made_once_and_found_by_content_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = pictures(tmp_path)
    made = []
    original = csv_images.make_cache
    monkeypatch.setattr(csv_images, "make_cache", lambda *args: made.append(args[1:]) or original(*args))

    def load(**kwargs: Any) -> None:
        data = data_of(csv, cache_dir=str(tmp_path / "cache"), **kwargs)
        data.prepare_data()
        data.setup()

    load()
    load()
    assert len(made) == 1
    load(image_size=8)
    assert len(made) == 2
    csv.write_text(csv.read_text().replace("28,", "29,"))
    load()
    assert len(made) == 3


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def test_a_damaged_image_of_a_cache_is_refused_when_it_is_read(tmp_path: Path) -> None:
    data = data_of(pictures(tmp_path), cache_dir=str(tmp_path / "cache"))
    data.setup()
    (cache,) = (tmp_path / "cache").glob("*.npy")
    good = data.dataset("test")[0][0]
    flip(cache, cache.stat().st_size - 1)  # of the last picture, the third of the test split
    open_cache.cache_clear()
    torch.testing.assert_close(data.dataset("test")[0][0], good, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"images_16px_\w+\.npy: the file is damaged, image 8 .*Remove the file"):
        data.dataset("test")[2]


@pytest.mark.parametrize("damage", ["shape", "header", "checksums", "no checksums"])
def test_a_cache_that_cannot_be_opened_is_made_again_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_of(pictures(tmp_path), cache_dir=str(tmp_path / "cache"))
    data.prepare_data()
    sums, cache = sorted((tmp_path / "cache").iterdir())
    whole, checksums = cache.read_bytes(), sums.read_bytes()
    if damage == "shape":
        np.save(cache, np.zeros((2, 16, 16, 3), np.uint8))
    elif damage == "header":
        flip(cache, 11)
    elif damage == "checksums":
        flip(sums, len(checksums) // 2)
    else:
        sums.unlink()
    open_cache.cache_clear()
    data.setup()
    assert cache.name in caplog.text or sums.name in caplog.text
    assert "made again" in caplog.text
    assert cache.read_bytes() == whole
    assert sums.read_bytes() == checksums


def test_damaged_hashes_of_the_pictures_are_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv = pictures(tmp_path)
    expected = data_of(csv, cache_dir=str(tmp_path / "cache"))
    expected.setup()
    ids = expected.row_ids("test")
    (kept,) = (tmp_path / "cache").glob("*.digests.npz")
    whole = kept.read_bytes()
    flip(kept, len(whole) // 2)
    again = data_of(csv, cache_dir=str(tmp_path / "cache"))
    again.setup()
    assert again.row_ids("test") == ids
    assert kept.read_bytes() == whole
    assert kept.name in caplog.text


@pytest.mark.parametrize("cached", [False, True])
def test_broken_and_missing_images_are_all_listed(tmp_path: Path, cached: bool) -> None:
    csv = pictures(tmp_path, 60)
    faces = tmp_path / "images" / "faces"
    whole = (faces / "7.jpg").read_bytes()
    (faces / "7.jpg").write_bytes(whole[: len(whole) // 2])
    (faces / "8.jpg").write_text("no picture")
    for i in range(20, 45):
        (faces / f"{i}.jpg").unlink()
    data = data_of(csv, cache_dir=str(tmp_path / "cache") if cached else None, fetch="Ask the authors.")
    with pytest.raises(FileNotFoundError) as caught:
        data.setup()
    message = str(caught.value)
    assert message.startswith("data.path: 27 images listed in")
    assert f"{faces / '7.jpg'}: OSError" in message
    assert f"{faces / '8.jpg'}: UnidentifiedImageError" in message
    assert f"{faces / '20.jpg'}: missing" in message
    assert message.count("\n  ") == 21
    assert "... and 7 more" in message
    assert message.endswith("Ask the authors.")
    assert not cached or list((tmp_path / "cache").iterdir()) == []


def test_checking_without_decoding_finds_only_missing_files(tmp_path: Path) -> None:
    data = data_of(pictures(tmp_path), check_images=False)
    (tmp_path / "images/faces/3.jpg").write_text("no picture")
    data.setup()
    (tmp_path / "images/faces/4.jpg").unlink()
    assert find_broken([tmp_path / "images/faces/3.jpg", tmp_path / "images/faces/4.jpg"], decode=False) == [
        f"{tmp_path / 'images/faces/4.jpg'}: missing"
    ]


def test_absent_data_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.csv.*Ask the authors\."):
        CsvImages(str(tmp_path / "none.csv"), str(tmp_path), fetch="Ask the authors.").setup()
    csv = pictures(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data\.path.*Ask the authors\."):
        CsvImages(str(csv), str(tmp_path / "none"), fetch="Ask the authors.").setup()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": ["20", "?", *"3456789"]}, r"'age': 1 values are not finite numbers.*'\?'.*rows 2\b"),
        ({"age": [np.nan, *range(7), np.nan]}, r"'age': missing values in rows 1, 9\."),
        ({"age": [np.inf, *range(8)]}, r"'age'.*not finite numbers.*rows 1\b"),
        ({"path": [None, *"bcdefghi"]}, r"'path': missing values in rows 1\."),
        ({"split": ["train", "val", "test", "held", *["train"] * 5]}, r"'split'.*'held' \(row 4\)"),
        ({"split": ["train"] * 8 + ["val"]}, "no sample of test"),
    ],
)
def test_refuses_tables_it_cannot_use(tmp_path: Path, columns: dict[str, list], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data_of(pictures(tmp_path, **columns)).setup()


def test_names_the_columns_that_are_lacking(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'years'.*'age', 'path', 'split'"):
        data_of(pictures(tmp_path), label="years").setup()


def test_fifos_and_devices_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    data = data_of(pictures(tmp_path), check_images=False)
    (tmp_path / "images/faces/3.jpg").unlink()
    os.mkfifo(tmp_path / "images/faces/3.jpg")
    for check_images in (False, True):
        data.check_images = check_images
        with pytest.raises(FileNotFoundError, match=r"(?s)1 images.*3\.jpg: ValueError: expected a regular file"):
            _in_time(data.setup)
    with pytest.raises(ValueError, match="regular file"):
        load_image(Path("/dev/zero"), 16)


def _in_time(action: Callable[[], None], seconds: int = 20) -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError("the reader waits for the FIFO")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        action()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["dots", "absolute", "link"])
def test_paths_out_of_the_folder_are_refused_unless_asked(tmp_path: Path, kind: str) -> None:
    csv = pictures(tmp_path)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes((tmp_path / "images/faces/0.jpg").read_bytes())
    name = {"dots": "faces/../../secret.jpg", "absolute": str(secret), "link": "faces/link.jpg"}[kind]
    if kind == "link":
        (tmp_path / "images/faces/link.jpg").symlink_to(secret)
    table = pd.read_csv(csv)
    table.loc[4, "path"] = name
    table.to_csv(csv, index=False)
    with pytest.raises(ValueError, match=r"column 'path': 1 paths lead out of .*rows 5;.*data\.outside=true"):
        data_of(csv).setup()
    data_of(csv, outside=True).setup()


def test_pictures_above_the_pixel_limit_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 40 * 30)
    data = data_of(pictures(tmp_path))
    data.setup()
    Image.new("RGB", (41, 30)).save(tmp_path / "images/faces/2.jpg")
    decoded: list[object] = []
    monkeypatch.setattr(Image.Image, "load", lambda self: decoded.append(self))
    with pytest.raises(ValueError, match=r"at most 1,200 pixels, got 41 x 30"):
        load_image(tmp_path / "images/faces/2.jpg", 16)
    assert not decoded
    monkeypatch.undo()
    monkeypatch.setattr(image_files, "MAX_PIXELS", 40 * 30)
    with pytest.raises(FileNotFoundError, match=r"(?s)1 images.*2\.jpg: ValueError: expected at most 1,200 pixels"):
        data_of(tmp_path / "faces.csv").setup()
