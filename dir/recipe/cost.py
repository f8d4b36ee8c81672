"""The cost of a run, ``+cost=NAME``: built from its config, checked on the training labels, and used as a loss."""

from __future__ import annotations

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dir._checks import message
from dir.costs import Cost
from dir.losses import CostLoss
from dir.models.target_units import TargetUnits

# Value of method.loss that trains for the cost of the run.
TRAIN_ON_COST = "cost"


def make_cost(cfg: DictConfig, labels: Tensor) -> Cost | None:
    """Return the cost of a run, or None for a run without cost.

    Raises:
        ValueError: a cost that does not give one finite number for each pair of prediction and label.
    """
    node = cfg.get("cost")
    if node is None:
        return None
    try:
        cost: Cost = instantiate(node, _convert_="all", _partial_=True)()
    except ValueError as error:
        raise ValueError(f"cost.{error}") from error
    first, values = labels[:2], _costs(cost, labels[:2], labels[:2].flip(0))
    if values.shape != first.shape or not bool(values.isfinite().all()):
        problem = "expected one finite cost for each pair of prediction and label"
        raise ValueError(message("cost", problem, f"{list(values.shape)} for {list(first.shape)} pairs"))
    return cost


def cost_settings(cfg: DictConfig) -> dict[str, Any] | None:
    """Return the settings of the cost of a run as plain values, for metrics.json."""
    node = cfg.get("cost")
    return None if node is None else dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]


class TargetCost:
    """A cost of raw predictions and labels as a function of predictions and targets in the criterion's units.

    Args:
        cost: cost in raw units.
        units: the map between raw labels and targets.
        divisor: divides the cost, so that the loss starts near one and learning rates keep their meaning.
    """

    def __init__(self, cost: Cost, units: TargetUnits, divisor: float) -> None:
        self.cost = cost
        self.offset, self.scale = float(units.offset), float(units.scale)
        self.log1p, self.divisor = units.log1p, divisor

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.cost(self._raw(prediction), self._raw(target)) / self.divisor

    def _raw(self, values: Tensor) -> Tensor:
        scaled = values * self.scale + self.offset
        return scaled.expm1() if self.log1p else scaled


def cost_loss_of(cost: Cost, units: TargetUnits, labels: Tensor) -> CostLoss:
    """Return the loss that trains a network for a cost in raw units.

    The cost is divided by the mean regret of predicting the median training label.

    Args:
        cost: cost of raw predictions and raw labels.
        units: the map between raw labels and targets.
        labels: raw training labels, [N].

    Raises:
        ValueError: a cost without gradient, which no network learns, or one that does not depend on the prediction.
    """
    median = labels.median().expand_as(labels)
    regret = float((_costs(cost, median, labels) - _costs(cost, labels, labels)).double().abs().mean())
    if not 0 < regret < float("inf"):
        raise ValueError(message("cost", "expected a cost that depends on the prediction, mean regret", regret))
    guess = labels.flip(0).clone().requires_grad_(True)
    value = _costs(cost, guess, labels).sum()
    slope = torch.autograd.grad(value, guess, allow_unused=True)[0] if value.requires_grad else None
    if slope is None or not bool((slope != 0).any()):
        advice = "Train with method=histogram_prior, which takes the decision of lowest expected cost after training."
        problem = "the cost has no gradient, so that training would change nothing"
        raise ValueError(message("method.loss", problem, TRAIN_ON_COST, advice))
    return CostLoss(TargetCost(cost, units, regret))


def _costs(cost: Cost, prediction: Tensor, labels: Tensor) -> Tensor:
    try:
        values = cost(prediction, labels)
    except Exception as error:  # a function of the user may raise anything
        raise ValueError(message("cost", f"the function fails on two tensors ({error})")) from error
    if not isinstance(values, Tensor):
        raise ValueError(message("cost", "expected a function of two tensors that returns a tensor", type(values)))
    return values
