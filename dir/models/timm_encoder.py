"""Encoders of photographs from the package timm, with or without pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dir._checks import check_integer, message, suggestion
from dir.models.weight_files import check_weights, for_channels, read_weights

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
        mean, deviation = (for_channels(config.get(key, (0.5,)), in_channels) for key in ("mean", "std"))
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


def _load(model: Any, state: dict[str, Tensor], file: str) -> None:
    """Load weights with timm's names; the file may hold a classifier, which the model lacks.

    Raises:
        ValueError: other names or shapes. timm itself would leave such weights at their random initial values.
    """
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((classifier,) if isinstance(classifier, str) else classifier))
    own = model.state_dict()
    kept = {key: value for key, value in state.items() if key in own or not key.startswith(heads)}
    check_weights(own, kept, file, "timm")
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
