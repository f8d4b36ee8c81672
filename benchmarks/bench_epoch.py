"""FDS within training: its share of a step, and an epoch beside one with the second pass that it does without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.measure import Action
from benchmarks.naive import NaiveFDS, second_pass
from benchmarks.setups import ages
from dir.bins import LabelBins
from dir.fds import FDS

_SIZE = 64


def _encoder(name: str) -> tuple[nn.Module, int]:
    torchvision = pytest.importorskip("torchvision")
    backbone: Any = getattr(torchvision.models, name)(weights=None)
    features = int(backbone.fc.in_features)
    backbone.fc = nn.Identity()
    return backbone, features


def bench_share_of_step(compare: Callable[..., None]) -> None:
    encoder, d = _encoder("resnet50")
    head, fds = nn.Linear(d, 1), FDS(d, LabelBins.integers(0, 99))
    images, labels = torch.randn(64, 3, _SIZE, _SIZE), ages(64, 100)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
    features = torch.randn(64, d, requires_grad=True)

    def step() -> None:
        optimizer.zero_grad()
        (head(encoder(images)).squeeze(1) - labels).abs().mean().backward()
        optimizer.step()

    compare("share-resnet50", lambda: fds(features, labels), step=step, budget=12.0, rounds=(3, 5))


def bench_epoch(compare: Callable[..., None]) -> None:
    """Both epochs start smoothing at their second, which is the one that is timed."""
    images, labels = torch.randn(4, 64, 3, _SIZE, _SIZE), ages(256, 100).view(4, 64)
    compare("epoch-resnet18", _ours(images, labels), naive=_naive(images, labels), budget=16.0, rounds=(3, 5))


def _parts() -> tuple[nn.Module, nn.Linear, torch.optim.Optimizer, int]:
    torch.manual_seed(0)
    encoder, d = _encoder("resnet18")
    head = nn.Linear(d, 1)
    return encoder, head, torch.optim.Adam([*encoder.parameters(), *head.parameters()]), d


def _train_step(optimizer: torch.optim.Optimizer, output: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    (output.squeeze(1) - labels).abs().mean().backward()
    optimizer.step()


def _ours(images: Tensor, labels: Tensor) -> Action:
    encoder, head, optimizer, d = _parts()
    fds = FDS(d, LabelBins.integers(0, 99))

    def epoch() -> None:
        for batch, batch_labels in zip(images, labels, strict=True):
            _train_step(optimizer, head(fds(encoder(batch), batch_labels)), batch_labels)
        fds.end_epoch()

    return epoch


def _naive(images: Tensor, labels: Tensor) -> Action:
    encoder, head, optimizer, d = _parts()
    fds, closed = NaiveFDS(d, 100), 0

    def features_again() -> Iterator[tuple[Tensor, Tensor]]:
        for batch, batch_labels in zip(images, labels, strict=True):
            yield encoder(batch), batch_labels

    def epoch() -> None:
        nonlocal closed
        for batch, batch_labels in zip(images, labels, strict=True):
            _train_step(optimizer, head(fds.smooth(encoder(batch), batch_labels, closed)), batch_labels)
        second_pass(fds, features_again(), closed)
        closed += 1

    return epoch
