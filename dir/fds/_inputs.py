"""Features of an encoder: their shape beside the labels, and one pass over a loader as evaluation sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def check_features(features: Tensor, labels: Tensor, num_features: int) -> None:
    """Refuse features that are not ``[N, D]`` or dense ``[N, D, ...]``, and labels that do not belong to them."""
    shape = tuple(features.shape)
    if not features.is_floating_point():
        raise TypeError(f"features must be floating, got {features.dtype}")
    if features.ndim < 2 or shape[1] != num_features:
        raise ValueError(f"features must be [N, {num_features}] (or [N, {num_features}, ...]), got {shape}")
    fits = [(shape[0], 1, *shape[2:])] if features.ndim > 2 else [(shape[0],), (shape[0], 1)]
    if tuple(labels.shape) not in fits:
        want = " or ".join(map(str, fits))
        raise ValueError(f"labels must be {want} for features of shape {shape}, got {tuple(labels.shape)}")


@torch.no_grad()
def eval_features(
    loader: Iterable[Any], encoder: Callable[..., Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (features, labels) per batch of (inputs, labels), in eval mode and without gradients.

    Where the encoder is a Module, the mode of every submodule is restored at the end, whatever happens.
    """
    modules = list(encoder.modules()) if isinstance(encoder, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        for inputs, labels in loader:
            yield encoder(_to(inputs, device)), labels.to(device)
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _to(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, dict):
        return {key: _to(value, device) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(_to(value, device) for value in inputs)
    return inputs
