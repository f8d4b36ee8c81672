"""Photographs in files: checks before training, decoding, and a memory-mapped cache of resized images."""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dir._archives import read_npz
from dir._checks import message
from dir.data.identity import digest_of_file
from dir.data.problems import show_rows, shown

# Ends of the names of picture files: in a folder of pictures, and in a column of a csv.
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
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


def files_inside(folder: Path, names: Sequence[str], where: str, outside: bool = False) -> list[Path]:
    """Return the paths of files by their names, after a check that none leads out of the folder.

    A name leads out by ``..``, as an absolute path, or over a link.

    Args:
        folder: folder that the names start from.
        names: names of files, in the order of the rows.
        where: what the message begins with: the file of the names and their column.
        outside: whether names may lead out.

    Raises:
        ValueError: names lead out of the folder.
    """
    files = [folder / name for name in names]
    root = os.path.realpath(folder)
    out = [] if outside else [not Path(os.path.realpath(file)).is_relative_to(root) for file in files]
    bad = np.flatnonzero(np.array(out, dtype=bool))
    if len(bad):
        first = shown(names[bad[0]])
        problem = f"{len(bad)} paths lead out of {folder}, in rows {show_rows(bad)}; the first is {first}"
        raise ValueError(message(where, problem, advice="Set data.outside=true if you trust the file."))
    return files


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
    """Write all images, resized, into one array file: uint8 [N, size, size, 3], and a file of their checksums.

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
    part, sums = target.with_suffix(f".{os.getpid()}.part"), target.with_suffix(f".{os.getpid()}.sums.part")
    try:
        images = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 3))
        checksums = np.zeros(len(paths), np.uint32)

        def write(row: int) -> None:
            image = np.asarray(load_image(paths[row], size))
            checksums[row] = zlib.crc32(image.tobytes())
            images[row] = image

        broken = _each(paths, write)
        images.flush()
        if not broken:
            with sums.open("wb") as stream:
                np.savez(stream, crc32=checksums)
            # The checksums come first: a cache that is there has its checksums.
            sums.replace(checksums_of(target))
            part.replace(target)
            open_cache.cache_clear()
        return broken
    finally:
        part.unlink(missing_ok=True)
        sums.unlink(missing_ok=True)


def checksums_of(cache: Path) -> Path:
    """Return the path of the file that holds the CRC-32 of each image of a cache."""
    return cache.with_suffix(".crc32.npz")


class ImageCache:
    """The memory-mapped images of :func:`make_cache`, each compared with its checksum when it is read.

    Args:
        path: the ``.npy`` file.

    Raises:
        FileNotFoundError: if the cache or its checksums are missing.
        ValueError: if the header of the cache or the file of its checksums is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise
        except Exception as error:  # numpy raises several types for a damaged header
            raise ValueError(message(str(path), f"not readable ({error})")) from error
        self.checksums = read_npz(checksums_of(path), ["crc32"])["crc32"]

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """Return a copy of one image, uint8 [size, size, 3].

        Raises:
            ValueError: if the image differs from its checksum.
        """
        image = np.array(self.images[row])
        if zlib.crc32(image.tobytes()) != self.checksums[row]:
            advice = "Remove the file; the next run makes it again."
            raise ValueError(
                message(str(self.path), f"the file is damaged, image {row} differs from its checksum", advice=advice)
            )
        return image


@functools.lru_cache(maxsize=8)
def open_cache(path: Path) -> ImageCache:
    """Return the images of :func:`make_cache`, opened once in each process.

    Datasets hold the path and call this function, because a memory map is copied when it is sent to a worker process.
    """
    return ImageCache(path)


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
