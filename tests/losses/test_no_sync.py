"""On a GPU, no step of a loss, a head, C-Mixup or a shift of the predictions waits for the device."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.denseweight import DenseLoss
from dir.fds import FDS
from dir.fds.output import OutputFDS
from dir.fds.probabilistic import ProbabilisticFDS
from dir.mixup import CMixup

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"

# The classes are found there, and fitted to the same labels.
spec = importlib.util.spec_from_file_location("found_losses", Path(__file__).with_name("test_gradients.py"))
assert spec is not None
assert spec.loader is not None
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)


def setting() -> tuple[Tensor, Tensor, LabelBins]:
    torch.manual_seed(0)
    features = torch.randn(64, 4, device=DEVICE, requires_grad=True)
    return features, torch.randint(0, 9, (64,)).float().to(DEVICE), LabelBins.integers(0, 9).to(DEVICE)


def without_a_wait(step: Callable[[], None]) -> None:
    step()  # allocates everything that is allocated once
    try:
        torch.cuda.set_sync_debug_mode("error")
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", found.REGULARIZERS)
def test_regularizers(kind: type[nn.Module]) -> None:
    features, labels, _ = setting()
    term = copy.deepcopy(found.regularizer(kind)).to(DEVICE)
    without_a_wait(lambda: term(features, labels, labels.flip(0)).backward())
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("kind", [*found.CRITERIA, DenseLoss])
def test_criteria_and_heads(kind: type[nn.Module]) -> None:
    features, labels, bins = setting()
    criterion, head = (copy.deepcopy(part).to(DEVICE) for part in found.criterion(kind))
    fds = ProbabilisticFDS(4, bins).to(DEVICE)
    fds(features, labels)
    fds.end_epoch()
    weight = torch.ones_like(labels)

    def step() -> None:
        output = head(fds(features, labels))
        criterion(output, labels, weight).backward()
        head.predict(output)
        head.variance(output)

    without_a_wait(step)
    assert torch.isfinite(features.grad).all()


def test_mixup() -> None:
    features, labels, _ = setting()
    mixup, mixed = CMixup(bandwidth=2.0), []
    without_a_wait(lambda: mixed.append(mixup(features, labels)))
    assert torch.isfinite(mixed[-1][0]).all()


@pytest.mark.parametrize("track", ["prediction", "label"])
def test_shift_of_the_predictions(track: str) -> None:
    features, labels, bins = setting()
    shift = OutputFDS(FDS(1, bins, statistics="mean"), track).to(DEVICE)
    shift(features[:, 0], labels, labels)
    shift.fds.end_epoch()
    without_a_wait(lambda: shift(features[:, 0], labels, labels).sum().backward())
    assert torch.isfinite(features.grad).all()
