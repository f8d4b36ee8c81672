"""Rank-N-Contrast against loops over anchors, positives and negatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from dir.losses.feature_rows import pair_distances
from dir.losses.ordinal_entropy import ordinal_entropy
from dir.losses.rnc import RankNContrast, rank_n_contrast


def oracle(features: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    n, total = len(labels), 0.0
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            similarity = [-np.linalg.norm(features[i] - features[k]) / temperature for k in range(n)]
            negatives = [
                np.exp(similarity[k])
                for k in range(n)
                if k != i and abs(labels[i] - labels[k]) >= abs(labels[i] - labels[j])
            ]
            total += -np.log(np.exp(similarity[j]) / np.sum(negatives))
    return total / (n * (n - 1))


def random(n: int, high: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    return features, torch.randint(0, high, (n,), generator=generator).double()


@pytest.mark.parametrize("high", [3, 8, 1000])  # many ties, some, hardly any
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_value_is_that_of_the_loops(high: int, temperature: float) -> None:
    features, labels = random(13, high)
    expected = oracle(features.numpy(), labels.numpy(), temperature)
    assert rank_n_contrast(features, labels, temperature).item() == pytest.approx(expected, rel=1e-12)


def test_two_views_are_rows_like_others() -> None:
    features, labels = random(8, 4)
    labels = labels.repeat(2)
    features = torch.cat([features, features + 0.1 * torch.randn_like(features)])
    expected = oracle(features.numpy(), labels.numpy(), 2.0)
    assert rank_n_contrast(features, labels).item() == pytest.approx(expected, rel=1e-12)


def test_ties_survive_the_rounding_of_scaled_labels() -> None:
    features, labels = random(40, 30)
    expected = oracle(features.numpy(), labels.numpy(), 2.0)
    scaled = (labels.float() - 17.3) / 5.1
    assert rank_n_contrast(features.float(), scaled).item() == pytest.approx(expected, rel=1e-5)


def test_gradcheck() -> None:
    features, labels = random(7, 4)
    assert torch.autograd.gradcheck(lambda z: rank_n_contrast(z, labels), features.requires_grad_())


def test_large_distances_do_not_overflow() -> None:
    features, labels = random(6, 10)
    features = (1e4 * features).float().requires_grad_()
    rank_n_contrast(features, labels).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        pytest.param([1.0, 1.0, 2.0, 2.0, 3.0], [0, 1, 2, 3, 4], id="ties"),
        pytest.param([1.0, 1.0, 2.0, 4.0], [0, 0, 1, 1], id="duplicates"),
        pytest.param([2.0], [0], id="single"),
        pytest.param([2.0, 2.0, 2.0], [0, 0, 0], id="all-equal"),
        pytest.param([], [], id="empty"),
    ],
)
def test_gradient_is_finite(labels: list[float], rows: list[int], dtype: torch.dtype) -> None:
    features = random(5, 2)[0][torch.tensor(rows, dtype=torch.int64)].to(dtype).requires_grad_()
    value = rank_n_contrast(features, torch.tensor(labels))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert features.grad is not None
    assert features.grad.dtype == dtype
    assert torch.isfinite(features.grad).all()
    if len(labels) < 2:
        assert value == 0


class Largest(TorchDispatchMode):
    """The operators that run, and the most elements that one of them gives."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        self.numel = max(self.numel, *(r.numel() for r in pytree.tree_leaves(result) if isinstance(r, Tensor)), 0)
        return result


@pytest.mark.parametrize("term", [rank_n_contrast, ordinal_entropy])
def test_memory_of_the_gradient(term: Callable[[Tensor, Tensor], Tensor]) -> None:
    features = torch.randn(40, 16, requires_grad=True)
    with Largest() as seen:
        term(features, torch.arange(40.0)).backward()
    assert seen.numel <= 40 * 40
    assert "_cdist_forward" in seen.names
    # PyTorch's own on a GPU: [N, N, D].
    assert "_cdist_backward" not in seen.names


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_gradient_of_distances_is_that_of_pytorch(offset: float) -> None:
    # The last three rows: near duplicates, and one that coincides.
    rows = torch.randn(12, 5) + offset
    rows[9], rows[10], rows[11] = rows[0] * (1 + 3e-7), rows[1] * (1 + 1e-6), rows[2]
    factor = torch.randn(12, 12)
    grads = []
    for distances in (pair_distances, lambda z: torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")):
        z = rows.clone().requires_grad_()
        found = distances(z)
        (factor * found).sum().backward()
        grads.append((found.detach(), z.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    torch.testing.assert_close(grads[0][1], grads[1][1], rtol=1e-5, atol=1e-5)


def test_gradient_orders_the_features() -> None:
    labels = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    features = random(5, 2)[0].requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        rank_n_contrast(features, labels).backward()
        optimizer.step()
    far = (features[0] - features).norm(dim=1)
    assert (far[1:] > far[:-1]).all()


def test_module_weighs_its_function() -> None:
    features, labels = random(6, 4)
    module = RankNContrast(weight=0.3, temperature=1.5)
    torch.testing.assert_close(module(features, labels, labels), 0.3 * rank_n_contrast(features, labels, 1.5))
    assert "temperature=1.5" in repr(module)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_bad_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        RankNContrast(temperature=temperature)
    with pytest.raises(ValueError, match="temperature"):
        rank_n_contrast(*random(3, 2), temperature)


@pytest.mark.parametrize(("features", "labels"), [((3, 2, 1), (3,)), ((3, 2), (2,)), ((3, 2), (3, 2))])
def test_bad_shapes(features: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected .*got"):
        rank_n_contrast(torch.zeros(features), torch.zeros(labels))
