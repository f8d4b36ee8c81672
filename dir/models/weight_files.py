"""Files of pretrained weights: reading them, and comparing them with a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dir._checks import message


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file. A pickled file may hold tensors alone.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no weights.
    """
    if not path.is_file():
        raise FileNotFoundError(message("model.weights", f"file {path} not found"))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, pickle and torch raise many types
        raise ValueError(message(str(path), f"not readable as weights ({error})")) from error
    for key in ("state_dict", "model"):
        found = found[key] if isinstance(found, dict) and isinstance(found.get(key), dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(message(str(path), "expected tensors by name", type(found).__name__))
    return found


def check_weights(own: Mapping[str, Tensor], given: Mapping[str, Tensor], file: str, library: str) -> None:
    """Raise a ValueError unless the given weights have the names and shapes of a model's own.

    Args:
        own: state of the model.
        given: weights to load.
        file: where they come from, for the message.
        library: whose names the weights must have.
    """
    wrong = [f"{key} is missing" for key in own if key not in given]
    wrong += [f"{key} is not in the model" for key in given if key not in own]
    wrong += [
        f"{key} has the shape {list(given[key].shape)} instead of {list(value.shape)}"
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    if wrong:
        advice = f"Give a file of this model with {library}'s names, or set model.name to that of the file."
        problem = f"the weights do not fit the model: {', '.join(wrong[:3])}"
        raise ValueError(message(file, problem, advice=advice))


def for_channels(values: Any, channels: int) -> Tensor:
    """Return values of the colours as [1, channels, 1, 1]; their mean for another number of channels."""
    listed = [float(value) for value in values]
    chosen = listed if len(listed) == channels else [sum(listed) / len(listed)] * channels
    return torch.tensor(chosen).reshape(1, -1, 1, 1)
