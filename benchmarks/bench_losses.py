"""Weighted losses beside torch.nn.functional; time and memory of every regulariser of the package."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch

import dir.losses
from benchmarks.gates import LOSS_NAMES
from benchmarks.measure import side_by_side
from benchmarks.memory import peak_mib
from benchmarks.naive import weighted_loss
from dir.bins import LabelBins
from dir.losses.base import Regularizer

OURS = {
    "mse": dir.losses.WeightedMSE(),
    "l1": dir.losses.WeightedL1(),
    "huber": dir.losses.WeightedHuber(beta=1.0),
    "focal_l1": dir.losses.FocalR(base="l1", activation="sigmoid", beta=0.2, gamma=1.0),
}
_N, _D = 1024, 128


@pytest.mark.parametrize("n", [256, 1_000_000])
@pytest.mark.parametrize("name", LOSS_NAMES)
def bench_loss(compare: Callable[..., None], name: str, n: int) -> None:
    pred, target, weight = (50 * torch.rand(n)).requires_grad_(), 50 * torch.rand(n), torch.rand(n) + 0.5

    def ours() -> None:
        pred.grad = None
        OURS[name](pred, target, weight).backward()

    def plain() -> None:
        pred.grad = None
        weighted_loss(name, pred, target, weight).backward()

    compare(f"loss-{name}-{n}", ours, naive=plain, budget=2.0)


def regularizers() -> list[type[Regularizer]]:
    """Return each subclass of Regularizer in dir/losses."""
    found: list[type[Regularizer]] = []
    for module in pkgutil.iter_modules(dir.losses.__path__, "dir.losses."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Regularizer) and value.__module__ == module.name:
                found.append(value)
    return [term for term in found if term is not Regularizer]


@pytest.mark.parametrize("term", regularizers(), ids=lambda term: term.__name__)
def bench_regularizer(benchmark: Any, record: Callable[..., None], term: type[Regularizer]) -> None:
    """Forward and backward at N = 1,024, D = 128; the floor is the matrix of pairwise distances with its backward."""
    labels = (35 + 15 * torch.randn(_N)).clamp(0, 100)
    regularizer = term()  # type: ignore[call-arg]
    regularizer.fit(labels, LabelBins.integers(0, 100))
    features = torch.randn(_N, _D, requires_grad=True)
    predictions = labels.clone().requires_grad_()

    def ours() -> None:
        features.grad = predictions.grad = None
        regularizer(features, labels, predictions).backward()

    def floor() -> None:
        features.grad = None
        torch.cdist(features, features).sum().backward()

    values = side_by_side({"ours": ours, "floor": floor}, budget=2.0)
    benchmark.pedantic(ours, rounds=3)
    memory = peak_mib("regularizer", f"{term.__module__}:{term.__name__}", _N, _D)
    title = f"{term.__name__}, forward + backward, N = 1,024, D = 128 (floor: cdist + backward)"
    record(f"regularizer-{term.__name__}", values, f"peak memory +{memory:.0f} MiB", title)
