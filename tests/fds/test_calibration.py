"""The backward of the calibration takes the rows that its forward gathered, and never those of another."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dir.fds import calibration
from dir.fds.calibration import calibrate

ROWS, D = 7, 3
SCALE = torch.rand(ROWS, D, generator=torch.Generator().manual_seed(0)) + 0.5
SHIFT = torch.zeros(ROWS, D)


def batch(n: int = 11, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, D, generator=generator).to(dtype).requires_grad_()
    return features, torch.randint(0, ROWS, (n,), generator=generator)


def expected(index: Tensor) -> Tensor:
    """The gradient of the sum."""
    return SCALE[index]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each backward found its rows."""
    found: list[bool] = []

    def watched(turn: int, original: Callable[[int], Tensor | None] = calibration._taken) -> Tensor | None:
        rows = original(turn)
        found.append(rows is not None)
        return rows

    monkeypatch.setattr(calibration, "_taken", watched)
    monkeypatch.setattr(calibration, "_kept", calibration._Kept())
    return found


def test_the_usual_step_gathers_its_rows_once_and_keeps_none(taken: list[bool]) -> None:
    for n in (11, 11, 4, 11):  # a ragged batch among others
        features, index = batch(n, seed=n)
        calibrate(features, index, SCALE, SHIFT).sum().backward()
        torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)
        assert calibration._kept.rows is None
    assert taken == [True] * 4


@pytest.mark.parametrize("first", [0, 1])
def test_two_calibrations_before_their_backwards(taken: list[bool], first: int) -> None:
    batches = [batch(seed=seed) for seed in range(2)]
    outputs = [calibrate(features, index, SCALE, SHIFT) for features, index in batches]
    for turn in (first, 1 - first):
        outputs[turn].sum().backward()
    for features, index in batches:
        torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)
    assert sorted(taken) == [False, True]


def test_the_backward_of_another_thread_does_not_take_that_threads_rows(taken: list[bool]) -> None:
    features, index = batch(seed=0)
    output = calibrate(features, index, SCALE, SHIFT)

    def elsewhere() -> None:
        for seed in range(1, 6):  # as many turns as the first thread may have had
            calibrate(*batch(seed=seed), SCALE, SHIFT)
            output.sum().backward(retain_graph=True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    torch.testing.assert_close(features.grad, 5 * expected(index))
    assert taken == [False] * 5


def test_a_calibration_that_failed_in_between_spoils_nothing(taken: list[bool]) -> None:
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    broken = index.flip(0).clone()
    broken[-1] = ROWS
    with pytest.raises((IndexError, RuntimeError)):
        calibrate(features.detach(), broken, SCALE, SHIFT)
    output.sum().backward()
    torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)
    assert taken == [True]


def test_a_second_backward_is_no_matter_of_what_became_of_the_first_gradient(taken: list[bool]) -> None:
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    for _ in range(2):
        output.sum().backward(retain_graph=True)
        torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)
        features.grad.fill_(torch.nan)
        features.grad = None
    assert taken == [True, False]


def test_second_derivatives_outlive_the_next_batch() -> None:
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    upstream = torch.ones_like(output, requires_grad=True)
    (grad,) = torch.autograd.grad(output, features, upstream, create_graph=True)
    calibrate(*batch(seed=1), SCALE, SHIFT)
    (second,) = torch.autograd.grad(grad.sum(), upstream)
    torch.testing.assert_close(second, expected(index), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_of_features_get_gradients_of_their_own(dtype: torch.dtype, taken: list[bool]) -> None:
    features, index = batch(dtype=dtype)
    output = calibrate(features, index, SCALE, SHIFT)
    output.sum().backward()
    assert output.dtype == features.grad.dtype == dtype
    torch.testing.assert_close(features.grad, expected(index).to(dtype), rtol=0, atol=0)
    assert taken == [True]


def test_what_needs_no_gradient_is_not_kept(taken: list[bool]) -> None:
    features, index = batch()
    calibrate(features.detach(), index, SCALE, SHIFT)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            calibrate(2 * features, index, SCALE, SHIFT)
    assert calibration._kept.rows is None


def test_more_than_is_kept_is_gathered_anew(monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    monkeypatch.setattr(calibration, "_KEPT_BYTES", 11 * D * 4 - 1)
    features, index = batch()
    output = calibrate(features, index, SCALE, SHIFT)
    assert calibration._kept.rows is None
    output.sum().backward()
    torch.testing.assert_close(features.grad, expected(index), rtol=0, atol=0)
    assert taken == [False]


def test_a_table_that_changed_before_the_backward_is_refused() -> None:
    scale = SCALE.clone()
    features, index = batch()
    output = calibrate(features, index, scale, SHIFT)
    scale.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
