"""PixelEncoder, the base of the encoders of maps, and a small U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dir._checks import check_integer, message


class PixelEncoder(nn.Module):
    """Base of the encoders with one row of features for each pixel: a subclass implements :meth:`feature_maps`.

    Args:
        map_size: height and width of the maps of labels. Features of another size are resized to it (bilinear).

    Shape:
        pictures ``[N, C, H, W]`` -> ``[N * h * w, num_features]``, the pixels of a map row by row; or
        (pictures, pixels int64 ``[M]``) -> ``[M, num_features]``, the rows of these pixels alone.

    Raises:
        ValueError: a map size that is not two numbers >= 1.
    """

    num_features: int

    def __init__(self, map_size: Sequence[int]) -> None:
        super().__init__()
        if len(map_size) != 2:
            raise ValueError(message("map_size", "expected a height and a width", list(map_size)))
        for side in map_size:
            check_integer("map_size", side)
        self.map_size = (int(map_size[0]), int(map_size[1]))

    def feature_maps(self, images: Tensor) -> Tensor:
        """Return the features of pictures, ``[N, num_features, h', w']``."""
        raise NotImplementedError(f"{type(self).__name__} must implement feature_maps()")

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Return one row of features for each pixel."""
        images, pixels = (inputs, None) if isinstance(inputs, Tensor) else inputs
        maps = self.feature_maps(images)
        if tuple(maps.shape[-2:]) != self.map_size:
            maps = F.interpolate(maps, size=self.map_size, mode="bilinear", align_corners=False)
        rows = maps.movedim(1, -1).reshape(-1, self.num_features)
        # Maps without holes need no selection: as many different pixels as rows are all rows.
        return rows if pixels is None or len(pixels) == len(rows) else rows.index_select(0, pixels)


class UNetEncoder(PixelEncoder):
    """Small U-Net: convolutions that halve the picture, and back to its size with what each level saw.

    Args:
        in_channels: 1 for grey pictures, 3 for colour.
        map_size: see :class:`PixelEncoder`.
        widths: channels of each level, from full size down; ``num_features`` is the first. At least two levels.
        norm: whether batch normalisation follows each convolution. Default True.

    Shape:
        see :class:`PixelEncoder`; pictures of any size of at least ``2 ** (levels - 1)``.

    Raises:
        ValueError: a size below 1, or fewer than two levels.

    Example:
        >>> encoder = UNetEncoder(in_channels=1, map_size=(16, 20), widths=(4, 8))
        >>> encoder(torch.zeros(2, 1, 16, 20)).shape
        torch.Size([640, 4])
        >>> encoder((torch.zeros(2, 1, 16, 20), torch.tensor([0, 5, 639]))).shape
        torch.Size([3, 4])

    Reference:
        Ronneberger et al., U-Net, MICCAI 2015; here with padding, batch normalisation and bilinear resizing.
    """

    def __init__(
        self, in_channels: int, map_size: Sequence[int], widths: Sequence[int] = (16, 32, 64), norm: bool = True
    ) -> None:
        super().__init__(map_size)
        check_integer("in_channels", in_channels)
        if len(widths) < 2:
            raise ValueError(message("widths", "expected at least two levels", list(widths)))
        for width in widths:
            check_integer("widths", width)
        self.num_features = int(widths[0])
        self.down = nn.ModuleList(
            _block(before, width, norm) for before, width in zip((in_channels, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(_block(deep + shallow, shallow, norm) for shallow, deep in pairwise(widths))

    def feature_maps(self, images: Tensor) -> Tensor:
        levels: list[Tensor] = []
        maps = images
        for number, block in enumerate(self.down):
            maps = block(maps if number == 0 else F.max_pool2d(maps, 2))
            levels.append(maps)
        for block, level in zip(reversed(self.up), reversed(levels[:-1]), strict=True):
            raised = F.interpolate(maps, size=level.shape[-2:], mode="bilinear", align_corners=False)
            maps = block(torch.cat([raised, level], dim=1))
        return maps


def _block(before: int, width: int, norm: bool) -> nn.Sequential:
    """Return two 3 x 3 convolutions with ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
