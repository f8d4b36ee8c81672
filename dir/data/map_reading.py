"""Reading pictures and stored maps of labels from files, and bringing both to the sizes of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dir.data.image_files import check_pixels, check_regular

Values = NDArray[Any]
Size = tuple[int, int]
# Files of maps. A jpg changes the stored values.
MAP_SUFFIXES = (".npy", ".png", ".tif", ".tiff", ".bmp")


class Fit(NamedTuple):
    """Sizes of pictures and maps; each is (height, width) or None.

    Args:
        image_size: pictures are resized to it. None: pictures keep their size.
        crop: size of the centre that is kept of a resized picture. None: the whole picture is kept.
        map_size: the map of what is kept of the picture gets this size. None: maps keep their size.
    """

    image_size: Size | None = None
    crop: Size | None = None
    map_size: Size | None = None

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """Return a picture as the network sees it, uint8 [3, H, W].

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no regular file, too many pixels, or a picture smaller than the crop.
            OSError: the file cannot be decoded.
        """
        check_regular(path)
        with Image.open(path) as image:
            check_pixels(image)
            colour = image.convert("RGB")
        if self.image_size is not None:
            colour = colour.resize(self.image_size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(colour)
        if self.crop is not None:
            (top, left), (height, width) = corner(pixels.shape[:2], self.crop), self.crop
            pixels = pixels[top : top + height, left : left + width]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def values(self, stored: Values, picture: Size) -> Values:
        """Return the stored values at the pixels of the map that the network predicts.

        Each pixel takes the stored value at its centre. Values are never mixed: the mean of a near and of a far label
        is the label of neither, and the mean with a hole is none at all.

        Args:
            stored: map of the whole picture, [h, w].
            picture: height and width of the stored picture.
        """
        if self.map_size is None:
            return stored
        whole = self.image_size or picture
        kept = self.crop or whole
        rows, columns = nearest_places(corner(whole, kept), kept, whole, self.map_size, stored.shape)
        chosen: Values = stored[np.ix_(rows, columns)]
        return chosen


def nearest_places(
    start: Size, part: Size, whole: Size, size: Size, stored: Size | tuple[int, ...]
) -> list[NDArray[np.int64]]:
    """Return rows and columns of a stored map that lie at the centres of the pixels of a part.

    Args:
        start: top and left of the part.
        part, whole: height and width of the part and of the whole, in pixels of the whole.
        size: height and width in pixels that the part gets.
        stored: height and width of the stored map of the whole.
    """
    return [
        np.clip(((first + (np.arange(to) + 0.5) * kept / to) * (length / full)).astype(np.int64), 0, length - 1)
        for first, kept, full, to, length in zip(start, part, whole, size, stored, strict=True)
    ]


def corner(whole: Size | tuple[int, ...], part: Size) -> Size:
    """Return top and left of the centre of a picture.

    Raises:
        ValueError: the part is larger than the whole.
    """
    if part[0] > whole[0] or part[1] > whole[1]:
        raise ValueError(f"expected at least {part[0]} x {part[1]} pixels, got {whole[0]} x {whole[1]}")
    return round((whole[0] - part[0]) / 2), round((whole[1] - part[1]) / 2)


def picture_size(path: Path, decode: bool) -> Size:
    """Return height and width of a picture; ``decode`` reads the file to its end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no regular file, or too many pixels.
        OSError: the file cannot be decoded.
    """
    check_regular(path)
    with Image.open(path) as image:
        check_pixels(image)
        size = (image.height, image.width)
        if decode:
            image.draft("RGB", (32, 32))  # JPEG decodes to an eighth of its size: faster, and still read to the end
            image.load()
    return size


def read_map(path: Path) -> Values:
    """Return the stored values of a map, [h, w], in the type of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that holds no map of numbers, or a jpg.
        OSError: the file cannot be decoded.
    """
    check_regular(path)
    if path.suffix.lower() == ".npy":
        values = np.load(path, allow_pickle=False)
        flat = values.reshape([side for side in values.shape if side != 1] if values.ndim == 3 else values.shape)
        if flat.ndim != 2 or 0 in flat.shape or flat.dtype.kind not in "iufb":
            raise ValueError(f"expected numbers [h, w], got {values.dtype} {list(values.shape)}")
        return np.asarray(flat.astype(np.uint8) if flat.dtype.kind == "b" else flat)
    with Image.open(path) as image:
        check_pixels(image)
        if image.format == "JPEG":
            raise ValueError("a jpg changes the stored values; expected png, tif or npy")
        if image.mode.startswith("P"):
            # Its bytes are places in a table of colours, in any order.
            raise ValueError("a map with a palette stores no labels; save it as grey of 8 or 16 bits, or as npy")
        maps = getattr(image, "n_frames", 1)
        if maps > 1:
            raise ValueError(f"expected one map in a file, got {maps}")
        if len(image.getbands()) != 1:
            raise ValueError(f"expected one number for each pixel, got the channels {image.mode}")
        values = np.asarray(image)
    native: Values = values.astype(np.uint8 if values.dtype.kind == "b" else values.dtype.newbyteorder("="))
    return native


def same_view(picture: Size, stored: Size) -> bool:
    """Return whether a map may show the whole picture: the ratio of its sides is that of the picture, to a pixel.

    Example:
        >>> same_view((480, 640), (120, 160)), same_view((480, 640), (640, 480))
        (True, False)
    """
    return abs(stored[0] * picture[1] - stored[1] * picture[0]) <= max(picture)
