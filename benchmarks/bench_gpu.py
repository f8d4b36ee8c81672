"""Benchmarks that need a GPU; skipped without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.measure import side_by_side
from benchmarks.setups import accumulate, calibrate_actions, layers
from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.calibration import calibrate
from dir.lds import LDS

pytestmark = pytest.mark.gpu


def bench_bandwidth(benchmark: Any, record: Callable[..., None]) -> None:
    """Bytes read and written by the features alone, over the time: the tables are small and stay in the cache."""
    fds, _, features, labels = layers(1_048_576, 128, 100, device="cuda")
    index, scratch = fds.bins(labels), torch.empty_like(features)
    actions = {
        "ours": lambda: calibrate(features, index, fds.scale, fds.shift),
        "floor": lambda: scratch.copy_(features),
    }
    seconds = side_by_side(actions, budget=3.0, gpu=True)
    benchmark.pedantic(actions["ours"], rounds=5)
    moved = 2 * features.numel() * features.element_size() / 1e9
    record("gpu-calibrate-bandwidth", {name: moved / value for name, value in seconds.items()})


def bench_calibrate(compare: Callable[..., None]) -> None:
    compare("gpu-calibrate-256x2048", **calibrate_actions(layers(256, 2048, 100, device="cuda")))


def bench_accumulate_skew(compare: Callable[..., None]) -> None:
    fds, _, features, labels = layers(256, 2048, 100, device="cuda")
    skewed = labels.clone()
    skewed[::2] = 30.0
    compare(
        "gpu-accumulate-skew",
        lambda: accumulate(fds, features, skewed),
        uniform=lambda: accumulate(fds, features, labels),
    )


def bench_share_of_step(compare: Callable[..., None]) -> None:
    torchvision = pytest.importorskip("torchvision")
    encoder = torchvision.models.resnet50(weights=None)
    encoder.fc = nn.Identity()
    encoder, head = encoder.cuda().to(memory_format=torch.channels_last), nn.Linear(2048, 1).cuda()
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=1e-3)
    images = torch.randn(256, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (256,), device="cuda").float()
    bins = LabelBins.integers(0, 99)
    fds, lds = FDS(2048, bins).cuda(), LDS(bins).fit(labels.cpu()).cuda()
    features = torch.randn(256, 2048, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    upstream = torch.randn_like(features)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            output = head(encoder(images)).squeeze(1)
        (output.float() - labels).abs().mean().backward()
        optimizer.step()

    def ours() -> None:
        features.grad = None
        lds(labels)
        fds(features, labels).backward(upstream)

    compare("gpu-share-resnet50", ours, step=step, rounds=(3, 30))
