"""MapAugment: random changes of training pictures, and of their maps where places move."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from dir._checks import check_choice, check_interval

Flip = Literal["none", "horizontal", "both"]


class MapAugment(NamedTuple):
    """Random changes of pictures and of their maps. Random numbers come from PyTorch's default generator.

    Args:
        flip: "none" (default), "horizontal" or "both": mirror images, each with probability 0.5.
        rotate: largest angle in degrees, in [0, 45]. A pixel whose label would lie outside the picture becomes a
            hole. Default 0.
        jitter: largest change of brightness, contrast and saturation, each by a factor in [1 - jitter, 1 + jitter];
            in [0, 1]. Pictures must be grey or in colour. Default 0.

    Shape:
        pictures uint8 ``[n, C, H, W]`` and maps float32 ``[n, h, w]`` -> the same.
    """

    flip: Flip = "none"
    rotate: float = 0.0
    jitter: float = 0.0

    def check(self) -> None:
        """Raise a ValueError for settings out of range."""
        check_choice("data.flip", self.flip, ("none", "horizontal", "both"))
        check_interval("data.rotate", self.rotate, "[0, 45]")
        check_interval("data.jitter", self.jitter, "[0, 1]")

    def __call__(self, images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        for axis, used in ((2, self.flip != "none"), (1, self.flip == "both")):
            if used:
                mirrored = torch.rand(len(images)) < 0.5
                images[mirrored] = images[mirrored].flip(axis + 1)
                maps[mirrored] = maps[mirrored].flip(axis)
        if self.rotate:
            angles = (2 * torch.rand(len(images)) - 1) * math.radians(self.rotate)
            images, maps = rotated(images, maps, angles)
        if self.jitter:
            change = v2.ColorJitter(self.jitter, self.jitter, self.jitter)
            images = torch.stack([change(image) for image in images])
        return images, maps


def rotated(images: Tensor, maps: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Return pictures and maps rotated about their centre, against the clock.

    Pictures are interpolated, and black beyond their border. A map takes the nearest label, and is a hole beyond its
    border: labels are never mixed.

    Args:
        images: uint8 ``[n, C, H, W]``.
        maps: float32 ``[n, h, w]``, NaN in holes.
        angles: in radians, ``[n]``.
    """
    height, width = images.shape[-2:]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Places are measured in half widths and half heights.
    theta = torch.stack([cos, -sin * (height / width), zero, sin * (width / height), cos, zero], dim=1).view(-1, 2, 3)

    def places(size: tuple[int, ...]) -> Tensor:
        return F.affine_grid(theta, [len(angles), 1, *size[-2:]], align_corners=False)

    turned = F.grid_sample(images.float(), places(images.shape), mode="bilinear", align_corners=False)
    grid = places(maps.shape)
    nearest = F.grid_sample(maps[:, None], grid, mode="nearest", align_corners=False)[:, 0]
    outside = (grid.abs() > 1).any(-1)
    return turned.round().to(torch.uint8), nearest.masked_fill(outside, torch.nan)
