"""Shared parts of the losses on features: the shape check, features in a safe precision, and their distances."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir._checks import message
from dir._precision import to_float64


def feature_rows(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return features ``[N, D]`` and labels ``[N]`` in one type, float32 or wider, after the shape check.

    Distances between half-precision features cancel, and labels must not be rounded to the features' type.

    Raises:
        ValueError: features that are not ``[N, D]``, or labels that are not ``[N]`` (or ``[N, 1]``).
    """
    if features.ndim != 2:
        raise ValueError(message("features", "expected [N, D]", list(features.shape)))
    check_rows("labels", labels, features.shape[0], "For several targets, use one regulariser per target.")
    dtype = torch.promote_types(torch.promote_types(features.dtype, labels.dtype), torch.float32)
    return features.to(dtype), labels.detach().flatten().to(dtype)


def check_rows(name: str, values: Tensor, n: int, advice: str = "") -> None:
    """Raise a ValueError unless ``values`` holds one value per row of features, ``[n]`` or ``[n, 1]``."""
    if values.shape not in ((n,), (n, 1)):
        raise ValueError(message(name, f"expected [{n}], one per row of features", list(values.shape), advice))


def unit_rows(features: Tensor) -> Tensor:
    """Return each row divided by its length; a row of zeros stays zero, and its gradient stays finite.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    square = features.square().sum(dim=1, keepdim=True)
    return features * torch.where(square > 1e-12, square, 1.0).rsqrt()


class _PairDistances(torch.autograd.Function):
    # The gradient of torch.cdist on a GPU holds all differences, [N, N, D].
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        # A matrix product would give near duplicates a distance made of rounding errors.
        distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        ctx.save_for_backward(rows, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        rows, distance = ctx.saved_tensors
        # Near duplicates divide a difference of two products by a tiny distance, which needs float64.
        wide, coincide = to_float64(rows), distance == 0
        share = to_float64(grad / distance.masked_fill(coincide, 1.0)).masked_fill(coincide, 0.0)
        share = share + share.T
        with torch.autocast(rows.device.type, enabled=False):
            pulled: Tensor = share.sum(dim=1, keepdim=True) * wide - share @ wide
        return pulled.to(rows.dtype)


def pair_distances(rows: Tensor) -> Tensor:
    r"""Return the Euclidean distance of each row to each other row, in O(N^2) memory forward and backward.

    .. math:: \frac{\partial L}{\partial z_i} = \sum_j (w_{ij} + w_{ji}) (z_i - z_j), \qquad
        w_{ij} = \frac{1}{d_{ij}} \frac{\partial L}{\partial d_{ij}}

    with w = 0 for two rows that coincide: they give each other no gradient.

    Shape:
        ``[N, D]`` -> ``[N, N]``.

    Example:
        >>> pair_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[0., 5.],
                [5., 0.]])
    """
    distance: Tensor = _PairDistances.apply(rows)
    return distance
