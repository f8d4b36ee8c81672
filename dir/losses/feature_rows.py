"""What the losses on features share: the shape check, and features in a safe precision."""

from __future__ import annotations

import torch
from torch import Tensor


def feature_rows(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``[N, D]`` and labels ``[N]`` after the shape check, both in the same type, float32 or wider.

    Distances between half-precision features cancel, and labels must not be rounded to the features' type.

    Raises:
        ValueError: features that are not ``[N, D]``, or labels that are not ``[N]`` (or ``[N, 1]``).
    """
    if features.ndim != 2:
        raise ValueError(f"features must be [N, D], got {list(features.shape)}")
    n = features.shape[0]
    if labels.shape not in ((n,), (n, 1)):
        raise ValueError(f"labels must be [{n}] for features {list(features.shape)}, got {list(labels.shape)}")
    dtype = torch.promote_types(torch.promote_types(features.dtype, labels.dtype), torch.float32)
    return features.to(dtype), labels.detach().flatten().to(dtype)


def unit_rows(features: Tensor) -> Tensor:
    """Every row over its length; a row of zeros stays one, and its gradient stays finite.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    square = features.square().sum(dim=1, keepdim=True)
    return features * torch.where(square > 1e-12, square, 1.0).rsqrt()
