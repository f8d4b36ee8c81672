"""Encoders of maps: which row of features belongs to which pixel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dir.models.pixels import PixelEncoder, UNetEncoder


class Places(PixelEncoder):
    """Gives each pixel its picture, its row and its column as features."""

    num_features = 3

    def feature_maps(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        grids = torch.meshgrid(torch.arange(n), torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack(grids, dim=1).float()


def test_rows_are_the_pixels_of_a_map_line_by_line() -> None:
    rows = Places((4, 5))(torch.zeros(2, 1, 4, 5))
    assert rows.tolist() == [[n, row, column] for n in range(2) for row in range(4) for column in range(5)]


def test_labelled_pixels_give_the_rows_of_their_labels() -> None:
    labels = torch.full((2, 4, 5), torch.nan)
    labels[0, 3, 1] = labels[1, 0, 4] = 1.0
    places = torch.nonzero(~labels.flatten().isnan()).flatten()
    assert Places((4, 5))((torch.zeros(2, 1, 4, 5), places)).tolist() == [[0, 3, 1], [1, 0, 4]]


def test_features_of_another_size_are_resized_to_the_map() -> None:
    rows = Places((2, 2))(torch.zeros(1, 1, 4, 4))
    # Each of the four places is the mean of four pixels.
    assert rows.tolist() == [[0, 0.5, 0.5], [0, 0.5, 2.5], [0, 2.5, 0.5], [0, 2.5, 2.5]]


@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_the_u_net_sees_fine_and_coarse_structure(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = UNetEncoder(1, size, widths=(4, 6, 8)).eval()
    images = torch.rand(1, 1, *size).requires_grad_()
    rows = encoder(images)
    assert rows.shape == (size[0] * size[1], encoder.num_features)
    rows[0].sum().backward()
    assert images.grad is not None
    reach = images.grad[0, 0].abs() > 0
    # Convolutions at full size alone would reach four pixels; the coarsest level reaches further.
    assert reach[0, 0]
    assert reach[5:].any()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"map_size": (4,)}, "map_size"), ({"map_size": (4, 0)}, "map_size"), ({"widths": (4,)}, "widths")],
)
def test_wrong_sizes_are_refused(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        UNetEncoder(**{"in_channels": 1, "map_size": (4, 4)} | arguments)
