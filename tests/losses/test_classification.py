"""Regression by classification against PyTorch's cross-entropy and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dir.bins import LabelBins
from dir.losses.classification import RegressionByClassification, focal_cross_entropy

BINS = LabelBins.integers(0, 4)


def random(n: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 5, (n,), generator=generator), torch.rand(n, generator=generator).double()


def test_state_round_trip() -> None:
    logits, _, _ = random()
    target = torch.arange(9.0) / 2
    loss = RegressionByClassification(gamma=1.0).fit(target, BINS)
    other = RegressionByClassification(gamma=1.0)
    with pytest.raises(RuntimeError, match=r"not fitted.*fit\(targets, bins\)"):
        other.load_state_dict(loss.state_dict())
    other.fit(target, LabelBins.uniform(0, 50, 5))
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(logits, target), loss(logits, target))


def test_gamma_zero_is_cross_entropy() -> None:
    logits, index, weight = random()
    torch.testing.assert_close(focal_cross_entropy(logits, index), F.cross_entropy(logits, index))
    single = F.cross_entropy(logits, index, reduction="none")
    torch.testing.assert_close(focal_cross_entropy(logits, index, weight), (weight * single).sum() / 9)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_factor(gamma: float) -> None:
    logits, index, weight = random()
    p = np.exp(logits.numpy())
    p = (p / p.sum(axis=1, keepdims=True))[np.arange(9), index.numpy()]
    expected = np.mean(weight.numpy() * (1 - p) ** gamma * -np.log(p))
    assert focal_cross_entropy(logits, index, weight, gamma).item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradcheck(gamma: float) -> None:
    logits, index, weight = random(4)
    assert torch.autograd.gradcheck(lambda x: focal_cross_entropy(x, index, weight, gamma), logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradient_is_finite_for_sure_hits_and_misses(gamma: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.0, 300.0], [0.0, 300.0], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    value = focal_cross_entropy(logits, torch.tensor([1, 0, 0]), gamma=gamma)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1, 0] < 0


def test_an_excluded_label_counts_nothing() -> None:
    loss = RegressionByClassification().fit(torch.zeros(1), LabelBins.integers(0, 4, out_of_range="exclude"))
    logits = random(2)[0]
    expected = F.cross_entropy(logits[:1], torch.tensor([1])) / 2
    torch.testing.assert_close(loss(logits, torch.tensor([1.0, 30.0])), expected)


def test_module_bins_its_targets() -> None:
    logits, index, weight = random()
    loss = RegressionByClassification(gamma=2.0).fit(index.float(), BINS)
    target = index + 0.3
    torch.testing.assert_close(loss(logits, target, weight), focal_cross_entropy(logits, index, weight, 2.0))
    assert "gamma=2.0" in repr(loss)


def test_bad_input() -> None:
    logits, index, weight = random()
    with pytest.raises(ValueError, match="gamma"):
        RegressionByClassification(gamma=-1.0)
    with pytest.raises(ValueError, match="gamma"):
        focal_cross_entropy(logits, index, gamma=float("nan"))
    with pytest.raises(RuntimeError, match="fit"):
        RegressionByClassification()(logits, index.float())
    with pytest.raises(ValueError, match=r"output: .*one logit per bin.*got \["):
        RegressionByClassification().fit(index, LabelBins.integers(0, 3))(logits, index.float())
    with pytest.raises(ValueError, match="logits"):
        focal_cross_entropy(logits, index[:3])
    with pytest.raises(ValueError, match="weight"):
        focal_cross_entropy(logits, index, weight[:, None])
