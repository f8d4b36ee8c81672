"""Actions that the benchmarks measure: ours, naive and floor, without arguments, on the same data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measure import Action
from benchmarks.naive import NaiveFDS
from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.calibration import calibrate


class Layers(NamedTuple):
    """An FDS and a naive FDS that have seen two epochs, and a batch."""

    ours: FDS
    naive: NaiveFDS
    features: Tensor
    labels: Tensor


def ages(n: int, num_labels: int, generator: torch.Generator | None = None) -> Tensor:
    """Whole-number labels skewed like the ages of people in photographs, as floats in [0, num_labels)."""
    labels = num_labels * (0.36 + 0.14 * torch.randn(n, generator=generator))
    return labels.clamp(0, num_labels - 1).floor()


def layers(n: int, d: int, num_labels: int, skewed: bool = False, device: str = "cpu") -> Layers:
    """Both layers after two epochs of the same features; the batch's labels are spread evenly or skewed."""
    generator = torch.Generator().manual_seed(0)
    ours, naive = FDS(d, LabelBins.integers(0, num_labels - 1)).to(device), NaiveFDS(d, num_labels).to(device)
    naive.window = naive.window.to(device)
    for epoch in range(2):
        labels = torch.arange(num_labels).repeat(5).float().to(device)
        features = torch.randn(len(labels), d, generator=generator).to(device) + 0.01 * labels[:, None]
        accumulate(ours, features, labels)
        ours.end_epoch()
        naive.snapshot(epoch)
        naive.update_statistics(features, labels, epoch)
    naive.snapshot(2)
    batch = (
        ages(n, num_labels, generator) if skewed else torch.randint(0, num_labels, (n,), generator=generator).float()
    )
    return Layers(ours, naive, torch.randn(n, d, generator=generator).to(device), batch.to(device))


def accumulate(fds: FDS, features: Tensor, labels: Tensor) -> None:
    """Bin the labels and add the batch up, as ``fds(features, labels)`` does in training before it calibrates."""
    fds.sums.add(features, labels, fds.bins(labels).flatten(), None)


def calibrate_actions(layers_: Layers) -> dict[str, Action]:
    """Calibrate forward and backward: ours, the naive loop, and a clone with its backward."""
    fds, naive, features, labels = layers_
    upstream = torch.randn_like(features)
    leaf = features.clone().requires_grad_()

    def ours() -> None:
        leaf.grad = None
        calibrate(leaf, fds.bins(labels), fds.scale, fds.shift).backward(upstream)

    def loop() -> None:
        leaf.grad = None
        # Editing in place needs features that are not a leaf of the graph, such as an encoder's output: here a copy.
        naive.smooth(leaf.clone(), labels, epoch=2).backward(upstream)

    def floor() -> None:
        leaf.grad = None
        leaf.clone().backward(upstream)

    return {"ours": ours, "naive": loop, "floor": floor}


def accumulate_actions(layers_: Layers) -> dict[str, Action]:
    """Statistics of one batch: ours, the naive loop, and a copy of the batch."""
    fds, naive, features, labels = layers_
    scratch = torch.empty_like(features)
    return {
        "ours": lambda: accumulate(fds, features, labels),
        "naive": lambda: naive.update_statistics(features, labels, epoch=2),
        "floor": lambda: scratch.copy_(features),
    }
