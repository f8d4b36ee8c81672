"""Small convolutional encoder that keeps positions, for labels such as angles, positions and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dir._checks import check_integer, check_interval
from dir.models.conv import ConvEncoder


class GridEncoder(nn.Module):
    """Convolutions, mean pooling to a small grid, a linear layer, layer normalisation and ReLU.

    The global average of :class:`~dir.models.ConvEncoder` loses the position of a stroke in the image. The grid keeps
    the position, for images of any size.

    Args:
        in_channels: 1 for grey images, 3 for colour images.
        widths: channels of each stage; a stage is one 3 x 3 convolution and halves the image.
        grid: rows and columns of the grid, >= 1. Default 4.
        num_features: width of the linear layer. Default 128.
        norm: whether batch normalisation follows each convolution. Default False.
        dropout: probability of dropping a feature, in [0, 1). Default 0.

    Shape:
        float [N, in_channels, H, W] -> [N, num_features].

    Raises:
        ValueError: a size below 1, or a dropout outside [0, 1).

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
        check_integer("grid", grid)
        check_integer("num_features", num_features)
        check_interval("dropout", dropout, "[0, 1)")
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
