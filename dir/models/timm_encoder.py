"""Encoders of photographs from the package timm, with or without pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import check_integer, message, suggestion

EXTRA = 'pip install "deep-imbalanced-regression[timm]"'


class TimmEncoder(nn.Module):
    """A model of timm without its classifier.

    Inputs are in [-1, 1], and are brought to the mean and deviation that the model was pretrained with.

    Args:
        name: model of ``timm.list_models()``, or one of its pretrained versions such as "resnet18.a1_in1k". Default
            "resnet18".
        pretrained: whether to start from the weights of the hub. They are fetched once, which needs a network.
            Default False.
        weights: file of pretrained weights (.safetensors, .pth or .bin) in place of the hub's, with a classifier or
            without. None (default): none.
        in_channels: channels of the images. Default 3.

    State:
        ``mean``, ``deviation`` [1, in_channels, 1, 1]: of the inputs in [0, 1], written at construction.

    Shape:
        [N, in_channels, H, W] -> [N, num_features].

    Raises:
        ImportError: timm is not installed.
        ValueError: a name that timm does not have, weights of another model, or pictures of a size that the model
            does not take.
        FileNotFoundError: the weights are not there, or cannot be fetched.

    Example:
        >>> encoder = TimmEncoder("test_resnet").eval()  # doctest: +SKIP
        >>> encoder(torch.zeros(1, 3, 64, 64)).shape  # doctest: +SKIP
        torch.Size([1, 96])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, name: str = "resnet18", pretrained: bool = False, weights: str | None = None, in_channels: int = 3
    ) -> None:
        super().__init__()
        check_integer("in_channels", in_channels)
        timm = import_timm()
        check_name(timm, name)
        if pretrained and weights is not None:
            advice = "Set model.pretrained=false, or remove model.weights."
            raise ValueError(message("model.weights", "model.pretrained=true takes the hub's", weights, advice))
        state = None if weights is None else read_weights(Path(weights).expanduser())
        try:
            self.model: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, in_chans=in_channels)
        except Exception as error:  # timm and the hub's client raise many types
            if not pretrained:
                raise
            full = name if "." in name else f"{name}.{timm.get_pretrained_cfg(name).tag}"
            raise _fetch_error(full, error) from error
        if state is not None:
            _load(self.model, state, str(weights))
        config = self.model.pretrained_cfg
        size = config.get("input_size", (3, 224, 224))
        # Height and width, for a model that takes pictures of one size alone.
        self.image_size: tuple[int, int] | None = (size[1], size[2]) if config.get("fixed_input_size") else None
        mean, deviation = (_for_channels(config.get(key, (0.5,)), in_channels) for key in ("mean", "std"))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.num_features = int(getattr(self.model, "head_hidden_size", None) or self.model.num_features)

    def forward(self, images: Tensor) -> Tensor:
        if self.image_size is not None and tuple(images.shape[-2:]) != self.image_size:
            size = self.image_size[0]
            advice = f"Set data.image_size={size}, or choose another model.name."
            problem = f"the model takes pictures of {size} x {self.image_size[1]} pixels"
            raise ValueError(message("data.image_size", problem, list(images.shape[-2:]), advice))
        features: Tensor = self.model(((images + 1) / 2 - self.mean) / self.deviation)
        return features


def import_timm() -> Any:
    """Return the package timm.

    Raises:
        ImportError: timm is not installed; the message says how to install it.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(message("model=timm", "needs the package timm", advice=f"{EXTRA}.")) from error
    return timm


def check_name(timm: Any, name: Any) -> None:
    """Raise a ValueError unless ``name`` is a model of timm, or one of its pretrained versions.

    Names of other forms make timm read folders or fetch settings from the hub. They are refused, because a name may
    come from a file.
    """
    models = timm.list_models()
    if not isinstance(name, str) or name.partition(".")[0] not in models:
        advice = f"{suggestion(str(name), models)} timm.list_models() lists the names.".strip()
        raise ValueError(message("model.name", "not a model of timm", name, advice))
    if "." in name:
        versions = timm.list_pretrained(name.partition(".")[0] + ".*")
        if name not in versions:
            advice = f"Choose one of {', '.join(versions[:8])}." if versions else "The model has none."
            raise ValueError(message("model.name", "not a pretrained version of the model", name, advice))


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


def _load(model: Any, state: dict[str, Tensor], file: str) -> None:
    """Load weights with timm's names; the file may hold a classifier, which the model lacks.

    Raises:
        ValueError: other names or shapes. timm itself would leave such weights at their random initial values.
    """
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((classifier,) if isinstance(classifier, str) else classifier))
    own = model.state_dict()
    kept = {key: value for key, value in state.items() if key in own or not key.startswith(heads)}
    wrong = [f"{key} is missing" for key in own if key not in kept]
    wrong += [f"{key} is not in the model" for key in kept if key not in own]
    wrong += [
        f"{key} has the shape {list(kept[key].shape)} instead of {list(value.shape)}"
        for key, value in own.items()
        if key in kept and kept[key].shape != value.shape
    ]
    if wrong:
        advice = "Give a file of this model with timm's names, or set model.name to that of the file."
        problem = f"the weights do not fit the model: {', '.join(wrong[:3])}"
        raise ValueError(message(file, problem, advice=advice))
    model.load_state_dict(kept)


def _fetch_error(name: str, error: Exception) -> Exception:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
    if "No pretrained weights" in reason:
        return ValueError(message("model.pretrained", f"timm has no weights for {name}", True, "Set it to false."))
    advice = (
        f"Fetch model.safetensors of the hub repository timm/{name} on a machine with a network, copy the file here, "
        "and set model.pretrained=false model.weights=FILE."
    )
    return FileNotFoundError(
        message("model.pretrained", f"cannot fetch the weights of {name} ({reason})", advice=advice)
    )


def _for_channels(values: Any, channels: int) -> Tensor:
    """Return values of the colours as [1, channels, 1, 1]; their mean for another number of channels."""
    listed = [float(value) for value in values]
    chosen = listed if len(listed) == channels else [sum(listed) / len(listed)] * channels
    return torch.tensor(chosen).reshape(1, -1, 1, 1)
