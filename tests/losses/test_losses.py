"""Tests that apply to all losses: shapes, reductions, weights, exact hits, half precision, gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from dir.losses import (
    FocalR,
    WeightedHuber,
    WeightedL1,
    WeightedMSE,
    focal_r,
    weighted_huber,
    weighted_l1,
    weighted_mse,
)

Loss = Callable[..., Tensor]
FOCAL = [
    pytest.param(
        partial(focal_r, base=base, activation=activation, beta=0.7, gamma=gamma),
        id=f"focal-{base}-{activation}-{gamma}",
    )
    for base in ("l1", "mse")
    for activation in ("sigmoid", "tanh")
    for gamma in (0.0, 0.3, 1.0, 2.5)
]
LOSSES = [
    pytest.param(weighted_mse, id="mse"),
    pytest.param(weighted_l1, id="l1"),
    pytest.param(partial(weighted_huber, beta=0.4), id="huber"),
    *FOCAL,
]
MODULES = [
    pytest.param(WeightedMSE, weighted_mse, {}, id="mse"),
    pytest.param(WeightedL1, weighted_l1, {}, id="l1"),
    pytest.param(WeightedHuber, weighted_huber, {"beta": 0.3}, id="huber"),
    pytest.param(
        FocalR,
        focal_r,
        {"base": "mse", "activation": "tanh", "beta": 2.0, "gamma": 1.5},
        id="focal",
    ),
]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.randn(2, 9, 1, dtype=torch.float64, generator=generator)
    return pred, target, torch.rand(9, 1, dtype=torch.float64, generator=generator) + 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss: Loss, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    inputs = tuple(t.clone().requires_grad_() for t in batch)
    for reduction in ("none", "mean"):
        assert torch.autograd.gradcheck(partial(loss, reduction=reduction), inputs)


@pytest.mark.parametrize("loss", LOSSES)
def test_reductions_weigh_before_they_reduce(loss: Loss, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    pred, target, weight = batch
    plain = loss(pred, target, reduction="none")
    assert plain.shape == pred.shape
    torch.testing.assert_close(loss(pred, target, weight, reduction="none"), plain * weight)
    torch.testing.assert_close(loss(pred, target, weight, reduction="sum"), (plain * weight).sum())
    torch.testing.assert_close(loss(pred, target, weight), (plain * weight).sum() / 9)
    torch.testing.assert_close(loss(pred, target), plain.sum() / 9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("pred", "target", "weight", "named"),
    [
        ((4,), (4, 1), None, ("[4]", "[4, 1]")),
        ((4, 1), (4,), None, ("[4, 1]", "[4]")),
        ((4,), (1,), None, ("[4]", "[1]")),
        ((4, 1), (4, 1), (4,), ("weight", "pred [4, 1]", "got [4]")),
        ((4,), (4,), (4, 1), ("weight", "pred [4]", "got [4, 1]")),
        ((4,), (4,), (1,), ("weight", "pred [4]", "got [1]")),
        ((4,), (4,), (), ("weight", "pred [4]", "got []")),
    ],
)
def test_shapes_that_would_broadcast_are_refused(
    loss: Loss,
    pred: tuple[int, ...],
    target: tuple[int, ...],
    weight: tuple[int, ...] | None,
    named: tuple[str, str],
) -> None:
    with pytest.raises(ValueError, match="shape") as caught:
        loss(torch.ones(pred), torch.ones(target), None if weight is None else torch.ones(weight))
    for text in named:
        assert text in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_at_and_near_exact_hits(loss: Loss, dtype: torch.dtype) -> None:
    pred = torch.tensor([3.0, 3.0, 3.0, 0.0, 1e-7, 60.0], dtype=dtype, requires_grad=True)
    target = torch.tensor([3.0, 3.25, 2.75, 0.0, 0.0, -60.0], dtype=dtype)
    value = loss(pred, target, torch.ones(6))
    value.backward()
    assert pred.grad is not None
    assert pred.grad.dtype == dtype
    assert torch.isfinite(value)
    assert torch.isfinite(pred.grad).all()
    assert pred.grad[0] == 0
    assert pred.grad[3] == 0
    assert pred.grad[1] < 0 < pred.grad[2]


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_subtracts_in_float32(loss: Loss) -> None:
    pred, target = torch.tensor([71.0], dtype=torch.bfloat16), torch.tensor([71.2])
    value = loss(pred, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(pred.double(), target.double()).float())
    assert loss(pred, pred).dtype == torch.float32


def test_sigmoid_form_does_not_cancel_for_small_errors() -> None:
    error = torch.tensor([1e-6])
    # 2 * sigmoid(x) - 1 -> x / 2, so that the loss is beta / 2 * e^2
    torch.testing.assert_close(focal_r(error, torch.zeros(1), beta=0.2), torch.tensor(0.1e-12), rtol=1e-5, atol=0)


def test_gamma_zero_is_the_base_loss(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    torch.testing.assert_close(focal_r(*batch, gamma=0.0), weighted_l1(*batch))
    torch.testing.assert_close(focal_r(*batch, base="mse", gamma=0.0), weighted_mse(*batch))


def test_huber_is_smooth_l1_of_torch(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    pred, target, _ = batch
    expected = nn.functional.smooth_l1_loss(pred, target, beta=0.4)
    torch.testing.assert_close(weighted_huber(pred, target, beta=0.4), expected)


@pytest.mark.parametrize(("module", "function", "arguments"), MODULES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_module_is_its_function(
    module: Callable[..., nn.Module],
    function: Loss,
    arguments: dict[str, float | str],
    reduction: str,
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    made = module(**arguments, reduction=reduction)
    assert torch.equal(made(*batch), function(*batch, **arguments, reduction=reduction))
    assert torch.equal(made(*batch[:2]), function(*batch[:2], **arguments, reduction=reduction))
    for name, value in {**arguments, "reduction": reduction}.items():
        assert f"{name}={value!r}" in repr(made)


@pytest.mark.parametrize(
    ("module", "function", "arguments"),
    [
        (WeightedMSE, weighted_mse, {"reduction": "average"}),
        (WeightedHuber, weighted_huber, {"beta": 0.0}),
        (WeightedHuber, weighted_huber, {"beta": float("nan")}),
        (WeightedHuber, weighted_huber, {"beta": float("inf")}),
        (FocalR, focal_r, {"base": "huber"}),
        (FocalR, focal_r, {"activation": "relu"}),
        (FocalR, focal_r, {"beta": -1.0}),
        (FocalR, focal_r, {"gamma": -0.5}),
    ],
)
def test_bad_arguments_name_themselves(
    module: Callable[..., nn.Module], function: Loss, arguments: dict[str, float | str]
) -> None:
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=name):
        module(**arguments)
    with pytest.raises(ValueError, match=name):
        function(torch.ones(2), torch.zeros(2), **arguments)
