"""A small convolutional encoder that keeps where things are: for angles, positions and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dir.models.conv import ConvEncoder


class GridEncoder(nn.Module):
    """Convolutions, mean pooling to a small grid of places, a linear layer, layer normalisation and ReLU.

    A global average (:class:`~dir.models.conv.ConvEncoder`) forgets where in the picture a stroke was; the grid
    does not, at any size of the picture.

    Args:
        in_channels: 1 for grey pictures, 3 for colour.
        widths: channels of each stage of one 3 x 3 convolution, which halves the picture.
        grid: rows and columns of places, at least 1. Default 4.
        num_features: width of the linear layer. Default 128.
        norm: batch normalisation after each convolution. Default False.
        dropout: probability of dropping a feature, in [0, 1). Default 0.

    Shape:
        float [N, in_channels, H, W] -> [N, num_features].

    Raises:
        ValueError: for a size below 1, or a dropout outside [0, 1).

    Example:
        >>> import torch
        >>> GridEncoder(in_channels=1, widths=(8, 16), num_features=12)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 12])
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        grid: int = 4,
        num_features: int = 128,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if grid < 1 or num_features < 1:
            raise ValueError(f"grid and num_features must be at least 1; got {grid} and {num_features}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1); got {dropout}")
        self.stages = ConvEncoder(in_channels, widths, norm=norm).stages
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.project = nn.Sequential(
            nn.Linear(widths[-1] * grid * grid, num_features),
            nn.LayerNorm(num_features),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.num_features = num_features

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.stages(images))
        features: Tensor = self.project(maps.flatten(1))
        return features
