"""One pass of an encoder over a loader, as evaluation sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


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
