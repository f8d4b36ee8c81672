"""Predictions of a trained module on whole splits, and their shot metrics as plain numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dir.costs import Cost, CostName
from dir.metrics import SHOTS, ShotMetrics, TargetMetrics
from dir.metrics.functional import ause, gaussian_nll, interval_coverage, mean_cost
from dir.models import DistributionHead
from dir.recipe.module import RegressionModule
from dir.recipe.parts import Parts
from dir.recipe.power import fit_prior
from dir.recipe.summary import Groups


class Predictions(NamedTuple):
    """Labels, predictions and variances of a split, float32 [N] in raw units; only some heads give variances.

    Labels and predictions of several targets are [N, K], and have no variances.

    ``log_mass`` ``[N, K]`` holds the log-probabilities of the cells before any correction, for heads with a label
    prior: float16, with the largest of each row shifted to 0, see :func:`to_half`. ``importance`` ``[N]`` is that of
    the rows, if the data has one. Where predictions are decisions under a cost, ``points`` ``[N]`` holds the mean or
    median of each distribution, about which the variance lies.
    """

    labels: Tensor
    predictions: Tensor
    variances: Tensor | None
    log_mass: Tensor | None = None
    importance: Tensor | None = None
    points: Tensor | None = None

    @property
    def middles(self) -> Tensor:
        """The predictions of a user without the cost of the run: ``points``, where predictions are decisions."""
        return self.predictions if self.points is None else self.points


@dataclass(frozen=True)
class Results:
    """The results of a run.

    Args:
        metrics: shot metrics of the splits ``val`` and ``test``; without ``test`` in a search.
        predictions: predictions of the same splits.
        fitted: values fitted on the validation split after training, for metrics.json.
    """

    metrics: dict[str, Groups]
    predictions: dict[str, Predictions]
    fitted: dict[str, Any] = field(default_factory=dict)


def evaluate_splits(parts: Parts, device: torch.device) -> Results:
    """Predict val and test and compute their shot metrics, after the post-hoc correction where there is one.

    Where the test rows are closed, the results hold val alone.
    """
    fitted = fit_prior(
        parts.module,
        parts.data.whole("val"),
        device,
        parts.settings.power_objective,
        lambda predictions, labels, variances: summarise(
            parts.module.metrics, labels, predictions, variances, cost=parts.module.cost
        ),
    )
    found: dict[str, Predictions] = {
        split: predict(parts.module, parts.data.whole(split), device)._replace(
            importance=parts.data.importance(split)
        )
        for split in parts.data.splits[1:]
    }
    if parts.correction is not None:
        correct = parts.correction.fit(found["val"].predictions, found["val"].labels)
        found = {name: split._replace(predictions=correct(split.predictions)) for name, split in found.items()}
    module = parts.module
    metrics = {name: summarise_split(module.metrics, split, module.cost) for name, split in found.items()}
    return Results(metrics, found, fitted)


@torch.no_grad()
def predict(module: RegressionModule, loader: DataLoader[Any], device: torch.device) -> Predictions:
    """Return the module's predictions for a whole split, on the CPU, in the split's order.

    The module runs in one process and in the precision of its parameters, whatever precision and number of
    processes it was trained with, and each sample counts once.
    """
    module = module.to(device).eval()
    head = module.model.head
    labels, predictions, variances, masses, points = [], [], [], [], []
    for inputs, label in loader:
        output = module.model(module.transfer_batch_to_device(inputs, device, 0))
        prediction, variance = module.read_output(output)
        predictions.append(prediction.cpu())
        labels.append(label.cpu())
        if variance is not None:
            variances.append(variance.cpu())
        if isinstance(head, DistributionHead):
            masses.append(to_half(head.log_mass(output)).cpu())
        if module.decides:
            points.append(module.to_raw(module.model.predict(output)).cpu())
    return Predictions(
        torch.cat(labels),
        torch.cat(predictions),
        torch.cat(variances) if variances else None,
        torch.cat(masses) if masses else None,
        points=torch.cat(points) if points else None,
    )


def to_half(log_mass: Tensor) -> Tensor:
    """Return log-probabilities ``[N, K]`` as float16, with the largest of each row shifted to 0.

    The shift puts the finest numbers at the likely cells: the error is at most 0.05 % of the distance to the largest
    log-probability. Normalise the rows again after reading.

    Example:
        >>> to_half(torch.tensor([[0.2, 0.8]]).log()).float().softmax(dim=1)
        tensor([[0.1999, 0.8001]])
    """
    limit = float(torch.finfo(torch.float16).min)
    shifted = log_mass - log_mass.amax(dim=1, keepdim=True)
    return torch.where(shifted == -torch.inf, shifted, shifted.clamp(min=limit)).half()


def summarise_split(metrics: ShotMetrics | TargetMetrics, found: Predictions, cost: Cost | None) -> Groups:
    """Return :func:`summarise` of all that the predictions of a split hold."""
    return summarise(metrics, *found[:3], importance=found.importance, cost=cost, points=found.points)


def summarise(
    metrics: ShotMetrics | TargetMetrics,
    labels: Tensor,
    predictions: Tensor,
    variances: Tensor | None = None,
    importance: Tensor | None = None,
    cost: Cost | None = None,
    points: Tensor | None = None,
) -> Groups:
    """Return the shot metrics of a split as plain numbers.

    A value is None where its group is empty or its statistic is undefined. Variances add ``nll``, ``coverage90`` and
    ``ause`` (of the absolute error) to every group: those of ``points``, where predictions are decisions. A cost adds
    ``cost``, and an importance of the rows adds ``weighted_mae``, ``weighted_mse`` and ``weighted_cost``. Several
    targets have the groups of :class:`dir.metrics.TargetMetrics`.
    """
    # Only the first process evaluates, with all samples: a copy that does not gather.
    metrics = copy.deepcopy(metrics).cpu()
    for one in metrics if isinstance(metrics, TargetMetrics) else (metrics,):
        one.sync_on_compute = one._to_sync = False  # type: ignore[assignment]
    metrics.reset()
    metrics.update(predictions, labels)
    computed = metrics.compute()
    if isinstance(metrics, TargetMetrics):
        return _plain(computed)
    index = metrics.bins(labels)
    for group, member in zip(("all", *SHOTS), metrics.members, strict=True):
        rows = member[index]
        if variances is not None:
            middle = predictions if points is None else points
            computed[group] |= uncertainty(middle[rows], variances[rows], labels[rows])
        weight = None if importance is None else importance[rows]
        computed[group] |= costs(predictions[rows], labels[rows], weight, cost)
    return _plain(computed)


def _plain(computed: Mapping[str, Mapping[str, Tensor]]) -> Groups:
    return {
        group: {name: int(value) if name == "n" else _finite(float(value)) for name, value in values.items()}
        for group, values in computed.items()
    }


def uncertainty(predictions: Tensor, variances: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the scores of the variances [N]; every score is NaN if a variance is not finite."""
    if not bool(torch.isfinite(variances).all()):
        return dict.fromkeys(("nll", "coverage90", "ause"), torch.tensor(math.nan))
    return {
        "nll": gaussian_nll(predictions, variances, labels),
        "coverage90": interval_coverage(predictions, variances, labels, level=0.9),
        "ause": ause(predictions, variances, labels),
    }


def costs(predictions: Tensor, labels: Tensor, importance: Tensor | None, cost: Cost | None) -> dict[str, Tensor]:
    """Return the mean cost, and errors and cost weighted by importance [N]; NaN if it is 0 for all rows."""
    found = {} if cost is None else {"cost": mean_cost(predictions, labels, cost)}
    if importance is not None:
        weighted: dict[str, Cost | CostName] = {"mae": "mae", "mse": "mse"}
        if cost is not None:
            weighted["cost"] = cost
        found |= {
            f"weighted_{name}": mean_cost(predictions, labels, one, importance) for name, one in weighted.items()
        }
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
