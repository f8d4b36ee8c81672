"""The classes that a bundle may name, and the network that is built from them.

A bundle names a class by text, and this module looks the text up in a fixed list. Nothing is imported by a name from
a file. A network is first built without memory (on torch's meta device) and compared with the shapes of the weights:
a file that asks for more memory than its own size is refused before memory is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import dir.models as models
from dir._checks import message, suggestion
from dir.bins import LabelBins
from dir.bundle.fields import BundleError, Fields
from dir.models.members import attach_head
from dir.models.regressor import Regressor
from dir.models.targets import TargetHeads

ENCODERS = (
    "BiLSTMPairEncoder",
    "ConvEncoder",
    "GRUEncoder",
    "GridEncoder",
    "MLPEncoder",
    "PairMLPEncoder",
    "ResNetEncoder",
    "ResNetMapEncoder",
    "TCNEncoder",
    "TabMEncoder",
    "TextMLPEncoder",
    "TimmEncoder",
    "TransformerPairEncoder",
    "TransformerTextEncoder",
    "UNetEncoder",
)
HEADS = (
    "ClassificationHead",
    "EvidentialHead",
    "ExpertsHead",
    "HistogramHead",
    "LinearHead",
    "NormedHead",
    "PriorHead",
)
# Arguments that count modules: a large value costs time even without memory.
_COUNTS = {"layers": 64, "blocks": 64, "grid": 64, "num_experts": 4096, "views": 4096, "members": 4096, "texts": 2}
_MAX_INTEGER, _MAX_LIST = 2**31, 64
# Longer lists: a module for each value, whose weights are in the file.
_LISTS = {"category_sizes": 4096}

Classes = Mapping[str, type[nn.Module]]


def build(
    fields: Fields,
    bins: Sequence[LabelBins],
    weights: dict[str, Tensor],
    classes: Classes | None = None,
    file: str = "weights",
) -> Regressor:
    """Return the network of ``architecture`` with its weights, in eval mode.

    Args:
        fields: the sections encoder and head.
        bins: label bins in the head's units, one for each target.
        weights: state of encoder and head.
        classes: the caller's own classes by name, in addition to the list of this module.
        file: file of the weights, for messages.

    Raises:
        BundleError: a class that is not listed, arguments that the class refuses, or weights of other names, shapes
            or types.
    """
    with torch.device("meta"):
        planned = _assemble(fields, bins, classes or {})
    wrong = _mismatches(planned.state_dict(), weights)
    if wrong:
        raise BundleError(message(file, f"the weights do not fit the architecture: {', '.join(wrong[:5])}"))
    # The caller's random state stays as it is: initial weights are drawn, and replaced.
    with torch.random.fork_rng(devices=[]):
        regressor = _assemble(fields, bins, classes or {})
    regressor.load_state_dict(weights)
    regressor.requires_grad_(True)
    return regressor.eval()


def state(regressor: Regressor) -> dict[str, Tensor]:
    """Return the tensors that a bundle keeps: encoder and head. FDS changes nothing outside training."""
    found = {key: value for key, value in regressor.state_dict().items() if not key.startswith("fds.")}
    return {key: value.detach().cpu().contiguous().clone() for key, value in found.items()}


def describe(part: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """Return a ``_target_`` and its arguments as plain values; tensors become their shape.

    Raises:
        BundleError: an argument that JSON does not keep.
    """
    described = dict(part)
    for key, value in part.items():
        if isinstance(value, Tensor):
            # The values are among the weights.
            described[key] = {"zeros": list(value.shape)}
    if str(part.get("_target_")).endswith(("TimmEncoder", "ResNetMapEncoder")):
        # The weights are in the bundle: loading fetches nothing.
        described |= {"pretrained": False, "weights": None}
    if str(part.get("_target_")).endswith(("TransformerPairEncoder", "TransformerTextEncoder")):
        from dir.bundle.transformer import config_to_dict

        transformer: Any = module.transformer
        described["encoder"] = {"transformer": config_to_dict(transformer.config)}
    return described


def _assemble(fields: Fields, bins: Sequence[LabelBins], classes: Classes) -> Regressor:
    encoder = _make(fields.section("encoder"), ENCODERS, classes)
    features = getattr(encoder, "num_features", None)
    if not isinstance(features, int):
        raise BundleError(message(fields.name("encoder"), "the class has no integer num_features", features))
    make_head: Any = partial(_make, fields.section("head"), HEADS, classes)
    heads = [attach_head(encoder, partial(make_head, bins=own)) for own in bins]
    return Regressor(encoder, heads[0] if len(heads) == 1 else TargetHeads(heads))


def _make(fields: Fields, listed: tuple[str, ...], classes: Classes, **more: Any) -> nn.Module:
    name = fields.text("_target_")
    if name in classes:
        cls: Any = classes[name]
    elif name.removeprefix("dir.models.") in listed and name.startswith("dir.models."):
        cls = getattr(models, name.removeprefix("dir.models."))
    else:
        known = [f"dir.models.{item}" for item in listed] + list(classes)
        advice = f"{suggestion(name, known)} For a class of your own: load(path, classes={{{name!r}: YourClass}})."
        raise BundleError(
            message(fields.name("_target_"), "not a class that a bundle may build", name, advice.strip())
        )
    arguments = {
        key: _argument(fields, key, value, classes)
        for key, value in fields.values.items()
        if key not in ("_target_", "_partial_", "_convert_")
    }
    try:
        module: nn.Module = cls(**arguments, **more)
    except BundleError:
        raise
    except Exception as error:  # torch raises TypeError, RuntimeError and more for sizes that no module can have
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BundleError(message(fields.path, f"{name} cannot be built: {reason}")) from error
    return module


def _argument(fields: Fields, key: str, value: Any, classes: Classes) -> Any:
    name = fields.name(key)
    if key == "head" and isinstance(value, dict) and "_target_" in value:
        # The head within a PriorHead, which calls the partial with its number of features and its bins.
        return functools.partial(_make, fields.section(key), HEADS, classes)
    if isinstance(value, dict) and set(value) == {"zeros"}:
        return torch.zeros(fields.section(key).integers("zeros"))
    if isinstance(value, dict) and set(value) == {"transformer"}:
        from dir.bundle.transformer import build_transformer

        return build_transformer(fields.section(key).section("transformer"))
    if isinstance(value, list):
        longest = _LISTS.get(key, _MAX_LIST)
        if len(value) > longest:
            raise BundleError(message(name, f"expected at most {longest} values", len(value)))
        return [_scalar(f"{name}[{index}]", key, item) for index, item in enumerate(value)]
    return _scalar(name, key, value)


def _scalar(name: str, key: str, value: Any) -> Any:
    if isinstance(value, dict | list):
        raise BundleError(message(name, "expected a number, a text, true, false or null", value))
    if isinstance(value, int) and not isinstance(value, bool):
        limit = _COUNTS.get(key, _MAX_INTEGER)
        if not -limit <= value <= limit:
            raise BundleError(message(name, f"expected an integer of at most {limit}", value))
    if isinstance(value, float) and not math.isfinite(value):
        raise BundleError(message(name, "expected a finite number", value))
    return value


def _mismatches(planned: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Return what differs between two states: missing and unexpected names, shapes and types."""
    wrong = [f"{key} is missing" for key in planned if key not in weights]
    wrong += [f"{key} is not in the network" for key in weights if key not in planned]
    for key, own in planned.items():
        saved = weights.get(key)
        if saved is not None and (saved.shape != own.shape or saved.dtype != own.dtype):
            wrong.append(f"{key} is {saved.dtype} {list(saved.shape)} instead of {own.dtype} {list(own.shape)}")
    return wrong
