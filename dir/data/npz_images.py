"""NpzImages: images, labels and splits from one npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dir._archives import npz_names, read_npz
from dir._checks import check_choice, check_integer, check_not_negative, message
from dir.bins import check_finite
from dir.data.arrays import ArrayDataset, Inputs
from dir.data.base import SPLITS, RegressionData
from dir.data.identity import label_bytes, row_id
from dir.data.label_types import check_float32
from dir.data.splits import Names, group_split, read_split


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images [N, C, H, W] in 0..255 as float32 in [-1, 1]."""
    return images.to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)


def random_shift(images: Tensor, pixels: int) -> Tensor:
    """Move each image by a random whole number of pixels, at most ``pixels`` in each direction.

    The border is repeated. Random numbers come from PyTorch's default generator.

    Args:
        images: [N, C, H, W], any dtype.
        pixels: largest move along each axis, at least 1.

    Shape:
        the shape of ``images``.

    Example:
        >>> random_shift(torch.ones(2, 1, 8, 8), pixels=2).shape
        torch.Size([2, 1, 8, 8])
    """
    count, _, height, width = images.shape
    moves = torch.randint(-pixels, pixels + 1, (2, count, 1))
    rows = (torch.arange(height) + moves[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp_(0, width - 1)
    moved = images.gather(2, rows[:, None, :, None].expand_as(images))
    return moved.gather(3, columns[:, None, None, :].expand_as(images))


# The arithmetic of to_float, as the model bundle repeats it.
TO_FLOAT = [["multiply", 2.0 / 255.0], ["subtract", 1.0]]


def _ids(images: NDArray[np.uint8], labels: NDArray[Any]) -> list[str]:
    return [row_id(image.tobytes(), label) for image, label in zip(images, label_bytes(labels), strict=True)]


class NpzImages(RegressionData):
    """Regression on the images of one ``.npz`` file, with the splits of the file.

    Images are never flipped or rotated, because labels may be angles or positions. Training images are moved and get
    noise if ``shift`` and ``noise`` are set.

    Args:
        path: the file.
        label: key of the labels, numbers of shape [N].
        images: key of the images, uint8 [N, H, W], [N, H, W, C] or [N, C, H, W]. Default "images".
        split: key of the splits, [N]: train, val, test or 0, 1, 2. Default "split".
        group: key of identities (people, patients, sites), [N]. The splits of the file are then ignored: whole groups
            are drawn by the seed, and no group is in two splits. None (default): the splits of the file.
        share: approximate share of the rows for val, and for test; in (0, 0.33]. Only with ``group``. Default 0.13.
        layout: order of the axes of images with channels: "NHWC" or "NCHW". None (default) finds the axis of 1, 3 or
            4 channels, and refuses arrays in which none or both of the axes may be channels.
        shift: largest move of a training image in pixels. Default 0.
        noise: standard deviation of gaussian noise on training images (values in [-1, 1]). Default 0.
        importance: key of the importance of each row, numbers >= 0 of shape [N]: it multiplies the weights of the
            training loss, and the metrics get weighted errors. None (default): all rows count equally.
        batch_size, eval_batch_size, num_workers, seed: see :class:`~dir.data.base.RegressionData`.

    Shape:
        A batch is (float32 [N, C, H, W] in [-1, 1], float32 [N]).

    Raises:
        FileNotFoundError: if there is no file at ``path``.
        ValueError: for missing keys, arrays of other shapes or types, labels that are not finite, and missing
            identities.
    """

    def __init__(
        self,
        path: str,
        label: str,
        images: str = "images",
        split: str = "split",
        group: str | None = None,
        share: float = 0.13,
        layout: Literal["NHWC", "NCHW"] | None = None,
        shift: int = 0,
        noise: float = 0.0,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
        importance: str | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        check_integer("data.shift", shift, minimum=0)
        check_not_negative("data.noise", noise)
        if layout is not None:
            check_choice("data.layout", layout, ("NHWC", "NCHW"))
        self.path = Path(path)
        self.keys = {"images": images, "label": label} | ({"split": split} if group is None else {"group": group})
        self.keys |= {} if importance is None else {"importance": importance}
        self.share = share
        self.layout = layout
        self.shift = shift
        self.noise = noise
        self.augments = shift > 0 or noise > 0
        self._channels: int | None = None
        self._size: tuple[int, ...] = ()

    def build(self) -> dict[str, Dataset[Any]]:
        arrays = self._read()
        images, labels = arrays["images"], arrays["label"]
        placed = self.place_rows(lambda: _ids(images, labels), lambda: self._names(arrays))
        images = self._channels_last(images)
        self._channels = images.shape[3]
        self._size = images.shape[1:3]
        datasets: dict[str, Dataset[Any]] = {}
        for name in SPLITS:
            rows = placed[name]
            pixels = torch.from_numpy(np.ascontiguousarray(images[rows].transpose(0, 3, 1, 2)))
            values = torch.from_numpy(labels[rows].astype(np.float32))
            datasets[name] = ArrayDataset(pixels, values, self._train if name == "train" else self._plain)
        if "importance" in arrays:
            where = f"{self.path}: array {self.keys['importance']!r}"
            self.set_importance({name: arrays["importance"][placed[name]] for name in SPLITS}, where)
        return datasets

    def encoder_args(self) -> dict[str, Any]:
        self.setup()
        return {"in_channels": self._channels}

    def encoding(self) -> dict[str, Any]:
        self.setup()
        return {
            "kind": "images",
            "size": list(self._size),
            "channels": self._channels,
            "resize": False,
            "steps": TO_FLOAT,
            "key": self.keys["images"],
            "target": self.keys["label"],
        }

    def files(self) -> dict[str, Path]:
        return {"data.path": self.path}

    def settings(self) -> dict[str, Any]:
        return {"keys": self.keys} | ({"share": self.share, "seed": self.seed} if "group" in self.keys else {})

    def _names(self, arrays: dict[str, NDArray[Any]]) -> Names:
        if "group" in arrays:
            return group_split(self._groups(arrays["group"]), self.share, self.seed)
        return read_split(arrays["split"], where=f"{self.path}: array {self.keys['split']!r}")

    def _channels_last(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the images as [N, H, W, C]."""
        if images.ndim == 3:
            return images[..., None]
        layout = self.layout
        if layout is None:
            last, first = (images.shape[axis] in (1, 3, 4) for axis in (3, 1))
            if last == first:
                raise ValueError(
                    message(
                        f"{self.path}: array {self.keys['images']!r}",
                        "expected [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels",
                        list(images.shape),
                        "Set data.layout=NHWC or data.layout=NCHW.",
                    )
                )
            layout = "NHWC" if last else "NCHW"
        return images if layout == "NHWC" else images.transpose(0, 2, 3, 1)

    def _plain(self, images: Inputs) -> Inputs:
        return to_float(cast("Tensor", images))

    def _train(self, images: Inputs) -> Inputs:
        batch = cast("Tensor", images)
        if self.shift:
            batch = random_shift(batch, self.shift)
        batch = to_float(batch)
        return batch + self.noise * torch.randn_like(batch) if self.noise else batch

    def _read(self) -> dict[str, NDArray[Any]]:
        if not self.path.is_file():
            raise FileNotFoundError(
                message(
                    "data.path",
                    f"file {self.path} not found",
                    advice="Give an .npz file with images (uint8 [N, H, W], [N, H, W, C] or [N, C, H, W]), labels "
                    "([N], data.label=KEY) and splits ([N], 0/1/2 or train/val/test).",
                )
            )
        found = npz_names(self.path)
        missing = [f"data.{name}={key}" for name, key in self.keys.items() if key not in found]
        if missing:
            raise ValueError(
                message(str(self.path), f"no array for {', '.join(missing)} (found: {', '.join(found)})")
            )
        read = read_npz(self.path, set(self.keys.values()))
        arrays = {name: read[key] for name, key in self.keys.items()}
        self._check(arrays)
        return arrays

    def _groups(self, groups: NDArray[Any]) -> NDArray[Any]:
        where = f"{self.path}: array {self.keys['group']!r}"
        if groups.ndim != 1:
            raise ValueError(message(where, "expected one entry for each image, shape [N]", list(groups.shape)))
        gone = np.flatnonzero(np.isnan(groups)) if groups.dtype.kind == "f" else np.empty(0)
        if len(gone):
            shown = ", ".join(map(str, gone[:20]))
            raise ValueError(message(where, f"{len(gone)} missing values (NaN), first in rows {shown}"))
        return groups

    def _check(self, arrays: dict[str, NDArray[Any]]) -> None:
        images, labels = arrays["images"], arrays["label"]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
            where, found = f"{self.path}: array {self.keys['images']!r}", f"{images.dtype} {list(images.shape)}"
            raise ValueError(message(where, f"expected uint8 of shape [N, H, W] or [N, H, W, C], got {found}"))
        if labels.ndim != 1 or labels.dtype.kind not in "fiu":
            where, found = f"{self.path}: array {self.keys['label']!r}", f"{labels.dtype} {list(labels.shape)}"
            raise ValueError(message(where, f"expected numbers of shape [N], got {found}"))
        importance = arrays.get("importance", labels)
        if importance.ndim != 1 or importance.dtype.kind not in "fiub":
            where, found = (
                f"{self.path}: array {self.keys['importance']!r}",
                f"{importance.dtype} {list(importance.shape)}",
            )
            raise ValueError(message(where, f"expected numbers of shape [N], got {found}"))
        lengths = {key: len(arrays[name]) for name, key in self.keys.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(message(str(self.path), "expected arrays of equal length", lengths))
        with np.errstate(over="ignore"):  # labels are trained on in float32, in which 1e300 is infinite
            check_finite(labels.astype(np.float32), f"{self.path}: labels {self.keys['label']!r}")
        check_float32(labels, f"{self.path}: labels {self.keys['label']!r}")
