from __future__ import annotations

import pytest
import torch

from dir.models.grid import GridEncoder


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 96, 128), (3, 17, 5)])
def test_takes_pictures_of_any_size(channels: int, height: int, width: int) -> None:
    encoder = GridEncoder(channels, widths=(4, 8), grid=3, num_features=10)
    assert encoder(torch.zeros(2, channels, height, width)).shape == (2, encoder.num_features)


def test_the_grid_knows_where_a_stroke_is_and_the_average_does_not() -> None:
    torch.manual_seed(0)
    left, right = torch.zeros(2, 1, 1, 32, 32)
    left[..., 14:18, 10] = 1.0
    right[..., 14:18, 22] = 1.0  # both clear of the borders, on the same phase of the strides
    for grid, differ in ((4, True), (1, False)):
        encoder = GridEncoder(1, widths=(4, 4), grid=grid).eval()
        with torch.no_grad():
            assert torch.allclose(encoder(left), encoder(right), atol=1e-6) != differ


def test_features_are_normalised_before_the_relu() -> None:
    torch.manual_seed(0)
    encoder = GridEncoder(1, widths=(4,), num_features=512).eval()
    features = encoder(torch.randn(8, 1, 16, 16))
    # ReLU of something with mean 0 and variance 1: half are zero, the mean square is a half.
    torch.testing.assert_close((features > 0).float().mean(1), torch.full((8,), 0.5), atol=0.1, rtol=0)
    torch.testing.assert_close(features.square().mean(1), torch.full((8,), 0.5), atol=0.1, rtol=0)


@pytest.mark.parametrize("kwargs", [{"grid": 0}, {"num_features": 0}, {"dropout": 1.0}, {"widths": (0,)}])
def test_refuses(kwargs: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        GridEncoder(**kwargs)
