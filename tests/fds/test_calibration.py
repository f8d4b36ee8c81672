"""Tests of the calibration's gradient: the backward reads the table rows of its own forward."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from dir.fds.calibration import calibrate

ROWS, D = 7, 3
SCALE = torch.rand(ROWS, D, generator=torch.Generator().manual_seed(0)) + 0.5
SHIFT = torch.zeros(ROWS, D)


def batch(n: int = 11, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, D, generator=generator).to(dtype).requires_grad_()
    return features, torch.randint(0, ROWS, (n,), generator=generator)


def expected(index: Tensor) -> Tensor:
    """Return the gradient of the sum of the calibrated features."""
    return SCALE[index]


@pytest.mark.parametrize("first", [0, 1])
def test_two_forwards_before_their_backwards(first: int) -> None:
    batches = [batch(seed=seed) for seed in range(2)]
    outputs = [calibrate(features, index, SCALE, SHIFT) for features, index in batches]
    for position in (first, 1 - first):
        outputs[position].sum().backward()
    for features, index in batches:
        torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)


def test_backward_in_another_thread_between_forwards_of_that_thread() -> None:
    features, index = batch(seed=0)
    output = calibrate(features, index, SCALE, SHIFT)

    def elsewhere() -> None:
        for seed in range(1, 6):
            calibrate(*batch(seed=seed), SCALE, SHIFT)
            output.sum().backward(retain_graph=True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    torch.testing.assert_close(features.grad, 5 * expected(index))


def test_a_forward_that_fails_does_not_change_the_gradient_of_another() -> None:
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    broken = index.flip(0).clone()
    broken[-1] = ROWS
    with pytest.raises((IndexError, RuntimeError)):
        calibrate(features.detach(), broken, SCALE, SHIFT)
    output.sum().backward()
    torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)


def test_a_second_backward_is_correct_after_the_first_gradient_was_overwritten() -> None:
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    for _ in range(2):
        output.sum().backward(retain_graph=True)
        torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)
        features.grad.fill_(torch.nan)
        features.grad = None


def test_second_derivatives_are_correct_after_the_next_batch() -> None:
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    upstream = torch.ones_like(output, requires_grad=True)
    (grad,) = torch.autograd.grad(output, features, upstream, create_graph=True)
    calibrate(*batch(seed=1), SCALE, SHIFT)
    (second,) = torch.autograd.grad(grad.sum(), upstream)
    torch.testing.assert_close(second, expected(index), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_output_and_gradient_have_the_dtype_of_the_features(dtype: torch.dtype) -> None:
    features, index = batch(dtype=dtype)
    output = calibrate(features, index, SCALE, SHIFT)
    output.sum().backward()
    assert output.dtype == features.grad.dtype == dtype
    torch.testing.assert_close(features.grad, expected(index).to(dtype), rtol=0, atol=0)


def test_a_table_that_changed_before_the_backward_is_refused() -> None:
    scale = SCALE.clone()
    features, index = batch()
    output = calibrate(features, index, scale, SHIFT)
    scale.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
