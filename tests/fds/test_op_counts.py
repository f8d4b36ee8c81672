"""Tests of the cost of a step that do not depend on speed: operator calls, memory, waits for the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dir.bins import LabelBins
from dir.fds import FDS
from dir.lds import LDS

# Calls that synchronise with a device, or with a shape that depends on values.
WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "masked_select", "item", "bincount")


class Calls(TorchDispatchMode):
    """Count operator calls that are not views."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.counts[func.__name__.split(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def fitted(out_of_range: str = "clamp") -> tuple[FDS, LDS, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    bins = LabelBins.uniform(0, 10, 100, out_of_range=out_of_range)
    fds, labels = FDS(2048, bins), 10 * torch.rand(256)
    features = torch.randn(256, 2048)
    fds(features.clone().requires_grad_(), labels)
    fds.end_epoch()
    return fds, LDS(bins).fit(labels), features, labels


@pytest.mark.parametrize("out_of_range", ["clamp", "exclude"])
def test_a_step_takes_few_calls_and_never_waits(out_of_range: str) -> None:
    fds, lds, features, labels = fitted(out_of_range)
    with torch.no_grad(), Calls() as calibrating:
        fds(features, labels)
    index = fds.bins(labels)
    with Calls() as accumulating:
        fds.sums.add(features, labels, index)
    inputs = features.clone().requires_grad_()
    with Calls() as whole:
        (fds(inputs, labels).mean(1) * lds(labels)).mean().backward()
    assert sum(calibrating.counts.values()) <= (7 if out_of_range == "clamp" else 9), calibrating.counts
    assert sum(accumulating.counts.values()) <= 12, accumulating.counts
    for found in (calibrating, accumulating, whole):
        assert not [name for name in found.counts if name.lstrip("_").startswith(WAITING)], found.counts


def test_the_operator_counter_counts() -> None:
    with Calls() as found:
        values = torch.arange(4.0).view(2, 2)
        values.sum().item()
        torch.nonzero(values)
    assert found.counts["view"] == 0
    assert found.counts["_local_scalar_dense"] == 1
    assert found.counts["nonzero"] == 1


def peak_bytes(work: Any) -> int:
    """Return the peak memory of the tensors created by ``work``."""
    held = peak = 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.mark.parametrize("shape", [(20_000, 512), (2, 128, 200, 200)], ids=["rows", "dense map"])
def test_an_epochs_statistics_need_at_most_32_mib_for_any_batch(shape: tuple[int, ...]) -> None:
    fds = FDS(shape[1], LabelBins.uniform(0, 1, 100), start_smooth=None)
    features = torch.zeros(shape)
    labels = torch.zeros(shape[0], 1, *shape[2:]) if len(shape) > 2 else torch.zeros(shape[0])
    index = fds.bins(labels).flatten()
    rows = fds._rows(features)
    assert rows.numel() * 8 > 64 << 20, "the whole batch widened would break the bound"
    assert peak_bytes(lambda: fds.sums.add(rows, labels, index)) < 32 << 20
