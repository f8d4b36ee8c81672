"""On a GPU no step of a loss or of its head waits for the device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dir.bins import LabelBins
from dir.losses.classification import RegressionByClassification
from dir.losses.dist_loss import DistLoss
from dir.losses.evidential import EvidentialLoss
from dir.losses.ordinal_entropy import OrdinalEntropy
from dir.losses.rnc import RankNContrast
from dir.losses.srl import SRL
from dir.losses.uvote import UVOTE
from dir.models.heads import Head, LinearHead
from dir.models.heads_classification import ClassificationHead
from dir.models.heads_evidential import EvidentialHead
from dir.models.heads_experts import ExpertsHead
from dir.vir import ProbabilisticFDS

REGULARIZERS = [RankNContrast, OrdinalEntropy, SRL]
CRITERIA = [
    (DistLoss, LinearHead),
    (RegressionByClassification, ClassificationHead),
    (UVOTE, ExpertsHead),
    (EvidentialLoss, EvidentialHead),
]


def setting() -> tuple[torch.Tensor, torch.Tensor, LabelBins]:
    torch.manual_seed(0)
    features = torch.randn(64, 8, device="cuda", requires_grad=True)
    return features, torch.randint(0, 9, (64,)).float().cuda(), LabelBins.integers(0, 9).cuda()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("made", REGULARIZERS)
def test_regularizers(made: type[nn.Module]) -> None:
    features, labels, bins = setting()
    term = made().fit(labels, bins)
    term(features, labels, labels)
    term.end_epoch()
    try:
        torch.cuda.set_sync_debug_mode("error")
        term(features, labels, labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(features.grad).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("made", "head"), CRITERIA)
def test_criteria_and_heads(made: type[nn.Module], head: type[Head]) -> None:
    features, labels, bins = setting()
    criterion, layer = made().cuda().fit(labels, bins).cuda(), head(8, bins).cuda()
    fds = ProbabilisticFDS(8, bins).cuda()
    fds(features, labels)
    fds.end_epoch()
    weight = torch.ones_like(labels)
    try:
        torch.cuda.set_sync_debug_mode("error")
        output = layer(fds(features, labels))
        criterion(output, labels, weight).backward()
        layer.predict(output)
        layer.variance(output)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(features.grad).all()
