"""Ordinal entropy against loops over the labels of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.losses.feature_rows import unit_rows
from dir.losses.ordinal_entropy import OrdinalEntropy, ordinal_entropy


def oracle(features: np.ndarray, labels: np.ndarray, tightness: float) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.unique(labels)
    centers = {value: unit[labels == value].mean(axis=0) for value in values}
    largest = values.max() - values.min()
    diversity = 0.0
    for a in values:
        for b in values:
            if a != b:
                diversity += abs(a - b) / largest * np.linalg.norm(centers[a] - centers[b])
    if len(values) > 1:
        diversity /= len(values) * (len(values) - 1)
    distances = [np.linalg.norm(z - centers[y]) for z, y in zip(unit, labels, strict=True)]
    return tightness * float(np.mean(distances)) - diversity


def random(n: int, high: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    return features, torch.randint(0, high, (n,), generator=generator).double() - 2.5


@pytest.mark.parametrize("high", [1, 2, 6, 1000])
@pytest.mark.parametrize("tightness", [0.0, 0.7])
def test_value_is_that_of_the_loops(high: int, tightness: float) -> None:
    features, labels = random(17, high)
    expected = oracle(features.numpy(), labels.numpy(), tightness)
    assert ordinal_entropy(features, labels, tightness).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_unit_of_labels_and_length_of_features_do_not_count() -> None:
    features, labels = random(12, 5)
    lengths = torch.linspace(0.5, 20, 12, dtype=torch.float64)[:, None]
    torch.testing.assert_close(ordinal_entropy(lengths * features, 7 * labels + 3), ordinal_entropy(features, labels))


def test_gradcheck() -> None:
    features, labels = random(7, 3)
    assert torch.autograd.gradcheck(lambda z: ordinal_entropy(z, labels, 0.7), features.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        pytest.param([1.0, 1.0, 2.0, 2.0, 3.0], [0, 1, 2, 3, 4], id="ties"),
        pytest.param([1.0, 1.0, 2.0, 4.0], [0, 0, 1, 1], id="duplicates"),
        pytest.param([2.0], [0], id="single"),
        pytest.param([2.0, 2.0, 2.0], [0, 0, 0], id="all-equal"),
        pytest.param([1.0, 2.0, 2.0], [5, 5, 0], id="zeros"),
        pytest.param([], [], id="empty"),
    ],
)
def test_gradient_is_finite(labels: list[float], rows: list[int], dtype: torch.dtype) -> None:
    pool = torch.cat([random(5, 2)[0], torch.zeros(1, 5)])
    features = pool[torch.tensor(rows, dtype=torch.int64)].to(dtype).requires_grad_()
    value = ordinal_entropy(features, torch.tensor(labels))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().sum() < 100
    if len(set(labels)) < 2:
        assert value.item() == pytest.approx(0, abs=1e-6)


def test_gradient_spreads_labels_and_draws_equals_together() -> None:
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0, 4.0, 4.0])
    features = random(6, 2)[0].requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        ordinal_entropy(features, labels).backward()
        optimizer.step()
    unit = unit_rows(features).detach()
    distance = torch.cdist(unit, unit)
    assert distance[0, 1] < 0.1
    assert distance[0, 4] > 1.8
    assert distance[0, 4] > distance[0, 2]


def test_module_weighs_its_function() -> None:
    features, labels = random(6, 4)
    module = OrdinalEntropy(weight=0.3, tightness=1.5)
    torch.testing.assert_close(module(features, labels, labels), 0.3 * ordinal_entropy(features, labels, 1.5))
    assert "tightness=1.5" in repr(module)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="tightness"):
        OrdinalEntropy(tightness=-1.0)
    with pytest.raises(ValueError, match="tightness"):
        ordinal_entropy(*random(3, 2), tightness=float("nan"))
    with pytest.raises(ValueError, match=r"labels: .*got"):
        ordinal_entropy(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"features: .*got"):
        ordinal_entropy(torch.zeros(3), torch.zeros(3))
