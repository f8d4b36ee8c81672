from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18

from dir.models.resnet import ResNetEncoder


@pytest.mark.parametrize(("depth", "features"), [(18, 512), (50, 2048)])
def test_features_are_the_pooled_channels(depth: int, features: int) -> None:
    encoder = ResNetEncoder(depth).eval()
    assert encoder.num_features == features
    with torch.no_grad():
        assert encoder(torch.zeros(2, 3, 40, 32)).shape == (2, features)


def test_is_torchvisions_network_without_its_classifier() -> None:
    torch.manual_seed(0)
    reference = resnet18(weights=None).eval()
    encoder = ResNetEncoder(18).eval()
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith("fc.")}
    encoder.backbone.load_state_dict(state)  # strict: the same names, none left over
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(reference.fc(encoder(images)), reference(images))


def test_grey_images_replace_only_the_first_convolution() -> None:
    encoder = ResNetEncoder(18, in_channels=1).eval()
    assert encoder.backbone.conv1.weight.shape == (64, 1, 7, 7)
    with torch.no_grad():
        assert encoder(torch.zeros(1, 1, 32, 32)).shape == (1, 512)


def test_refuses_other_depths_and_no_channels() -> None:
    with pytest.raises(ValueError, match=r"depth: .*18, 50, got 34"):
        ResNetEncoder(34)
    with pytest.raises(ValueError, match="in_channels"):
        ResNetEncoder(18, in_channels=0)
