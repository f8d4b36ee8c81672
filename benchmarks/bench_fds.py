"""FDS: calibrate, accumulate, an epoch's statistics, their memory, and the operators they call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.measure import OperatorCalls
from benchmarks.memory import peak_mib
from benchmarks.naive import NaiveFDS, second_pass
from benchmarks.setups import accumulate, accumulate_actions, ages, calibrate_actions, layers
from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.calibration import calibrate
from dir.lds import LDS

Compare = Callable[..., None]


@pytest.mark.parametrize(
    ("key", "n", "d", "num_labels", "skewed"),
    [
        ("calibrate-256x2048", 256, 2048, 100, False),
        ("calibrate-1024x2048", 1024, 2048, 121, False),
        ("calibrate-4096x128", 4096, 128, 50, False),
        ("calibrate-skewed", 256, 2048, 100, True),
    ],
)
def bench_calibrate(compare: Compare, key: str, n: int, d: int, num_labels: int, skewed: bool) -> None:
    compare(key, **calibrate_actions(layers(n, d, num_labels, skewed)), budget=8.0)


def bench_accumulate(compare: Compare) -> None:
    compare("accumulate-256x2048", **accumulate_actions(layers(256, 2048, 100)), budget=8.0)


def bench_step(compare: Compare) -> None:
    fds, _, features, labels = setup = layers(256, 2048, 100)
    upstream = torch.randn_like(features)
    leaf = features.clone().requires_grad_()

    def step() -> None:
        leaf.grad = None
        fds(leaf, labels).backward(upstream)

    compare("step-256x2048", step, floor=calibrate_actions(setup)["floor"])


def bench_epoch_statistics(compare: Compare) -> None:
    n, d = 12_208, 2048
    features, labels = torch.randn(n, d).split(256), ages(n, 100).split(256)
    ours, naive = FDS(d, LabelBins.integers(0, 99)), NaiveFDS(d, 100)

    def epoch() -> None:
        for batch, batch_labels in zip(features, labels, strict=True):
            accumulate(ours, batch, batch_labels)
        ours.end_epoch()

    def loop() -> None:
        second_pass(naive, zip(features, labels, strict=True), epoch=int(naive.epoch) + 1)

    compare("epoch-statistics-12208x2048", epoch, naive=loop, budget=12.0)


@pytest.mark.parametrize(("n", "d"), [(12_208, 512), (191_509, 512), (191_509, 2048)])
def bench_memory(benchmark: Any, record: Callable[..., None], n: int, d: int) -> None:
    values = {"naive": peak_mib("epoch_naive", n, d)}
    values["ours"] = benchmark.pedantic(peak_mib, args=("epoch_ours", n, d), rounds=1)
    record(f"memory-{n}x{d}", values, "ours includes the layer itself; both include a batch of 256 in flight")


def bench_operators_calibrate(benchmark: Any, record: Callable[..., None]) -> None:
    fds, _, features, labels = layers(256, 64, 100)
    leaf = features.requires_grad_()
    with OperatorCalls() as counted:
        calibrate(leaf, fds.bins(labels), fds.scale, fds.shift)
    benchmark(lambda: calibrate(leaf, fds.bins(labels), fds.scale, fds.shift))
    with OperatorCalls() as given_bins:
        index = fds.bins(labels)
        given_bins.calls.clear()
        calibrate(leaf, index, fds.scale, fds.shift)
    record("operators-calibrate", {"ours": len(counted.calls)}, f"{len(given_bins.calls)} given the bins")


def bench_operators_accumulate(benchmark: Any, record: Callable[..., None]) -> None:
    fds, _, features, labels = layers(256, 64, 100)
    index = fds.bins(labels)
    with OperatorCalls() as counted:
        fds.sums.add(features, labels, index, None)
    benchmark(lambda: fds.sums.add(features, labels, index, None))
    record("operators-accumulate", {"ours": len(counted.calls)})


def bench_operators_sync(benchmark: Any, record: Callable[..., None]) -> None:
    fds, _, features, labels = layers(256, 64, 100)
    leaf = features.requires_grad_()
    lds = LDS(LabelBins.integers(0, 99)).fit(labels)

    def step() -> None:
        (fds(leaf, labels).sum(1) * lds(labels)).mean().backward()

    step()
    with OperatorCalls() as counted:
        step()
    benchmark(step)
    record("operators-sync", {"ours": len(counted.synchronising)}, ", ".join(counted.synchronising))
