"""The built-in age benchmark: drawn faces with the age histogram of AgeDB-DIR, nothing to download."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir.data.arrays import ArrayDataset, Inputs
from dir.data.base import SPLITS, RegressionData
from dir.data.npz_images import TO_FLOAT, random_shift, to_float
from dir.data.synthetic.faces import FACE_SIZE, draw_faces
from dir.data.synthetic.histograms import AGEDB_DIR_AGES, shuffled_values


def augment(images: Tensor, padding: int) -> Tensor:
    """Shift each picture by up to `padding` pixels either way, and mirror half of them.

    Drawn from torch's global generator, so that seeding the run seeds it.

    Shape: uint8 [N, C, H, W] -> uint8 [N, C, H, W].
    """
    if padding:
        images = random_shift(images, padding)
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, images.flip(3), images)


class AgeSyntheticData(RegressionData):
    """Drawn faces of people from 1 to 101: 12,208 / 2,140 / 2,140, with AgeDB-DIR's count of every age and split.

    The pictures are a function of their index and age alone, the same on every machine and for every seed. They
    are drawn in memory when the run starts (some seconds, 200 MB). Training pictures are shifted and mirrored.

    Args:
        limit: at most this many faces in each split, for tests and trials; None: all. The first `limit` of a
            split in its fixed shuffled order, so that the age histogram keeps its shape.
        padding: largest random shift of a training picture in pixels, >= 0; what it uncovers repeats the border.
        batch_size, eval_batch_size, num_workers, seed: see :class:`RegressionData`.

    Raises:
        ValueError: for a limit below 2 or a negative padding.
    """

    augments = True

    def __init__(
        self,
        limit: int | None = None,
        padding: int = 4,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if limit is not None and limit < 2:
            raise ValueError(f"limit: expected at least 2 faces in each split, or null for all, got {limit}")
        if padding < 0:
            raise ValueError(f"padding: expected a number of pixels >= 0, got {padding}")
        self.limit = limit
        self.padding = padding

    def build(self) -> dict[str, Dataset[Any]]:
        splits: dict[str, Dataset[Any]] = {}
        first = 0
        for number, split in enumerate(SPLITS):
            ages = shuffled_values(AGEDB_DIR_AGES[split], seed=number)
            indices = first + torch.arange(len(ages))
            first += len(ages)
            ages = ages[: self.limit].float()
            faces = draw_faces(ages, indices[: self.limit])
            splits[split] = ArrayDataset(faces, ages, self._train if split == "train" else self._plain)
        return splits

    def settings(self) -> dict[str, Any]:
        return {"limit": self.limit, "padding": self.padding}

    def encoder_args(self) -> dict[str, Any]:
        return {"in_channels": 3}

    def encoding(self) -> dict[str, Any]:
        return {
            "kind": "images",
            "size": [FACE_SIZE, FACE_SIZE],
            "channels": 3,
            "resize": False,
            "steps": TO_FLOAT,
            "key": "images",
            "target": "age",
        }

    def _plain(self, images: Inputs) -> Inputs:
        return to_float(cast("Tensor", images))

    def _train(self, images: Inputs) -> Inputs:
        return to_float(augment(cast("Tensor", images), self.padding))
