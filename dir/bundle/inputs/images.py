"""Pictures as arrays or as files, checked and scaled as in training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._checks import message
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs.csv_options import read_csv_options
from dir.bundle.inputs.rows import InputEncoder, Inputs, Rows, no_options

# A picture of more pixels is refused before it is decoded: a file of a few kilobytes can ask for gigabytes.
MAX_PIXELS = 100_000_000
_THREADS = min(32, 2 * (os.cpu_count() or 1))


class ImageInputs(InputEncoder):
    """uint8 arrays ``[N, H, W]`` or ``[N, H, W, C]``, or a list of picture files.

    Attributes:
        size: height and width of the network's pictures.
        channels: 1 for grey, 3 for colour, or another number for arrays alone.
        resize: whether pictures of another size are resized, as in training; otherwise they are refused.
        resized: height and width of the whole pictures, of which the centre of ``size`` is kept.
        steps: arithmetic from 0..255 to the network's range, such as ``[("multiply", 1 / 255), ("subtract", 0.5)]``.
        key: column or array that holds the pictures in the training file.
        csv: how a csv of pictures is written; None for a csv with commas and a column "path".
    """

    kind = "images"

    def __init__(self, fields: Fields) -> None:
        size = fields.integers("size")
        if len(size) != 2 or not all(1 <= side <= 2**14 for side in size):
            raise BundleError(message(fields.name("size"), "expected a height and a width in [1, 16384]", size))
        self.size = (size[0], size[1])
        self.channels = fields.integer("channels", 1, 1024)
        self.resize = fields.flag("resize")
        # Pictures are brought to this size first, and their centre is kept.
        self.resized = self.size
        if "resized" in fields.values:
            whole = fields.integers("resized")
            if len(whole) != 2 or not all(side <= full <= 2**14 for side, full in zip(size, whole, strict=True)):
                problem = f"expected a height and a width in [{size[0]} x {size[1]}, 16384]"
                raise BundleError(message(fields.name("resized"), problem, whole))
            self.resized = (whole[0], whole[1])
        self.key = fields.text("key")
        self.steps = _read_steps(fields)
        self.csv = read_csv_options(fields.section("csv")) if "csv" in fields.values else None

    def open(self, inputs: Any, **options: Any) -> Rows:
        no_options(options)
        if isinstance(inputs, str | Path):
            raise ValueError(message("inputs", "expected a list of picture files or an array", str(inputs)))
        if isinstance(inputs, np.ndarray | Tensor) and np.asarray(inputs).dtype.kind not in "US":
            return ArrayImages(self, self._array(np.asarray(inputs)))
        paths = [Path(str(path)) for path in inputs]
        if self.channels not in (1, 3):
            raise ValueError(message("inputs", f"picture files cannot have {self.channels} channels. Give an array"))
        return FileImages(self, paths)

    def scale(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return pictures ``[N, H, W, C]`` as the network's inputs, float32 ``[N, C, H, W]``."""
        return scale(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))), self.steps)

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture ``[H, W, C]`` in the network's size.

        Raises:
            ValueError: another size, where training resized nothing.
        """
        if picture.shape[:2] != self.resized:
            height, width = self.resized
            if not self.resize:
                raise ValueError(f"expected {height} x {width} pixels, got {picture.shape[0]} x {picture.shape[1]}")
            from PIL import Image

            image = Image.fromarray(picture[..., 0] if self.channels == 1 else picture)
            resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
            picture = resized.reshape(height, width, self.channels)
        top, left = (round((whole - part) / 2) for whole, part in zip(self.resized, self.size, strict=True))
        return picture[top : top + self.size[0], left : left + self.size[1]]

    def _array(self, array: NDArray[Any]) -> NDArray[np.uint8]:
        height, width = self.resized
        form = f"uint8 [N, {height}, {width}, {self.channels}]"
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or 0 in array.shape[1:]:
            raise ValueError(message("inputs", f"expected {form}", f"{array.dtype} {list(array.shape)}"))
        pictures = array[..., None] if array.ndim == 3 else array
        if pictures.shape[3] != self.channels:
            advice = ""
            if pictures.shape[1] == self.channels:
                advice = "The array has its channels first: give array.transpose(0, 2, 3, 1)."
            raise ValueError(message("inputs", f"expected {form}", list(array.shape), advice))
        if pictures.shape[1:3] != self.resized and not self.resize:
            raise ValueError(message("inputs", f"expected {form}", list(array.shape)))
        return pictures


class ArrayImages(Rows):
    """Pictures of an array."""

    def __init__(self, encoder: ImageInputs, pictures: NDArray[np.uint8]) -> None:
        super().__init__(len(pictures))
        self._encoder = encoder
        self._pictures = pictures

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        chosen = self._pictures[indices]
        if not chosen.shape[1:3] == self._encoder.resized == self._encoder.size:
            chosen = np.stack([self._encoder.fit(picture) for picture in chosen])
        return indices, self._encoder.scale(chosen)


class FileImages(Rows):
    """Pictures of files, read when their batch is needed."""

    def __init__(self, encoder: ImageInputs, paths: Sequence[Path]) -> None:
        super().__init__(len(paths))
        self._encoder = encoder
        self._paths = paths

    def batch(self, indices: list[int]) -> tuple[list[int], Inputs | None]:
        def read(index: int) -> NDArray[np.uint8] | None:
            path = self._paths[index]
            try:
                return self._encoder.fit(read_picture(path, self._encoder.channels))
            except Exception as error:  # Pillow has as many types of errors as formats
                self.problems[index] = f"{path}: {error}"
                return None

        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(read, indices))
        kept = [index for index, picture in zip(indices, found, strict=True) if picture is not None]
        pictures = [picture for picture in found if picture is not None]
        return kept, self._encoder.scale(np.stack(pictures)) if pictures else None


def read_picture(path: Path, channels: int) -> NDArray[np.uint8]:
    """Read a picture file as uint8 ``[H, W, channels]``.

    Raises:
        ValueError: no regular file, or more pixels than :data:`MAX_PIXELS`.
        OSError: a file that cannot be decoded.
    """
    from PIL import Image

    if not path.exists():
        raise ValueError("no such file")
    if not path.is_file():
        raise ValueError("not a regular file")
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
        picture = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return picture.reshape(*picture.shape[:2], channels)


def scale(pixels: Tensor, steps: Sequence[tuple[str, float]]) -> Tensor:
    """Return uint8 pixels after the arithmetic of ``steps``, in float32."""
    scaled = pixels.to(torch.float32)
    for operation, value in steps:
        if operation == "multiply":
            scaled = scaled * value
        elif operation == "divide":
            scaled = scaled / value
        else:
            scaled = scaled - value
    return scaled


def _read_steps(fields: Fields) -> list[tuple[str, float]]:
    steps = fields.values.get("steps")
    if not isinstance(steps, list) or len(steps) > 16:
        raise BundleError(message(fields.name("steps"), "expected a list of at most 16 steps", steps))
    found: list[tuple[str, float]] = []
    for index, step in enumerate(steps):
        if not isinstance(step, list) or len(step) != 2:
            raise BundleError(message(f"{fields.name('steps')}[{index}]", "expected an operation and a number", step))
        pair = Fields({"operation": step[0], "value": step[1]}, fields.name("steps"), f"[{index}]")
        operation = pair.choice("operation", ["multiply", "divide", "subtract"])
        found.append((operation, pair.positive("value") if operation == "divide" else pair.number("value")))
    return found
