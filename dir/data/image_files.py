"""Reading photographs: checks before training, and a memory-mapped cache of resized images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dir.data.identity import digest_of_file

# Decoding releases the interpreter lock, and reading waits for the disk.
THREADS = min(32, 2 * (os.cpu_count() or 1))


def load_image(path: Path, size: int) -> Image.Image:
    """Read a photograph as RGB, resized to ``size`` x ``size`` (bilinear, antialiased)."""
    with Image.open(path) as image:
        return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def find_broken(paths: Sequence[Path], decode: bool = True) -> list[str]:
    """Which images are missing, or cannot be decoded, each with the reason.

    Args:
        paths: the image files.
        decode: read every file to its end; otherwise only look whether it is there.

    Returns:
        one line for each such image, in the order of ``paths``.
    """

    def read(row: int) -> None:
        with Image.open(paths[row]) as image:
            image.draft("RGB", (32, 32))  # JPEG decodes to an eighth: faster, still read to the end
            image.load()

    def look(row: int) -> None:
        if not paths[row].is_file():
            raise FileNotFoundError

    return _each(paths, read if decode else look)


def digests_of_files(paths: Sequence[Path]) -> list[bytes]:
    """Return a hash of the content of each file, 16 bytes, read by several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(digest_of_file, paths))


def make_cache(paths: Sequence[Path], size: int, target: Path) -> list[str]:
    """Write all images, resized, into one array file: uint8 [N, size, size, 3].

    The file is written beside its place and renamed when complete, so that a killed run leaves no half of it.

    Args:
        paths: the image files.
        size: side of the resized images.
        target: the ``.npy`` file; made only if no image is broken.

    Returns:
        what :func:`find_broken` returns.
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
    """The memory-mapped array of :func:`make_cache`, opened once in a process.

    Datasets hold the path and call this, since a memory map sent to a worker process travels as a full copy.
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
