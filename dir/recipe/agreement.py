"""Disagreement of several predictions of one row: of members, of augmented views, or of dropout masks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dir.models.members import MemberHead
from dir.recipe.module import RegressionModule
from dir.recipe.predictions import predict

Copies = Literal["members", "views", "dropout"]
COPIES = 8


def copies_of(module: RegressionModule, augments: bool) -> Copies | None:
    """Return what can disagree about a row, or None for a network without any of the three.

    Args:
        module: the network.
        augments: whether the training rows are augmented at random.
    """
    if isinstance(module.model.head, MemberHead):
        return "members"
    if augments:
        return "views"
    return "dropout" if any(layer.p > 0 for layer in _dropouts(module)) else None


def disagreement(module: RegressionModule, loader: DataLoader[Any], copies: Copies, count: int = COPIES) -> Tensor:
    """Return the standard deviation of several predictions of each row, float64 [N], in label units.

    Args:
        module: trained network. Its modes stay as they are.
        loader: rows in their order, augmented at random for ``copies="views"``.
        copies: "members" of the network, as many as it has; "views" of the loader, and the network in eval mode;
            "dropout": masks of the dropout layers, which stay in training mode (Gal and Ghahramani, ICML 2016).
        count: number of views or masks, >= 2.
    """
    modes = {layer: layer.training for layer in module.modules()}
    try:
        if copies == "members":
            return _members(module, loader)
        if copies == "views":
            found = [predict(module, loader, module.device).predictions for _ in range(count)]
        else:
            found = [_with_dropout(module, loader) for _ in range(count)]
    finally:
        for layer, mode in modes.items():
            layer.training = mode
    return torch.stack(found).double().std(dim=0)


@torch.no_grad()
def _members(module: RegressionModule, loader: DataLoader[Any]) -> Tensor:
    module.eval()
    head, found = module.model.head, []
    assert isinstance(head, MemberHead)
    for inputs, _ in loader:
        output = module.model(module.transfer_batch_to_device(inputs, module.device, 0))
        found.append(module.to_raw(head.predict_members(output)).double().std(dim=1).cpu())
    return torch.cat(found)


@torch.no_grad()
def _with_dropout(module: RegressionModule, loader: DataLoader[Any]) -> Tensor:
    module.eval()
    for layer in _dropouts(module):
        layer.train()
    batches = (module.transfer_batch_to_device(inputs, module.device, 0) for inputs, _ in loader)
    return torch.cat([module.read_output(module.model(inputs))[0].cpu() for inputs in batches])


def _dropouts(module: nn.Module) -> list[Any]:
    # torch has no common public base of its dropout layers.
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]
