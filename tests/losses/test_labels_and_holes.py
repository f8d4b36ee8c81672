"""NaN labels, holes in dense maps, several targets and single samples, in each criterion and regulariser.

The classes are found, not listed: a new class is tested as soon as it is there.
"""

from __future__ import annotations

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
