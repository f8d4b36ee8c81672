"""Small convolutional encoder for small images, fast on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dir._checks import check_integer, check_interval, message


class ConvEncoder(nn.Module):
    """Stages of 3 x 3 convolutions, each of which halves the image, then global average pooling.

    Args:
        in_channels: 1 for grey images, 3 for colour images.
        widths: channels of each stage; the first convolution of a stage has stride 2.
        blocks: convolutions per stage, >= 1.
        num_features: width of a linear layer with ReLU after the pooling; None: the pooled channels are the features.
        norm: whether batch normalisation follows each convolution.
        dropout: probability of dropping a feature, in [0, 1).

    Shape:
        - inputs: float [N, in_channels, H, W]
        - output: [N, num_features], non-negative before dropout scales it

    Raises:
        ValueError: no stage, a size below 1, or a dropout outside [0, 1).

    Example:
        >>> encoder = ConvEncoder(in_channels=1, widths=(8, 16), num_features=12)
        >>> encoder(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 12])
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: int = 1,
        num_features: int | None = None,
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(message("widths", "expected one or more widths >= 1", list(widths)))
        sizes = {"in_channels": in_channels, "blocks": blocks, "num_features": num_features}
        for name, value in sizes.items():
            if value is not None:
                check_integer(name, value)
        check_interval("dropout", dropout, "[0, 1)")
        layers: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            for block in range(blocks):
                layers.append(nn.Conv2d(channels, width, 3, 2 if block == 0 else 1, padding=1, bias=not norm))
                if norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU())
                channels = width
        self.stages = nn.Sequential(*layers)
        self.project = (
            nn.Identity() if num_features is None else nn.Sequential(nn.Linear(channels, num_features), nn.ReLU())
        )
        self.dropout = nn.Dropout(dropout)
        self.num_features = num_features or channels
        # The channels-last format makes these convolutions 20 to 33 % faster on a CPU, and not slower on a GPU.
        self.stages.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.stages(inputs.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.dropout(self.project(maps.mean(dim=(2, 3))))
        return features
