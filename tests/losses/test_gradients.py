"""Each regulariser and criterion of the package: finite values and gradients on degenerate batches, gradcheck.

The tests find the classes by themselves, so that a new class is tested without further changes.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from dir import losses, models
from dir.bins import LabelBins
from dir.denseweight import DenseLoss, DenseWeight
from dir.losses import WeightedMSE
from dir.losses.base import Regularizer
from dir.models.heads import Head

BINS = LabelBins.integers(0, 9)
TARGETS = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0])
# The gradient of these classes is not a derivative: it shows where a step would change the ranks.
BLACKBOX = {"RankSim"}


def classes(package: ModuleType) -> list[type[nn.Module]]:
    """Return the modules with a forward method that the files of a package define."""
    found = []
    for info in pkgutil.iter_modules(package.__path__):
        file = import_module(f"{package.__name__}.{info.name}")
        for value in vars(file).values():
            own = inspect.isclass(value) and value.__module__ == file.__name__ and issubclass(value, nn.Module)
            if own and "forward" in vars(value):
                found.append(value)
    return found


def required(kind: type) -> list[str]:
    parameters = inspect.signature(kind).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]


LOSSES = classes(losses)
REGULARIZERS = [kind for kind in LOSSES if issubclass(kind, Regularizer) and kind is not Regularizer]
# A list of criteria, one for each target, behaves as its criteria do.
CRITERIA = [kind for kind in LOSSES if not issubclass(kind, (Regularizer, nn.ModuleList))]
HEADS = [kind for kind in classes(models) if issubclass(kind, Head)]

FEATURES = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0])
BATCHES: dict[str, tuple[Tensor, Tensor]] = {
    "different": (FEATURES, LABELS),
    "ties of label distances and labels": (FEATURES, torch.tensor([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 0.0])),
    "duplicated samples": (FEATURES[:4].repeat(2, 1), LABELS[:4].repeat(2)),
    "equal features, other labels": (FEATURES[:1].repeat(8, 1), LABELS),
    "equal labels, other features": (FEATURES, torch.full((8,), 3.0)),
    "all equal": (FEATURES[:1].repeat(8, 1), torch.full((8,), 3.0)),
    "one": (FEATURES[:1], LABELS[:1]),
    "none": (FEATURES[:0], LABELS[:0]),
    "two": (FEATURES[:2], LABELS[:2]),
    "two equal": (FEATURES[:1].repeat(2, 1), LABELS[:1].repeat(2)),
    "zero features": (torch.zeros(8, 4), LABELS),
    "one of zero": (torch.zeros(1, 4), LABELS[:1]),
    "some of zero": (FEATURES * (torch.arange(8) % 2)[:, None], LABELS),
    "large": (1e3 * FEATURES, LABELS),
    "tiny": (1e-20 * FEATURES, LABELS),
}


def regularizer(kind: type[Regularizer]) -> Regularizer:
    """Return a fitted regulariser after one epoch, because some regularisers keep state."""
    torch.manual_seed(0)
    made = kind().fit(TARGETS, BINS)
    made(torch.randn(13, 4, requires_grad=True), TARGETS, TARGETS)
    made.end_epoch()
    return made


def criterion(kind: type[nn.Module]) -> tuple[nn.Module, Head]:
    """Return the criterion fitted to the targets, and the first head that accepts it."""
    torch.manual_seed(0)
    made = DenseLoss(WeightedMSE(), DenseWeight()) if kind is DenseLoss else kind()
    if hasattr(made, "fit"):
        made.fit(TARGETS, BINS)
    for head in HEADS:
        layer = head(4, BINS)
        try:
            made(layer(FEATURES), LABELS)
        except ValueError:
            continue
        return made, layer
    raise AssertionError(f"no head for {kind.__name__}")


def test_all_methods_are_found() -> None:
    assert {kind.__name__ for kind in REGULARIZERS} >= {"RankSim", "ConR", "RankNContrast", "OrdinalEntropy", "SRL"}
    assert {kind.__name__ for kind in CRITERIA} >= {
        *("WeightedL1", "WeightedMSE", "WeightedHuber", "FocalR", "BMC", "GAI", "BNI"),
        *("EvidentialLoss", "UVOTE", "DistLoss", "RegressionByClassification"),
    }
    assert len(HEADS) >= 5
    # All can be made without arguments, or this file would leave one out.
    assert [kind.__name__ for kind in (*REGULARIZERS, *CRITERIA) if required(kind)] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", REGULARIZERS)
def test_regularizers_are_finite_on_degenerate_batches(kind: type[Regularizer], dtype: torch.dtype) -> None:
    made = regularizer(kind)
    for name, (rows, labels) in BATCHES.items():
        for predictions in (labels, torch.zeros_like(labels), labels.flip(0).to(dtype)):
            features = rows.to(dtype, copy=True).requires_grad_()
            value = made(features, labels, predictions)
            value.backward()
            assert value.shape == (), name
            assert value.dtype == torch.float32, name
            assert torch.isfinite(value), name
            assert features.grad is not None, name
            assert torch.isfinite(features.grad).all(), name
            assert name != "none" or value == 0
            if name == "different" and predictions is not labels:
                assert features.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [*CRITERIA, DenseLoss])
def test_criteria_are_finite_on_degenerate_batches(kind: type[nn.Module], dtype: torch.dtype) -> None:
    made, head = criterion(kind)
    head.to(dtype)
    for name, (rows, labels) in BATCHES.items():
        if kind.__name__ == "BMC" and len(labels) == 1:
            continue  # refused: see test_bmc_refuses_a_batch_of_one
        for weight in (None, torch.ones_like(labels), 100 * torch.rand_like(labels), torch.zeros_like(labels)):
            features = rows.to(dtype, copy=True).requires_grad_()
            value = made(head(features), labels, weight=weight)
            value.backward()
            assert torch.isfinite(value), name
            assert value.dtype == torch.float32, name
            inputs = {"features": features, **dict(made.named_parameters()), **dict(head.named_parameters())}
            for part, given in inputs.items():
                assert given.grad is None or torch.isfinite(given.grad).all(), (name, part)
            assert features.grad is not None, name
            assert name != "none" or value == 0
            made.zero_grad()
            head.zero_grad()


@pytest.mark.parametrize("kind", [kind for kind in REGULARIZERS if kind.__name__ not in BLACKBOX])
def test_gradcheck_of_regularizers(kind: type[Regularizer]) -> None:
    made = regularizer(kind)
    features = FEATURES[:6].double().requires_grad_()
    labels = torch.tensor([0.0, 1.0, 1.0, 4.0, 7.0, 9.0], dtype=torch.float64)

    def value(rows: Tensor) -> Tensor:
        torch.manual_seed(0)  # the same points on the sphere each time
        return made(rows, labels, torch.full_like(labels, 3.0))

    assert torch.autograd.gradcheck(value, features)


@pytest.mark.parametrize("kind", [*CRITERIA, DenseLoss])
def test_gradcheck_of_criteria_with_their_heads(kind: type[nn.Module]) -> None:
    made, head = criterion(kind)
    made.double()
    head.double()
    weight = torch.linspace(0.5, 2, 6, dtype=torch.float64)
    labels = LABELS[:6].double()
    assert torch.autograd.gradcheck(lambda z: made(head(z), labels, weight), FEATURES[:6].double().requires_grad_())


@pytest.mark.parametrize("kind", [*REGULARIZERS, *CRITERIA, DenseLoss])
def test_autocast_narrows_nothing_but_the_features(kind: type[nn.Module]) -> None:
    # The encoder and the head run in half precision there; what follows them must not.
    if issubclass(kind, Regularizer):
        made, given = regularizer(kind), (FEATURES, LABELS, LABELS.flip(0))
    else:
        made, head = criterion(kind)
        output = head(FEATURES).detach()
        given = (output, LABELS)
        wide = head.predict(output), head.variance(output)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            narrow = head.predict(output), head.variance(output)
        for one, other in zip(wide, narrow, strict=True):
            assert (one is None and other is None) or torch.equal(one, other)
    values = []
    for enabled in (False, True):
        torch.manual_seed(0)
        first = given[0].clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = made(first, *given[1:])
        value.backward()
        values.append((value.detach(), first.grad))
    for one, other in zip(*values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
