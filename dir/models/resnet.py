"""Residual networks of torchvision without the classifier, as encoders of photographs."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from dir._checks import check_choice, check_integer

_BUILDERS = {18: resnet18, 50: resnet50}


class ResNetEncoder(nn.Module):
    """ResNet up to and including the global average pooling, with random initial weights.

    Args:
        depth: 18 (512 features) or 50 (2048 features, the published recipe). Default 50.
        in_channels: channels of the images; a number other than 3 replaces the first convolution. Default 3.

    Shape:
        [N, in_channels, H, W] -> [N, num_features].

    Raises:
        ValueError: another depth, or fewer than one channel.

    Example:
        >>> import torch
        >>> encoder = ResNetEncoder(depth=18).eval()
        >>> encoder(torch.zeros(1, 3, 32, 32)).shape, encoder.num_features
        (torch.Size([1, 512]), 512)

    Reference:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016. Used as the encoder of the age
        benchmarks in Yang et al., Delving into Deep Imbalanced Regression, ICML 2021.
    """

    def __init__(self, depth: int = 50, in_channels: int = 3) -> None:
        super().__init__()
        check_choice("depth", depth, _BUILDERS)
        check_integer("in_channels", in_channels)
        self.backbone = _BUILDERS[depth](weights=None)
        self.num_features: int = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        if in_channels != 3:
            self.backbone.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            # torchvision initialises the replaced layer in the same way.
            nn.init.kaiming_normal_(self.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)
        return features
