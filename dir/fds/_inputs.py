"""Shape check of features and labels, and features of an encoder in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import message


def check_features(features: Tensor, labels: Tensor, num_features: int) -> None:
    """Check the dtype and shape of features ``[N, D]`` or dense features ``[N, D, ...]``, and the shape of labels.

    Raises:
        TypeError: features that are not floating.
        ValueError: features or labels of another shape.
    """
    shape = list(features.shape)
    if not features.is_floating_point():
        raise TypeError(message("features", "expected a floating dtype", features.dtype))
    if features.ndim < 2 or shape[1] != num_features:
        raise ValueError(message("features", f"expected [N, {num_features}] or [N, {num_features}, ...]", shape))
    expected = [[shape[0], 1, *shape[2:]]] if features.ndim > 2 else [[shape[0]], [shape[0], 1]]
    if list(labels.shape) not in expected:
        several = labels.ndim == features.ndim and labels.ndim > 1 and labels.shape[1] > 1
        raise ValueError(
            message(
                "labels",
                f"expected {' or '.join(map(str, expected))} for features {shape}",
                list(labels.shape),
                "For several targets, use one LabelBins, FDS and head per target, each with its own labels."
                if several
                else "",
            )
        )


@torch.no_grad()
def eval_features(
    loader: Iterable[Any], encoder: Callable[..., Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the features and labels of each batch of (inputs, labels), in eval mode and without gradients.

    If the encoder is a Module, each of its submodules returns to its mode at the end, also after an error.
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
    """Return inputs with all tensors in them on the device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, dict):
        return {key: _to(value, device) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(_to(value, device) for value in inputs)
    return inputs
