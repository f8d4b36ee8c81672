"""Photographs in files: checks before training, decoding, and a memory-mapped cache of resized images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dir._checks import message
from dir.data.identity import digest_of_file

# A picture with more pixels is refused before it is decoded: a small file may claim a size that fills the memory.
MAX_PIXELS = 100_000_000
# Decoding releases the interpreter lock, and reading waits for the disk.
THREADS = min(32, 2 * (os.cpu_count() or 1))


def load_image(path: Path, size: int) -> Image.Image:
    """Return a photograph as RGB, resized to ``size`` x ``size`` (bilinear, antialiased).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the path is no regular file, or the picture has more than :data:`MAX_PIXELS` pixels.
        OSError: if the file cannot be decoded.
    """
    check_regular(path)
    with Image.open(path) as image:
        check_pixels(image)
        return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def check_regular(path: Path) -> None:
    """Raise an error unless the path is a regular file: opening a FIFO or a device may wait for ever.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the path is a folder, a FIFO, a socket or a device.
    """
    if not path.exists():
        raise FileNotFoundError(message(str(path), "missing"))
    if not path.is_file():
        raise ValueError("expected a regular file, got a folder, a FIFO or a device")


def check_pixels(image: Image.Image) -> None:
    """Raise a ValueError for a picture with more than :data:`MAX_PIXELS` pixels, before it is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"expected at most {MAX_PIXELS:,} pixels, got {width} x {height}")


def find_broken(paths: Sequence[Path], decode: bool = True) -> list[str]:
    """Return which images are missing, refused or cannot be decoded, each with the reason.

    Args:
        paths: the image files.
        decode: whether each file is decoded; otherwise only its existence and type are checked.

    Returns:
        one line for each of these images, in the order of ``paths``.
    """

    def read(row: int) -> None:
        check_regular(paths[row])
        with Image.open(paths[row]) as image:
            check_pixels(image)
            image.draft("RGB", (32, 32))  # JPEG decodes to an eighth of its size: faster, and still read to the end
            image.load()

    def look(row: int) -> None:
        check_regular(paths[row])

    return _each(paths, read if decode else look)


def digests_of_files(paths: Sequence[Path]) -> list[bytes]:
    """Return a hash of the content of each file, 16 bytes, read by several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(digest_of_file, paths))


def make_cache(paths: Sequence[Path], size: int, target: Path) -> list[str]:
    """Write all images, resized, into one array file: uint8 [N, size, size, 3].

    The array is written to a temporary file, which is renamed when it is complete: a killed run leaves no partial
    cache.

    Args:
        paths: the image files.
        size: side of the resized images.
        target: the ``.npy`` file; written only if no image is broken.

    Returns:
        one line for each broken image, as :func:`find_broken`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}.part")
    try:
        images = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 3))

        def write(row: int) -> None:
            images[row] = np.asarray(load_image(paths[row], size))

        broken = _each(paths, write)
        images.flush()
        if not broken:
            part.replace(target)
        return broken
    finally:
        part.unlink(missing_ok=True)


@functools.lru_cache(maxsize=8)
def open_cache(path: Path) -> NDArray[np.uint8]:
    """Return the memory-mapped array of :func:`make_cache`, opened once in each process.

    Datasets hold the path and call this function, because a memory map is copied when it is sent to a worker process.
    """
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return images


def _each(paths: Sequence[Path], action: Callable[[int], None]) -> list[str]:
    def attempt(row: int) -> str | None:
        try:
            action(row)
        except FileNotFoundError:
            return f"{paths[row]}: missing"
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more for a bad file
            return f"{paths[row]}: {type(error).__name__}: {error}"
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return [line for line in pool.map(attempt, range(len(paths))) if line is not None]
