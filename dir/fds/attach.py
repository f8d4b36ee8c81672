"""``attach_fds`` and ``detach_fds``: FDS before a layer of a finished model, whose code stays as it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dir._checks import message
from dir.fds._given import given_to
from dir.fds.layer import FDS

# Name of the FDS in the layer that it stands before.
_CHILD = "fds"
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def attach_fds(model: nn.Module, fds: FDS, before: str | nn.Module) -> FDS:
    """Put an FDS before a layer of a model, usually the last linear layer, and return the FDS.

    A hook calibrates the first input of the layer in training mode, with the labels of the context
    ``with fds.labels(y): model(x)``. In eval mode the model computes what it computed before. The loop calls
    ``fds.end_epoch()`` after each epoch, as always.

    * The FDS becomes the submodule ``fds`` of the layer. It therefore moves with the model, follows ``train()`` and
      ``eval()``, and Lightning's ``EndEpoch`` finds it. A copy of the model holds a copy of the FDS.
    * The names in ``model.state_dict()`` do not change, and the state of the FDS is not among them, so that weights
      load into the model with and without FDS. **To resume a training, save ``fds.state_dict()`` as well**, as you
      save the state of the optimizer.
    * ``fds.eval()`` switches FDS off until the next ``model.train()``.
    * Attach before ``torch.compile``. Several layers may each have an FDS.

    Args:
        model: any model.
        fds: its ``num_features`` is the number of inputs of the layer. It moves to the layer's device.
        before: the layer, or its name as in ``model.named_modules()``, such as ``"fc"`` or ``"classifier.1"``.

    Shape:
        The first input of the layer is ``[N, D]``, or ``[N, D, H, W]`` for dense labels.

    Raises:
        ValueError: no such layer (the message lists the linear layers), a container in place of a layer, a layer with
            another number of inputs, a layer or FDS that is attached already, a compiled model.
        TypeError: ``fds`` is no FDS, or ``before`` is neither a name nor a module.
        RuntimeError: later, from the model in training mode without labels, and from a context whose labels no layer
            used.

    Example:
        >>> import torch
        >>> from dir.bins import LabelBins
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> fds = attach_fds(model, FDS(num_features=8, bins=LabelBins.integers(0, 9)), before="2")
        >>> with fds.labels(torch.randint(0, 10, (16,))):
        ...     prediction = model(torch.zeros(16, 3))
        >>> fds.end_epoch()["labels_excluded"]
        0.0
    """
    if not isinstance(fds, FDS):
        raise TypeError(message("fds", "expected an FDS", type(fds).__name__, "Write FDS(num_features, bins)."))
    _refuse_compiled(model)
    name, layer = _find(model, before)
    if any(hook.fds is fds for _, hook in _attached(model)):
        raise ValueError(message("fds", "this FDS is attached to the model already", advice="Use one FDS per layer."))
    if hasattr(layer, _CHILD):
        raise ValueError(message("before", f"{name or 'the model'} has an FDS or an attribute {_CHILD!r} already"))
    size = getattr(layer, "in_features", None) or getattr(layer, "in_channels", None)  # 0: a lazy layer
    if size is not None and size != fds.num_features:
        problem = f"expected {size}, the number of inputs of {name or 'the model'}"
        raise ValueError(message("fds.num_features", problem, fds.num_features))
    weight = next(layer.parameters(), None)
    if weight is not None and not weight.is_meta:
        fds.to(weight.device)
    fds.train(layer.training)
    layer.add_module(_CHILD, fds)
    hook = _CalibrateInput(fds)
    hook.handles = [
        layer.register_forward_pre_hook(hook),
        layer.register_state_dict_post_hook(_hide_state),  # type: ignore[no-untyped-call]
        layer.register_load_state_dict_pre_hook(_keep_state),  # type: ignore[no-untyped-call]
    ]
    return fds


def detach_fds(model: nn.Module, fds: FDS | None = None) -> list[FDS]:
    """Remove attached FDS from a model, which is then as it was before :func:`attach_fds`, and return them.

    Args:
        model: a model with attached FDS.
        fds: the FDS to remove. Default: all that :func:`attach_fds` attached.

    Raises:
        ValueError: there is nothing to remove.

    Example:
        >>> from dir.bins import LabelBins
        >>> model = nn.Linear(8, 1)
        >>> fds = attach_fds(model, FDS(num_features=8, bins=LabelBins.integers(0, 9)), before=model)
        >>> detach_fds(model) == [fds], model
        (True, Linear(in_features=8, out_features=1, bias=True))
    """
    found = [(layer, hook) for layer, hook in _attached(model) if fds is None or hook.fds is fds]
    if not found:
        raise ValueError(message("model", f"{'no' if fds is None else 'this'} FDS is attached"))
    for layer, hook in found:
        for handle in hook.handles:
            handle.remove()
        del layer._modules[_CHILD]
    return [hook.fds for _, hook in found]


class _CalibrateInput:
    """Hook of a layer that passes the first input through FDS; an object, so that it can be copied and pickled."""

    def __init__(self, fds: FDS) -> None:
        self.fds = fds
        self.handles: list[RemovableHandle] = []

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self.fds.training:
            return None
        given = given_to(self.fds)
        if given is None:
            raise RuntimeError(
                "FDS: the model runs in training mode without labels. Write `with fds.labels(y): model(x)`; call "
                "model.eval() to predict, or use fds.labels(None) for a pass without FDS."
            )
        given.used = True
        if given.values is None:
            return None
        if not (inputs and isinstance(inputs[0], Tensor)):
            found = type(inputs[0]).__name__ if inputs else "keyword arguments alone"
            problem = f"FDS stands before {type(layer).__name__}, whose first argument must be the features"
            raise TypeError(message("before", problem, found, "Attach FDS before the last linear layer itself."))
        device = inputs[0].device
        mask = None if given.mask is None else given.mask.to(device, non_blocking=True)
        return (self.fds(inputs[0], given.values.to(device, non_blocking=True), mask), *inputs[1:])


def _attached(model: nn.Module) -> list[tuple[nn.Module, _CalibrateInput]]:
    return [
        (layer, hook)
        for layer in model.modules()
        for hook in layer._forward_pre_hooks.values()
        if isinstance(hook, _CalibrateInput)
    ]


def _find(model: nn.Module, before: str | nn.Module) -> tuple[str, nn.Module]:
    """Return the name of a layer and the layer."""
    layers = dict(model.named_modules())
    if isinstance(before, str):
        name = before
        if not before or before not in layers:
            raise ValueError(message("before", "the model has no such layer", before, _linear_layers(layers)))
    elif isinstance(before, nn.Module):
        names = [name for name, layer in layers.items() if layer is before]
        if not names:
            advice = _linear_layers(layers)
            raise ValueError(message("before", "the layer is no part of the model", type(before).__name__, advice))
        name = names[0]
    else:
        raise TypeError(message("before", "expected a module or its name", before))
    if isinstance(layers[name], _CONTAINERS):
        inside = {key: layer for key, layer in layers.items() if key.startswith(f"{name}." if name else "")}
        problem = f"expected a layer, got {name or 'the model'}, a {type(layers[name]).__name__}"
        raise ValueError(message("before", problem, advice=_linear_layers(inside)))
    return name, layers[name]


def _linear_layers(layers: dict[str, nn.Module]) -> str:
    """Return a sentence that lists the linear layers, the last twenty of them."""
    linear = {name: layer for name, layer in layers.items() if isinstance(layer, nn.Linear) and name}
    found = [f"{name} ({layer.in_features} -> {layer.out_features})" for name, layer in linear.items()]
    if not found:
        return "There is no linear layer; name another layer of model.named_modules()."
    dots = "..., " if len(found) > 20 else ""
    return f"Its linear layers are: {dots}{', '.join(found[-20:])}."


def _refuse_compiled(model: nn.Module) -> None:
    # Code that torch.compile has made does not look for new hooks, so that FDS would be left out in silence.
    for module in model.modules():
        if "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None:
            advice = "Call attach_fds() first and torch.compile() then."
            raise ValueError(message("model", "the model is compiled already", advice=advice))


def _hide_state(layer: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    """Take the state of FDS out of a state dict of the layer or of a module above."""
    own = prefix + _CHILD
    metadata: dict[str, Any] = getattr(state_dict, "_metadata", {})
    for entries in (state_dict, metadata):
        for key in [key for key in entries if key == own or key.startswith(f"{own}.")]:
            del entries[key]


def _keep_state(layer: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Complete a state dict without FDS by the present state of FDS, which load_state_dict() then leaves alone."""
    fds = layer._modules[_CHILD]
    assert fds is not None
    for key, value in fds.state_dict(prefix=f"{prefix}{_CHILD}.").items():
        state_dict.setdefault(key, value)
