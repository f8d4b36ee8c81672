"""Images, labels and splits from one npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dir.bins import check_finite
from dir.data.arrays import ArrayDataset, Inputs
from dir.data.base import SPLITS, RegressionData
from dir.data.identity import label_bytes, row_id
from dir.data.splits import Names, group_split, read_split


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, C, H, W] in 0..255 to float32 in [-1, 1]."""
    return images.to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)


def random_shift(images: Tensor, pixels: int) -> Tensor:
    """Move every image by its own random whole number of pixels, at most ``pixels`` each way.

    The border is repeated into what the move uncovers. Drawn from PyTorch's default generator.

    Args:
        images: [N, C, H, W], any dtype.
        pixels: largest move along each axis; at least 1.

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
    """Regression on images out of one ``.npz`` file, with splits that the file gives.

    Nothing is flipped or rotated: labels may be angles, positions or counts on one side. The augmentations
    below leave all of these alone, or nearly so, and act in training only.

    Args:
        path: the file.
        label: key of the labels, numbers of shape [N].
        images: key of the images, uint8 [N, H, W] or [N, H, W, C]. Default "images".
        split: key of the splits, [N]: train, val, test or 0, 1, 2. Default "split".
        group: key of identities (people, patients, sites), [N]. The file's own splits then do not count: whole groups
            are drawn by the seed, and no group is in two splits. None (default): the file's splits.
        share: of the rows, for val and for test, about; in (0, 0.33]. Only with ``group``. Default 0.13.
        shift: move training images by up to this many pixels; 0 (default) moves none.
        noise: standard deviation of gaussian noise on training images (values in [-1, 1]). Default 0.
        batch_size, eval_batch_size, num_workers, seed: see :class:`~dir.data.base.RegressionData`.

    Shape:
        A batch is (float32 [N, C, H, W] in [-1, 1], float32 [N]).

    Raises:
        FileNotFoundError: no file at ``path``.
        ValueError: keys that the file lacks, arrays of other shapes or types, labels that are not finite, missing
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
        shift: int = 0,
        noise: float = 0.0,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if shift < 0 or noise < 0:
            raise ValueError(f"shift and noise must not be negative; got shift={shift}, noise={noise}")
        self.path = Path(path)
        self.keys = {"images": images, "label": label} | ({"split": split} if group is None else {"group": group})
        self.share = share
        self.shift = shift
        self.noise = noise
        self.augments = shift > 0 or noise > 0
        self._channels: int | None = None
        self._size: tuple[int, ...] = ()

    def build(self) -> dict[str, Dataset[Any]]:
        arrays = self._read()
        images, labels = arrays["images"], arrays["label"]
        placed = self.place_rows(lambda: _ids(images, labels), lambda: self._names(arrays))
        if images.ndim == 3:
            images = images[..., None]
        self._channels = images.shape[3]
        self._size = images.shape[1:3]
        datasets: dict[str, Dataset[Any]] = {}
        for name in SPLITS:
            rows = placed[name]
            pixels = torch.from_numpy(np.ascontiguousarray(images[rows].transpose(0, 3, 1, 2)))
            values = torch.from_numpy(labels[rows].astype(np.float32))
            datasets[name] = ArrayDataset(pixels, values, self._train if name == "train" else self._plain)
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
                f"no file {self.path}: set data.path to an .npz file with images (uint8 [N, H, W] or "
                "[N, H, W, C]), labels ([N], data.label=KEY) and splits ([N], 0/1/2 or train/val/test)"
            )
        try:
            archive = np.load(self.path, allow_pickle=False)
        except Exception as error:  # numpy raises half a dozen types for what is not an npz file
            raise ValueError(f"{self.path} cannot be read as an .npz file: {error}") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"{self.path} holds a single array; an .npz file with named arrays is needed")
        with archive:
            missing = [f"data.{name}={key}" for name, key in self.keys.items() if key not in archive.files]
            if missing:
                found = ", ".join(sorted(archive.files))
                raise ValueError(f"{self.path} has no array for {', '.join(missing)}; the keys found are: {found}")
            arrays = {name: self._array(archive, key) for name, key in self.keys.items()}
        self._check(arrays)
        return arrays

    def _array(self, archive: Any, key: str) -> NDArray[Any]:
        try:
            array: NDArray[Any] = archive[key]
        except Exception as error:  # from the zip reader to the parser of the header
            raise ValueError(
                f"{self.path}: array {key!r} cannot be read ({error}); it is cut off, or holds Python objects, which "
                "are not read: save numbers or fixed-width strings instead"
            ) from error
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{self.path}: {key!r} is no array as np.savez writes them")
        return array

    def _groups(self, groups: NDArray[Any]) -> NDArray[Any]:
        where = f"{self.path}: array {self.keys['group']!r}"
        if groups.ndim != 1:
            raise ValueError(f"{where} must have one entry per image, shape [N]; got shape {list(groups.shape)}")
        gone = np.flatnonzero(np.isnan(groups)) if groups.dtype.kind == "f" else np.empty(0)
        if len(gone):
            shown = ", ".join(map(str, gone[:20]))
            raise ValueError(f"{where} has missing values (NaN), {len(gone)} in all, first in rows {shown}")
        return groups

    def _check(self, arrays: dict[str, NDArray[Any]]) -> None:
        images, labels = arrays["images"], arrays["label"]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
            raise ValueError(
                f"{self.path}: array {self.keys['images']!r} must be uint8 of shape [N, H, W] or "
                f"[N, H, W, C]; got {images.dtype} {list(images.shape)}"
            )
        if labels.ndim != 1 or labels.dtype.kind not in "fiu":
            raise ValueError(
                f"{self.path}: array {self.keys['label']!r} must be numbers of shape [N]; "
                f"got {labels.dtype} {list(labels.shape)}"
            )
        lengths = {key: len(arrays[name]) for name, key in self.keys.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{self.path}: the arrays differ in length: {lengths}")
        with np.errstate(over="ignore"):  # as they will be trained on: 1e300 is infinite there
            check_finite(labels.astype(np.float32), f"{self.path}: labels {self.keys['label']!r}")
