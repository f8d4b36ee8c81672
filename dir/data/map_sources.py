"""Pictures with a map of labels each: how they are read from arrays, and how stored values become labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._archives import npz_names, read_npz
from dir._checks import check_positive, message
from dir.data.identity import row_id
from dir.data.splits import Names

Values = NDArray[Any]


class LabelCode(NamedTuple):
    """How a stored value becomes a label: ``(value * scale) ** power``; a hole has no label.

    Args:
        scale: above 0. Default 1.
        power: above 0; 2 for values that are square roots. Default 1.
        hole: stored value that means "no label". None (default): NaN alone does.
    """

    scale: float = 1.0
    power: float = 1.0
    hole: float | None = None

    def check(self) -> None:
        """Raise a ValueError for settings out of range."""
        check_positive("data.scale", self.scale)
        check_positive("data.power", self.power)

    def labels(self, values: Values, mask: Values | None, where: str) -> Tensor:
        """Return the labels of stored values, float32 of their shape, NaN in holes.

        Args:
            values: stored values.
            mask: True where there is a label; or None.
            where: name of the values in error messages.

        Raises:
            ValueError: labels that are infinite, or negative values to a power.
        """
        wide = values.astype(np.float64)
        if self.hole is not None:
            wide[values == self.hole] = np.nan
        if mask is not None:
            wide[~mask] = np.nan
        if self.power != 1 and bool((wide < 0).any()):
            problem = f"expected values >= 0 with data.power={self.power:g}"
            raise ValueError(message(where, problem, float(np.nanmin(wide)), "Set data.power=1."))
        with np.errstate(over="ignore"):
            labels = ((wide * self.scale) ** self.power).astype(np.float32)
        if bool(np.isinf(labels).any()):
            raise ValueError(message(where, f"expected finite labels, {int(np.isinf(labels).sum())} are infinite"))
        return torch.from_numpy(labels)


class MapSource(Protocol):
    """Pictures and their maps of labels, read by row number.

    Attributes:
        shape: channels, height and width of the pictures.
        map_size: height and width of the maps.
        names: "train", "val" or "test" for each row.
    """

    shape: tuple[int, int, int]
    map_size: tuple[int, int]
    names: Names

    def images(self, rows: Sequence[int]) -> Tensor:
        """Return pictures, uint8 ``[n, C, H, W]``."""
        ...

    def labels(self, rows: Sequence[int]) -> Tensor:
        """Return maps of labels, float32 ``[n, h, w]``, NaN in holes."""
        ...

    def ids(self) -> list[str]:
        """Return an id of each row: a hash of picture and map."""
        ...


class ArrayMaps:
    """Pictures and maps of one npz file, kept in the types of the file.

    Args:
        path: the file.
        keys: key of each array: "images", "label", and where given "split", "group" and "mask".
        layout: "NHWC" or "NCHW", or None; see :class:`dir.data.NpzMaps`.
        code: how stored values become labels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: missing keys, or arrays of other shapes or types.
    """

    names: Names

    def __init__(self, path: Path, keys: dict[str, str], layout: str | None, code: LabelCode) -> None:
        self.path, self.keys, self.code = path, keys, code
        if path.is_dir():
            advice = "Set data=dense_files for pictures and maps in files."
            raise ValueError(message("data.path", "expected an .npz file, got a folder", str(path), advice))
        if not path.is_file():
            advice = (
                "Give an .npz file with pictures (uint8 [N, H, W], [N, H, W, C] or [N, C, H, W]), maps of labels "
                "([N, H, W] or [N, 1, H, W], data.label=KEY) and splits ([N], 0/1/2 or train/val/test); or set "
                "data=dense_files for pictures and maps in files."
            )
            raise FileNotFoundError(message("data.path", f"file {path} not found", advice=advice))
        found = npz_names(path)
        missing = [f"data.{name}={key}" for name, key in keys.items() if key not in found]
        if missing:
            raise ValueError(message(str(path), f"no array for {', '.join(missing)} (found: {', '.join(found)})"))
        read = read_npz(path, set(keys.values()))
        self.arrays = {name: read[key] for name, key in keys.items()}
        lengths = {keys[name]: len(array) if array.ndim else 0 for name, array in self.arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(message(str(path), "expected arrays of equal length", lengths))
        self._maps = self._flat_maps("label", "iuf")
        self._mask = None if "mask" not in keys else self._flat_maps("mask", "biu") != 0
        if self._mask is not None and self._mask.shape != self._maps.shape:
            problem = f"expected the shape of data.label={keys['label']}, {list(self._maps.shape)}"
            raise ValueError(message(self._where("mask"), problem, list(self._mask.shape)))
        self._images = channels_first(self.arrays["images"], layout, self._where("images"))
        self.shape = (self._images.shape[1], self._images.shape[2], self._images.shape[3])
        self.map_size = (self._maps.shape[1], self._maps.shape[2])

    def images(self, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._images[list(rows)]))

    def labels(self, rows: Sequence[int]) -> Tensor:
        mask = None if self._mask is None else self._mask[list(rows)]
        return self.code.labels(self._maps[list(rows)], mask, self._where("label"))

    def ids(self) -> list[str]:
        maps = zip(self._images, self._maps, strict=True)
        return [row_id(image.tobytes(), labels.tobytes()) for image, labels in maps]

    def _where(self, name: str) -> str:
        return f"{self.path}: array {self.keys[name]!r}"

    def _flat_maps(self, name: str, kinds: str) -> Values:
        """Return an array of maps as [N, H, W]."""
        array = self.arrays[name]
        flat = array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array
        if flat.ndim != 3 or array.dtype.kind not in kinds or 0 in flat.shape:
            found = f"{array.dtype} {list(array.shape)}"
            kind = "numbers" if name == "label" else "true and false"
            advice = "For a number for each picture use experiment=images_npz." if array.ndim == 1 else ""
            problem = f"expected maps of {kind}, [N, H, W] or [N, 1, H, W], got {found}"
            raise ValueError(message(self._where(name), problem, advice=advice))
        return flat


def channels_first(images: Values, layout: str | None, where: str) -> Values:
    """Return uint8 pictures as [N, C, H, W].

    Args:
        images: [N, H, W], [N, H, W, C] or [N, C, H, W].
        layout: order of the axes, "NHWC" or "NCHW". None: the axis of 1, 3 or 4 channels is found.
        where: name of the array in error messages.

    Raises:
        ValueError: another shape or type, or both or no axis that may hold channels.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        found = f"{images.dtype} {list(images.shape)}"
        raise ValueError(message(where, f"expected uint8 of shape [N, H, W] or [N, H, W, C], got {found}"))
    if images.ndim == 3:
        return images[:, None]
    if layout is None:
        last, first = (images.shape[axis] in (1, 3, 4) for axis in (3, 1))
        if last == first:
            problem = "expected [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels"
            advice = "Set data.layout=NHWC or data.layout=NCHW."
            raise ValueError(message(where, problem, list(images.shape), advice))
        layout = "NHWC" if last else "NCHW"
    return images.transpose(0, 3, 1, 2) if layout == "NHWC" else images
