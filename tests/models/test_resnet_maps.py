"""ResNetMapEncoder: the levels of torchvision's network, its weights from files, and the sizes of the maps."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet18, resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from dir.models import ResNetMapEncoder
from dir.models.resnet_maps import UpProjection


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    return resnet18()


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    # As the files of former versions of PyTorch: no counts of batches.
    state = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    torch.save(state, path)
    return path


def levels_of(encoder: ResNetMapEncoder, images: Tensor) -> list[Tensor]:
    maps, found = encoder.stem((images - encoder.mean) / encoder.deviation), []
    for level in encoder.levels:
        maps = level(maps)
        found.append(maps)
    return found


def test_the_levels_are_those_of_torchvision_with_the_weights_of_the_file(network: Any, weights: Path) -> None:
    encoder = ResNetMapEncoder(3, (20, 16), "resnet18", weights=str(weights)).eval()
    network.eval()
    images = torch.rand(2, 3, 40, 32)
    mean, deviation = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    names = {f"layer{number}": str(number) for number in range(1, 5)}
    with torch.no_grad():
        expected = create_feature_extractor(network, names)((images - mean) / deviation)
        for level, one in zip(levels_of(encoder, images), expected.values(), strict=True):
            torch.testing.assert_close(level, one, rtol=1e-4, atol=1e-5)
        assert encoder(2 * images - 1).shape == (2 * 20 * 16, encoder.num_features) == (640, 80)


def test_a_grey_picture_gives_what_three_equal_colours_give(weights: Path) -> None:
    grey = ResNetMapEncoder(1, (8, 8), "resnet18", weights=str(weights)).eval()
    colour = ResNetMapEncoder(3, (8, 8), "resnet18", weights=str(weights)).eval()
    values = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        left, right = grey.stem(values), colour.stem(values.expand(1, 3, 32, 32))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_the_network_of_nyud2_has_the_published_widths() -> None:
    with torch.device("meta"):
        encoder = ResNetMapEncoder(3, (114, 152))
        images = torch.zeros(1, 3, 228, 304)
        assert encoder.feature_maps(images).shape == (1, 128, 114, 152)
    assert encoder.num_features == 128
    backbone = sum(p.numel() for part in (encoder.stem, encoder.levels) for p in part.parameters())
    with torch.device("meta"):
        whole = resnet50()
    assert backbone == sum(p.numel() for name, p in whole.named_parameters() if not name.startswith("fc."))


def test_an_up_projection_is_a_residual_block_of_two_branches() -> None:
    torch.manual_seed(0)
    block = UpProjection(3, 2).eval()
    maps = torch.rand(1, 3, 4, 5)
    first, norm = block.first
    first.weight.data[:2] = 0.0  # the branch of two convolutions is off
    large = torch.nn.functional.interpolate(maps, size=(7, 9), mode="bilinear")
    short = torch.nn.functional.conv2d(large, first.weight[2:], padding=2) / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(block(maps, (7, 9)), short.relu())


def test_each_pixel_of_the_map_moves_with_the_picture() -> None:
    torch.manual_seed(0)
    encoder = ResNetMapEncoder(3, (16, 16), "resnet18").eval()
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    rows = encoder((images, torch.tensor([17])))
    assert rows.shape == (1, 80)
    rows.sum().backward()
    assert images.grad is not None
    strength = images.grad[0].abs().sum(0)
    assert strength[:16, :16].mean() > strength[16:, 16:].mean()
    assert all(p.grad is not None for name, p in encoder.named_parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "resnet19"}, r"^model.name: not a residual network of torchvision, got 'resnet19'\. Did you mean"),
        ({"pretrained": True, "weights": "x"}, "^model.weights: model.pretrained=true takes torchvision's"),
        ({"in_channels": 4, "pretrained": True}, "^model.pretrained: .* these have 4 channels"),
    ],
)
def test_refuses(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ResNetMapEncoder(**{"in_channels": 3, "map_size": (8, 8), "name": "resnet18"} | arguments)


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"layer1.2.conv1.weight is missing.*torchvision's names"):
        ResNetMapEncoder(3, (8, 8), "resnet34", weights=str(weights))


def test_weights_come_from_the_cache_or_an_error_says_where_to_put_them(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked: list[str] = []

    def fetch(url: str, target: str, *arguments: Any, **named: Any) -> None:
        asked.append(url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)
    words = (
        rf"^model.pretrained: .*no network.* Fetch https://\S+/resnet18-f37072fd.pth .* into {tmp_path}/hub/checkp"
    )
    with pytest.raises(FileNotFoundError, match=words):
        ResNetMapEncoder(3, (8, 8), "resnet18", pretrained=True)
    assert len(asked) == 1
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    encoder = ResNetMapEncoder(3, (8, 8), "resnet18", pretrained=True)
    assert torch.equal(encoder.stem[0].weight, network.conv1.weight)
    assert len(asked) == 1
