"""UVOTE: weights and likelihoods against NumPy and SciPy loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dir.bins import LabelBins
from dir.losses.uvote import UVOTE, expert_nll, expert_weights

TARGETS = torch.tensor([0.0] * 8 + [1.0] * 3 + [4.0])


def bins() -> LabelBins:
    return LabelBins.integers(0, 4)


def random(n: int = 6, k: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(n, k, 2, generator=generator, dtype=torch.float64)
    target = torch.tensor([0.0, 1.0, 4.0, 0.0, 1.0, 1.0], dtype=torch.float64)[:n]
    return output, target, torch.rand(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("noise", "scale"), [("gaussian", 1.0), ("laplace", 2**-0.5)])
def test_value_is_that_of_the_loops(noise: Any, scale: float) -> None:
    output, target, weight = random()
    family = stats.norm if noise == "gaussian" else stats.laplace
    count = {0.0: 8, 1.0: 3, 4.0: 1}
    total = 0.0
    for k in range(3):
        raw = {y: n ** -(k / 2) for y, n in count.items()}
        norm = sum(raw[y] * n for y, n in count.items()) / 12
        for i in range(6):
            mean, log_variance = output[i, k].tolist()
            density = family.logpdf(target[i].item(), mean, scale * np.exp(log_variance / 2))
            total -= weight[i].item() * raw[target[i].item()] / norm * density
    loss = UVOTE(noise).fit(TARGETS, bins())
    assert loss(output, target, weight).item() == pytest.approx(total / 18)


def test_weights_have_mean_one_and_grow_with_the_expert() -> None:
    counts = torch.tensor([8.0, 3.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    weights = expert_weights(counts, 4)
    torch.testing.assert_close((weights * counts).sum(1) / 12, torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(weights[0], torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(weights[3] * counts.clamp(min=1), weights[3, 4].expand(5))
    assert (weights[1:, 4] > weights[:-1, 4]).all()
    assert expert_weights(counts, 1).tolist() == [[1.0] * 5]


@pytest.mark.parametrize("noise", ["gaussian", "laplace"])
def test_gradcheck(noise: Any) -> None:
    output, target, weight = random(4)
    weights = weight[:, None] + torch.rand(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: expert_nll(x, target, weights, noise), output.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("noise", ["gaussian", "laplace"])
def test_gradient_is_finite_at_exact_hits_and_great_certainty(noise: Any, dtype: torch.dtype) -> None:
    output = torch.tensor([[[1.0, -10.0], [4.0, 10.0]], [[-60.0, -10.0], [1.0, 0.0]]], dtype=dtype)
    output.requires_grad_()
    value = UVOTE(noise).fit(TARGETS, bins())(output, torch.tensor([1.0, 4.0]))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_a_target_outside_the_bins_weighs_one() -> None:
    loss = UVOTE().fit(TARGETS, LabelBins.integers(0, 4, out_of_range="exclude"))
    output = random(1)[0]
    target = torch.tensor([9.0], dtype=torch.float64)
    torch.testing.assert_close(loss(output, target), expert_nll(output, target))


def test_state_dict_round_trip_and_casts() -> None:
    output, target, _ = random()
    loss, other = UVOTE().fit(TARGETS, bins()), UVOTE().fit(TARGETS[:9], bins())
    assert loss(output, target) != other(output, target)
    other.load_state_dict(loss.state_dict())
    assert loss(output, target) == other(output, target)
    assert loss.half().counts.dtype == torch.float64


def test_bad_input() -> None:
    output, target, weight = random()
    with pytest.raises(ValueError, match="noise"):
        UVOTE("cauchy")
    with pytest.raises(ValueError, match="noise"):
        expert_nll(output, target, noise="cauchy")
    with pytest.raises(RuntimeError, match="fit"):
        UVOTE()(output, target)
    with pytest.raises(RuntimeError, match="fit"):
        UVOTE().load_state_dict(UVOTE().fit(TARGETS, bins()).state_dict())
    with pytest.raises(ValueError, match="targets"):
        UVOTE().fit(torch.tensor([9.0]), LabelBins.integers(0, 4, out_of_range="exclude"))
    loss = UVOTE().fit(TARGETS, bins())
    with pytest.raises(ValueError, match="output"):
        loss(output[..., 0], target)
    with pytest.raises(ValueError, match="output"):
        expert_nll(output, target[:3])
    with pytest.raises(ValueError, match="weight"):
        loss(output, target, weight[:, None])
    with pytest.raises(ValueError, match="weight"):
        expert_nll(output, target, weight)
