"""ResNetMapEncoder: a residual network of torchvision with a decoder, one row of features for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from dir._checks import check_integer, message, suggestion
from dir.models.pixels import PixelEncoder
from dir.models.weight_files import check_weights, for_channels, read_weights

NAMES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
)
# Mean and deviation of the pictures on which torchvision's weights were trained, of inputs in [0, 1].
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Channels that the fusion takes from each level of the network.
FUSED = 16


class ResNetMapEncoder(PixelEncoder):
    """Residual network, a decoder that enlarges its last level step by step, and a fusion of all four levels.

    The decoder ends at half the size of the pictures, with a thirty-second of the channels of the last level. The
    fusion brings each level to this size with 16 channels. Two convolutions refine both together. Inputs are in
    [-1, 1], and are brought to the mean and deviation that the weights of torchvision were trained with.

    Args:
        in_channels: 1 for grey pictures, 3 for colour.
        map_size: see :class:`~dir.models.PixelEncoder`. Half the size of the pictures needs no resizing.
        name: residual network of torchvision, such as "resnet18" or "resnet50" (default).
        pretrained: whether to start from torchvision's first weights of ImageNet (IMAGENET1K_V1), which are fetched
            once into PyTorch's cache. Default False.
        weights: file of weights with torchvision's names (.pth or .safetensors) in place of the fetched ones, with a
            classifier or without. None (default): none. For grey pictures the first convolution adds up the weights
            of the three colours.

    State:
        ``mean``, ``deviation`` [1, in_channels, 1, 1]: of the inputs in [0, 1], written at construction.

    Shape:
        see :class:`~dir.models.PixelEncoder`; ``num_features`` is 64 + C / 32 for a last level of C channels: 80 for
        resnet18 and resnet34, 128 for the others.

    Raises:
        ValueError: a name that torchvision does not have, weights of another model, or pretrained weights for other
            channels than 1 and 3.
        FileNotFoundError: the weights are not there, or cannot be fetched.

    Example:
        >>> encoder = ResNetMapEncoder(in_channels=3, map_size=(16, 20), name="resnet18").eval()
        >>> encoder(torch.zeros(1, 3, 32, 40)).shape
        torch.Size([320, 80])

    Reference:
        Hu et al., Revisiting Single Image Depth Estimation, WACV 2019, the network of NYUD2-DIR in Yang et al.,
        Delving into Deep Imbalanced Regression, ICML 2021. There the last convolution, which predicts, is 5 x 5; here
        the head is a linear layer on the features of one pixel.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        in_channels: int,
        map_size: Sequence[int],
        name: str = "resnet50",
        pretrained: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__(map_size)
        check_integer("in_channels", in_channels)
        if name not in NAMES:
            advice = f"{suggestion(str(name), NAMES)} Choose one of {', '.join(NAMES)}.".strip()
            raise ValueError(message("model.name", "not a residual network of torchvision", name, advice))
        state = _pretrained_state(name, in_channels, pretrained, weights)
        network = torchvision.models.get_model(name, weights=None)
        channels: list[int] = [getattr(network, f"layer{level}")[-1].conv1.in_channels for level in range(1, 5)]
        network.fc = nn.Identity()
        if in_channels != 3:
            network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            # torchvision initialises the replaced layer in the same way.
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        if state is not None:
            network.load_state_dict(_fitting(state, network.state_dict(), weights or name))
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.levels = nn.ModuleList(getattr(network, f"layer{level}") for level in range(1, 5))
        deep = channels[-1]
        self.bridge = nn.Sequential(nn.Conv2d(deep, deep // 2, 1, bias=False), nn.BatchNorm2d(deep // 2), nn.ReLU())
        self.up = nn.ModuleList(UpProjection(deep // 2**step, deep // 2 ** (step + 1)) for step in range(1, 5))
        self.fuse_levels = nn.ModuleList(UpProjection(width, FUSED) for width in channels)
        self.fuse = _conv(4 * FUSED)
        self.num_features = 4 * FUSED + deep // 32
        self.refine = nn.Sequential(_conv(self.num_features), _conv(self.num_features))
        self.register_buffer("mean", for_channels(MEAN, in_channels))
        self.register_buffer("deviation", for_channels(DEVIATION, in_channels))

    def feature_maps(self, images: Tensor) -> Tensor:
        maps = self.stem(((images + 1) / 2 - self.mean) / self.deviation)
        levels: list[Tensor] = []
        for level in self.levels:
            maps = level(maps)
            levels.append(maps)
        height, width = levels[0].shape[-2:]
        sizes = [tuple(level.shape[-2:]) for level in levels[-2::-1]] + [(2 * height, 2 * width)]
        maps = self.bridge(maps)
        for enlarge, size in zip(self.up, sizes, strict=True):
            maps = enlarge(maps, size)
        parts = [enlarge(level, sizes[-1]) for enlarge, level in zip(self.fuse_levels, levels, strict=True)]
        refined: Tensor = self.refine(torch.cat([maps, self.fuse(torch.cat(parts, dim=1))], dim=1))
        return refined


class UpProjection(nn.Module):
    """Enlarge maps, then a residual block: two convolutions beside one, and a ReLU on their sum.

    Args:
        before, after: channels.

    Shape:
        maps ``[N, before, H, W]`` and a size -> ``[N, after, *size]``.

    Reference:
        Laina et al., Deeper Depth Prediction with Fully Convolutional Residual Networks, 3DV 2016, with bilinear
        enlargement.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        # The first convolutions of both branches in one.
        self.first = nn.Sequential(nn.Conv2d(before, 2 * after, 5, padding=2, bias=False), nn.BatchNorm2d(2 * after))
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        large = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        main, short = self.first(large).chunk(2, dim=1)
        return F.relu(self.second(F.relu(main)) + short)


def _conv(channels: int) -> nn.Sequential:
    layer = nn.Conv2d(channels, channels, 5, padding=2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


def _pretrained_state(name: str, channels: int, pretrained: bool, weights: str | None) -> dict[str, Tensor] | None:
    """Return the weights to start from, or None."""
    if not pretrained and weights is None:
        return None
    if pretrained and weights is not None:
        advice = "Set model.pretrained=false, or remove model.weights."
        raise ValueError(message("model.weights", "model.pretrained=true takes torchvision's", weights, advice))
    if channels not in (1, 3):
        problem = f"weights of ImageNet take colour or grey pictures, and these have {channels} channels"
        raise ValueError(message("model.pretrained", problem, advice="Remove model.pretrained and model.weights."))
    state = read_weights(Path(weights).expanduser()) if weights is not None else _fetch(name)
    first = state.get("conv1.weight")
    if channels == 1 and first is not None:
        state = state | {"conv1.weight": first.sum(1, keepdim=True)}
    return state


def _fetch(name: str) -> dict[str, Tensor]:
    chosen = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        # A file may only hold tensors.
        state: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # the client of torch.hub raises URLError, OSError, RuntimeError and more
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        advice = (
            f"Fetch {chosen.url} on a machine with a network, and copy the file into {folder}, or set "
            "model.pretrained=false model.weights=FILE."
        )
        problem = f"cannot fetch the weights of {name} ({reason})"
        raise FileNotFoundError(message("model.pretrained", problem, advice=advice)) from error
    return state


def _fitting(state: dict[str, Tensor], own: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    """Return weights without a classifier, after a check of names and shapes."""
    kept = {key: value for key, value in state.items() if not key.startswith("fc.")}
    # Files of former versions of PyTorch count no batches.
    kept = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")} | kept
    check_weights(own, kept, file, "torchvision")
    return kept
