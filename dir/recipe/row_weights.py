"""Importance of rows in a training step: its scale beside other weights, and its mixture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dir.mixup import CMixup


def importance_scale(importance: Tensor | None, weights: Tensor | None) -> float:
    """Return the factor with which the products of weight and importance of the training rows have mean one.

    Example:
        >>> import torch
        >>> importance_scale(torch.tensor([1.0, 3.0]), None), importance_scale(None, torch.tensor([2.0, 0.0]))
        (0.5, 1.0)
    """
    if importance is None:
        return 1.0
    products = importance.double() if weights is None else importance.double() * weights.double()
    return 1.0 / products.mean().item()


def mix(mixup: CMixup, inputs: Any, target: Tensor, importance: Tensor | None) -> tuple[Any, Tensor, Tensor | None]:
    """Return mixed inputs, targets and importance: a mixed sample has the mixed importance of its two samples."""
    if importance is None:
        return *mixup(inputs, target), None
    parts = inputs if isinstance(inputs, tuple | list) else (inputs,)
    (*mixed, importance), target = mixup((*parts, importance), target)
    return (tuple(mixed) if isinstance(inputs, tuple | list) else mixed[0]), target, importance
