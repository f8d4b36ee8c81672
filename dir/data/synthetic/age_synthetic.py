"""The built-in age benchmark: drawn faces with the age histogram of AgeDB-DIR, without a download."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import check_integer
from dir.data.arrays import ArrayDataset, Inputs
from dir.data.base import SPLITS, RegressionData
from dir.data.npz_images import TO_FLOAT, random_shift, to_float
from dir.data.synthetic.faces import FACE_SIZE, draw_faces
from dir.data.synthetic.histograms import AGEDB_DIR_AGES, shuffled_values


def augment(images: Tensor, padding: int) -> Tensor:
    """Shift each picture by up to `padding` pixels in each direction, and mirror half of the pictures.

    Random numbers come from torch's global generator, which the run seeds.

    Shape: uint8 [N, C, H, W] -> uint8 [N, C, H, W].
    """
    if padding:
        images = random_shift(images, padding)
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, images.flip(3), images)


class AgeSyntheticData(RegressionData):
    """Drawn faces of people from 1 to 101: 12,208 / 2,140 / 2,140, with AgeDB-DIR's count of every age and split.

    A picture depends on its index and age alone, not on the machine or the seed. The pictures are drawn in memory
    when the run starts (some seconds, 200 MB). Training pictures are shifted and mirrored.

    Args:
        limit: largest number of faces in each split, for tests and trials; None for all. These are the first faces
            of the split's fixed shuffled order, so that the age histogram keeps its shape.
        padding: largest random shift of a training picture in pixels, >= 0; the border is repeated.
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
        if limit is not None:
            check_integer("data.limit", limit, minimum=2, advice="null takes all faces.")
        check_integer("data.padding", padding, minimum=0)
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
