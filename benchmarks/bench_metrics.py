"""Metrics by shot group for a million predictions."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.naive import shot_metrics
from benchmarks.setups import ages
from dir.bins import LabelBins
from dir.metrics import ShotMetrics


def bench_shots(compare: Callable[..., None]) -> None:
    n = 1_000_000
    train, labels = ages(191_509, 121), ages(n, 121)
    preds = labels + 5 * torch.randn(n)
    bins = LabelBins.integers(0, 120)
    arrays = [tensor.numpy() for tensor in (preds, labels, train)]

    def ours() -> dict[str, dict[str, torch.Tensor]]:
        metric = ShotMetrics(bins, counts=bins.counts(train), metrics=["mae", "mse", "gm"])
        metric.update(preds, labels)
        return metric.compute()

    def loop(by_sample: bool) -> dict[str, dict[str, float]]:
        return shot_metrics(*arrays, by_sample=by_sample)

    compare("shots-1000000", ours, naive=lambda: loop(True), arrays=lambda: loop(False), budget=20.0)
