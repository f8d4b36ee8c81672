"""NaN labels, holes in dense maps, several targets and single samples, in each criterion and regulariser.

The classes are found, not listed: a new class is tested as soon as it is there.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dir.denseweight import DenseLoss
from dir.losses import BMC, BNI, GAI, Criterion
from dir.losses.base import Regularizer, WeightedLoss

spec = importlib.util.spec_from_file_location("found_losses", Path(__file__).with_name("test_gradients.py"))
assert spec is not None
assert spec.loader is not None
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)

POINTWISE = [kind for kind in found.CRITERIA if issubclass(kind, WeightedLoss)]
NAN = float("nan")


def test_pointwise_losses_are_found() -> None:
    assert {kind.__name__ for kind in POINTWISE} >= {"WeightedL1", "WeightedMSE", "WeightedHuber", "FocalR"}


@pytest.mark.parametrize("kind", [*found.CRITERIA, DenseLoss])
def test_each_criterion_is_a_criterion(kind: type[nn.Module]) -> None:
    made, _ = found.criterion(kind)
    assert isinstance(made, Criterion)
    assert isinstance(made.corrects_imbalance, bool)
    assert not isinstance(nn.L1Loss(), Criterion)


@pytest.mark.parametrize("bad", [NAN, float("inf")])
@pytest.mark.parametrize("kind", [*found.CRITERIA, DenseLoss])
def test_a_label_that_is_not_finite_gives_no_finite_loss(kind: type[nn.Module], bad: float) -> None:
    made, head = found.criterion(kind)
    labels = found.LABELS.clone()
    labels[2] = bad
    assert not torch.isfinite(made(head(found.FEATURES), labels))


@pytest.mark.parametrize("where", ["labels", "features"])
@pytest.mark.parametrize("kind", found.REGULARIZERS)
def test_a_regularizer_of_nan_is_nan(kind: type[Regularizer], where: str) -> None:
    made = found.regularizer(kind)
    inputs = {"labels": found.LABELS.clone(), "features": found.FEATURES.clone()}
    inputs[where].view(-1)[2] = NAN
    features = inputs["features"].requires_grad_()
    assert made(features, inputs["labels"], found.LABELS.flip(0)).isnan()


@pytest.mark.parametrize("kind", found.REGULARIZERS)
def test_a_prediction_that_is_nan_gives_no_finite_loss_with_a_nan_gradient(kind: type[Regularizer]) -> None:
    made = found.regularizer(kind)
    predictions = found.LABELS.flip(0)
    predictions[2] = NAN
    features = found.FEATURES.clone().requires_grad_()
    value = made(features, found.LABELS, predictions)
    value.backward()
    assert features.grad is not None
    assert value.isnan() or torch.isfinite(features.grad).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("hole", [NAN, 5.0])
@pytest.mark.parametrize("kind", POINTWISE)
def test_holes_of_a_map_are_ignored(kind: Callable[..., WeightedLoss], hole: float, reduction: str) -> None:
    """The loss of a map with holes is the loss of its other pixels; predictions and weights at holes may be NaN."""
    generator = torch.Generator().manual_seed(0)
    pred, target, weight = torch.rand(3, 2, 1, 4, 5, generator=generator, dtype=torch.float64)
    holes = torch.rand(pred.shape, generator=generator) < 0.3
    target[holes] = NAN
    pred[holes], weight[holes] = hole, hole
    assert 0 < holes.sum() < holes.numel()

    whole = pred.clone().requires_grad_()
    value = kind(reduction=reduction, ignore_nan=True)(whole, target, weight)
    value.sum().backward()
    some = pred[~holes].clone().requires_grad_()
    expected = kind(reduction=reduction)(some, target[~holes], weight[~holes])
    expected.sum().backward()

    assert whole.grad is not None
    assert some.grad is not None
    torch.testing.assert_close(value[~holes] if reduction == "none" else value, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(whole.grad[~holes], some.grad, rtol=1e-12, atol=0)
    assert (whole.grad[holes] == 0).all()
    if reduction == "none":
        assert (value[holes] == 0).all()


HOLES = torch.tensor([False, True, False, False, True, False, False, True])


def ignoring(module: nn.Module) -> nn.Module:
    """Return a copy of a fitted module that ignores NaN labels; the base of DenseLoss does so."""
    copied = copy.deepcopy(module)
    (copied.base if isinstance(copied, DenseLoss) else copied).ignore_nan = True
    return copied


def gradients(module: nn.Module, value: Tensor, *inputs: Tensor) -> list[Tensor | None]:
    """Return the gradients of the inputs and of the trainable parameters of the module."""
    wanted = [*inputs, *(part for part in module.parameters() if part.requires_grad)]
    return list(torch.autograd.grad(value, wanted, allow_unused=True))


def assert_close_or_both_none(found: list[Tensor | None], expected: list[Tensor | None]) -> None:
    for one, other in zip(found, expected, strict=True):
        if one is None or other is None:
            assert one is None
            assert other is None
        else:
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [*found.CRITERIA, DenseLoss])
def test_criteria_ignore_the_rows_of_nan_labels(kind: type[nn.Module], weighted: bool) -> None:
    """The oracle is the loss of the other rows without ``ignore_nan``. Outputs and weights at holes are NaN, too."""
    made, head = found.criterion(kind)
    made.double()
    output, labels = head.double()(found.FEATURES.double()).detach(), found.LABELS.double().masked_fill(HOLES, NAN)
    weight = torch.linspace(0.5, 2, 8, dtype=torch.float64).masked_fill(HOLES, NAN) if weighted else None
    output[HOLES] = NAN
    ours, expected = ignoring(made), copy.deepcopy(made)
    whole, some = output.clone().requires_grad_(), output[~HOLES].clone().requires_grad_()
    value = ours(whole, labels, weight)
    wanted = expected(some, labels[~HOLES], None if weight is None else weight[~HOLES])
    assert torch.isfinite(value)
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=0)
    own, *parameters = gradients(ours, value, whole)
    rest, *others = gradients(expected, wanted, some)
    assert own is not None
    assert (own[HOLES] == 0).all()
    assert_close_or_both_none([own[~HOLES], *parameters], [rest, *others])
    assert made(output.nan_to_num(1.0), labels, weight).isnan(), "without ignore_nan"


@pytest.mark.parametrize("kind", found.REGULARIZERS)
def test_regularizers_ignore_the_rows_of_nan_labels(kind: type[Regularizer]) -> None:
    made = found.regularizer(kind)
    labels, predictions = found.LABELS.masked_fill(HOLES, NAN), found.LABELS.flip(0)
    features = found.FEATURES.clone()
    features[HOLES], predictions[HOLES] = NAN, NAN
    ours, expected = ignoring(made), copy.deepcopy(made)
    whole, some = features.clone().requires_grad_(), features[~HOLES].clone().requires_grad_()
    torch.manual_seed(1)  # SRL draws points
    value = ours(whole, labels, predictions)
    torch.manual_seed(1)
    wanted = expected(some, labels[~HOLES], predictions[~HOLES])
    assert torch.isfinite(value)
    assert torch.equal(value, wanted)
    own, rest = torch.autograd.grad(value, whole)[0], torch.autograd.grad(wanted, some)[0]
    assert (own[HOLES] == 0).all()
    assert torch.equal(own[~HOLES], rest)
    assert ours.end_epoch() == expected.end_epoch()
    state = expected.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("kind", [*found.CRITERIA, DenseLoss, *found.REGULARIZERS])
def test_without_any_label_the_loss_and_its_gradients_are_zero(kind: type[nn.Module]) -> None:
    nothing = torch.full((8,), NAN)
    if issubclass(kind, Regularizer):
        made = ignoring(found.regularizer(kind))
        inputs = found.FEATURES.clone().requires_grad_()
        value = made(inputs, nothing, found.LABELS)
    else:
        fitted, head = found.criterion(kind)
        made = ignoring(fitted)
        inputs = head(found.FEATURES).detach().requires_grad_()
        value = made(inputs, nothing)
    assert value == 0
    own, *parameters = gradients(made, value, inputs)
    assert own is not None
    assert (own == 0).all()
    assert all(gradient is None or (gradient == 0).all() for gradient in parameters)


@pytest.mark.parametrize("kind", [*found.CRITERIA, *found.REGULARIZERS])
def test_each_class_takes_ignore_nan_and_shows_it(kind: type[nn.Module]) -> None:
    assert kind(ignore_nan=True).ignore_nan is True
    assert "ignore_nan=True" in repr(kind(ignore_nan=True))


@pytest.mark.parametrize("kind", [kind for kind in found.CRITERIA if kind not in POINTWISE])
def test_ignore_nan_still_refuses_other_numbers_of_rows(kind: type[nn.Module]) -> None:
    made, head = found.criterion(kind)
    with pytest.raises(ValueError, match=r"target.*\[7\].*\[8"):
        ignoring(made)(head(found.FEATURES), found.LABELS[:7])


def test_one_label_left_is_a_batch_of_one_for_bmc() -> None:
    with pytest.raises(ValueError, match=r"pred: .*got 1\."):
        BMC(ignore_nan=True)(torch.ones(3), torch.tensor([1.0, NAN, NAN]))


def test_a_nan_in_one_of_several_targets_drops_the_row() -> None:
    pred, target = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(0))
    target[1, 0] = NAN
    rest = [0, 2, 3]
    assert torch.equal(BMC(ignore_nan=True)(pred, target), BMC()(pred[rest], target[rest]))


@pytest.mark.parametrize("kind", POINTWISE)
def test_a_batch_of_holes_alone_is_zero(kind: Callable[..., WeightedLoss]) -> None:
    pred = torch.ones(3, requires_grad=True)
    value = kind(ignore_nan=True)(pred, torch.full((3,), NAN))
    value.backward()
    assert pred.grad is not None
    assert value == 0
    assert (pred.grad == 0).all()


@pytest.mark.parametrize("kind", POINTWISE)
def test_without_ignore_nan_a_hole_gives_nan(kind: Callable[..., WeightedLoss]) -> None:
    assert kind()(torch.ones(3), torch.tensor([1.0, NAN, 2.0])).isnan()


@pytest.mark.parametrize("kind", POINTWISE)
def test_several_targets_are_refused(kind: Callable[..., WeightedLoss]) -> None:
    with pytest.raises(ValueError, match=r"target: .*got \[4, 3\].*one loss per target"):
        kind()(torch.ones(4, 3), torch.zeros(4, 3))
    kind()(torch.ones(4, 1), torch.zeros(4, 1))
    kind()(torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2))


@pytest.mark.parametrize("kind", found.REGULARIZERS)
def test_regularizers_refuse_several_targets(kind: type[Regularizer]) -> None:
    with pytest.raises(ValueError, match=r"labels: .*got \[8, 2\].*per target"):
        found.regularizer(kind)(found.FEATURES, torch.ones(8, 2), torch.ones(8))


def test_bmc_refuses_a_batch_of_one() -> None:
    for shape in ((1,), (1, 2)):
        with pytest.raises(ValueError, match=r"pred: .*got 1\..*drop_last"):
            BMC()(torch.ones(shape), torch.zeros(shape))
    assert BMC()(torch.ones(0), torch.ones(0)) == 0


@pytest.mark.parametrize("kind", [BNI, GAI])
def test_other_forms_of_balanced_mse_take_a_batch_of_one(kind: type[nn.Module]) -> None:
    made, _ = found.criterion(kind)
    values: list[Tensor] = [made(torch.tensor([pred]), torch.tensor([9.0])) for pred in (1.0, 5.0)]
    assert np.isfinite([value.item() for value in values]).all()
    assert values[0] != values[1]
