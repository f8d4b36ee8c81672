"""Tests of the inputs that the LightningModule gives to the parts of a method: units, features, weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.fds import FDS
from dir.lds import LDS
from dir.losses import WeightedMSE, weighted_mse
from dir.losses.base import Regularizer
from dir.metrics import ShotMetrics
from dir.models.heads import Head, LinearHead
from dir.models.regressor import Regressor
from dir.models.target_units import TargetUnits
from dir.recipe.module import RegressionModule

BINS = LabelBins.integers(0, 9)
LABELS = torch.arange(10.0).repeat(4)
INPUTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(3)) + LABELS[:, None]


class Encoder(nn.Module):
    num_features = 4

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * inputs


class Spy(Regularizer):
    """Keep the inputs; the value is the mean of the features."""

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        self.seen = (features.detach(), labels, predictions.detach())
        return self.weight * features.mean()

    def fit(self, targets: Tensor, bins: LabelBins) -> Spy:
        self.fitted = (targets, bins)
        return self


class Fitted(WeightedMSE):
    def fit(self, targets: Tensor, bins: LabelBins) -> Fitted:
        self.fitted = (targets, bins)
        return self


class TwoNumbers(Head):
    """A head whose output is not the prediction."""

    def __init__(self, num_features: int, bins: LabelBins | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, 2)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features)

    def predict(self, output: Tensor) -> Tensor:
        return output.mean(-1)


def module(head: nn.Module | None = None, criterion: nn.Module | None = None, **kwargs: Any) -> RegressionModule:
    torch.manual_seed(0)
    fds = FDS(4, BINS)
    made = RegressionModule(
        Regressor(Encoder(), head or LinearHead(4), fds),
        criterion or WeightedMSE(),
        ShotMetrics(BINS, BINS.counts(LABELS)),
        optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1),
        target_offset=5.0,
        target_scale=2.0,
        **kwargs,
    )
    made.log = lambda *args, **kwargs: None  # no trainer here
    return made.train()


def test_regularisers_see_raw_features_and_targets_and_add_to_the_loss() -> None:
    spy = Spy(weight=0.5)
    made = module(regularizers=[spy])
    made.training_step((INPUTS, LABELS), 0)
    made.model.fds.end_epoch()
    loss = made.training_step((INPUTS, LABELS), 0)
    features, targets, predictions = spy.seen
    torch.testing.assert_close(features, 2 * INPUTS)
    torch.testing.assert_close(targets, (LABELS - 5) / 2)
    calibrated = made.model.fds(2 * INPUTS, LABELS)
    assert not torch.allclose(calibrated, features, atol=1e-3)  # FDS acts after the regulariser
    torch.testing.assert_close(predictions, made.model.head(calibrated))
    torch.testing.assert_close(loss, weighted_mse(predictions, targets) + 0.5 * (2 * INPUTS).mean())


def test_weights_go_to_the_criterion() -> None:
    lds = LDS(BINS, kernel=None).fit(torch.cat([LABELS, torch.zeros(50)]))
    made = module(lds=lds)
    loss = made.training_step((INPUTS, LABELS), 0)
    prediction = made.model.head(2 * INPUTS)
    torch.testing.assert_close(loss, weighted_mse(prediction, (LABELS - 5) / 2, weight=lds(LABELS)))


def test_criterion_and_regularisers_are_fitted_to_the_training_labels() -> None:
    spy, criterion = Spy(weight=1.0), Fitted()
    made = module(criterion=criterion, regularizers=[spy])
    bins = made.units.bins(BINS)
    made.fit_targets(LABELS, bins)
    for targets, given in (spy.fitted, criterion.fitted):
        torch.testing.assert_close(targets, (LABELS - 5) / 2)
        assert given is bins


def test_predictions_are_in_raw_units_for_every_head() -> None:
    made = module(head=TwoNumbers(4)).eval()
    expected = made.model.head.linear(2 * INPUTS).mean(-1) * 2 + 5
    torch.testing.assert_close(made(INPUTS), expected)


def test_bins_in_target_units_hold_the_same_labels() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50)
    labels = torch.cat([bins.edges, torch.rand(20_000) * 5, torch.arange(0, 51) / 10])
    offset, scale = torch.tensor(1.7), torch.tensor(0.3)
    targets = (labels - offset) / scale
    assert torch.equal(TargetUnits(offset, scale).bins(bins)(targets), bins(labels))
    with pytest.raises(ValueError, match="target_scale"):
        TargetUnits(torch.tensor(0.0), torch.tensor(-1.0)).bins(bins)


def test_a_regulariser_refuses_a_negative_weight() -> None:
    with pytest.raises(ValueError, match=r"weight: .*got -1"):
        Spy(weight=-1.0)
    assert "weight=2.0" in repr(Spy(weight=2.0))


def test_a_linear_head_is_a_linear_layer_with_one_number_per_sample() -> None:
    torch.manual_seed(0)
    head = LinearHead(4)
    torch.manual_seed(0)
    linear = nn.Linear(4, 1)
    assert set(head.state_dict()) == {"weight", "bias"}
    torch.testing.assert_close(head(INPUTS), linear(INPUTS).squeeze(-1))
    assert head.variance(head(INPUTS)) is None
