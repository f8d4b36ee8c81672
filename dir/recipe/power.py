"""Temperature and power of a label prior, fitted on the validation split after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dir._checks import check_choice, message
from dir.metrics import SHOTS
from dir.metrics.table import MONITORS
from dir.models import DistributionHead
from dir.prior import choose_power, choose_temperature
from dir.recipe.module import RegressionModule
from dir.recipe.summary import Groups

# Returns the metrics by group of predictions, labels and variances (or None) of a split, each [N].
Score = Callable[[Tensor, Tensor, Tensor | None], Groups]

_ADVICE = "Give METRIC or GROUP/METRIC, such as balanced_mae or few/mae."


def split_objective(objective: str) -> tuple[str, str]:
    """Return group and metric of an objective such as ``few/mae``; a metric alone means all labels.

    Raises:
        ValueError: an unknown group or metric.

    Example:
        >>> split_objective("balanced_mae"), split_objective("few/mae")
        (('all', 'balanced_mae'), ('few', 'mae'))
    """
    group, _, metric = objective.rpartition("/")
    check_choice("method.power_objective", metric, (*MONITORS, "nll", "cost"), _ADVICE)
    check_choice("method.power_objective", group or "all", ("all", *SHOTS), _ADVICE)
    return group or "all", metric


def check_power_objective(objective: str, module: RegressionModule) -> DistributionHead:
    """Return the head of the module, whose power the objective is to choose.

    Raises:
        ValueError: an unknown objective; a head without a power.
    """
    split_objective(objective)
    head = module.model.head
    if not isinstance(head, DistributionHead):
        raise ValueError(
            message(
                "method.power_objective",
                "expected a HistogramHead or a PriorHead, whose power the objective chooses",
                type(head).__name__,
                "Choose method=histogram_prior, or remove method.power_objective.",
            )
        )
    return head


@torch.no_grad()
def fit_prior(
    module: RegressionModule,
    loader: DataLoader[Any],
    device: torch.device,
    objective: str | None,
    score: Score,
) -> dict[str, Any]:
    """Set the temperature of the head, where it has one, and then its power to the best on the validation split.

    The network runs once over the split. Each temperature and each power only corrects the saved outputs.

    Args:
        module: the trained module.
        loader: validation rows in a fixed order.
        device: device of the network.
        objective: see :func:`split_objective`; the lowest value wins. None leaves the power.
        score: metrics by group of predictions, labels and variances.

    Returns:
        What was fitted, for metrics.json: ``temperature``, see :func:`fit_temperature`, and ``power``, see
        :func:`fit_power`. Empty for a head without a label prior.

    Raises:
        ValueError: an objective for a head without a power, or one that is undefined at every power.
    """
    head = module.model.head
    if objective is not None:
        check_power_objective(objective, module)
    if not isinstance(head, DistributionHead) or (objective is None and head.temperature is None):
        return {}
    module.to(device).eval()
    outputs, labels = [], []
    for inputs, label in loader:
        outputs.append(module.model(module.transfer_batch_to_device(inputs, device, 0)))
        labels.append(label.cpu())
    output, truth = torch.cat(outputs), torch.cat(labels)
    fitted: dict[str, Any] = {}
    if head.temperature is not None:
        target = module.to_target(truth.to(module.target_offset.device))
        fitted["temperature"] = fit_temperature(head, output, target)
    if objective is not None:
        fitted["power"] = fit_power(module, output, truth, objective, score)
    return fitted


def fit_temperature(head: DistributionHead, output: Tensor, target: Tensor) -> dict[str, float]:
    """Set the temperature of the head to the most likely one at power 0.

    The likelihood is that of the labels' cells. A label beyond the grid counts for the outermost cell.

    Args:
        head: head with a temperature.
        output: outputs of the head, ``[N, ...]``.
        target: labels in the criterion's units, ``[N]``.

    Returns:
        ``value``, the temperature; ``nll``, the mean negative log-probability of the labels' cells at this
        temperature; ``nll_before``, the same at temperature 1.
    """
    assert head.temperature is not None
    edges = head.cells.edges
    cell = torch.searchsorted(edges, target.to(edges.dtype), right=True).sub(1).clamp(0, len(edges) - 2)
    value, loss = choose_temperature(head.log_mass(output), cell)
    head.temperature.fill_(value)
    return {"value": value, "nll": loss(value), "nll_before": loss(1.0)}


def fit_power(
    module: RegressionModule, output: Tensor, labels: Tensor, objective: str, score: Score
) -> dict[str, Any]:
    """Set the power of the head to the best by the objective.

    Args:
        module: module with a head that has a label prior.
        output: outputs of the head, ``[N, ...]``.
        labels: raw labels ``[N]``.
        objective: see :func:`split_objective`.
        score: metrics by group of predictions, labels and variances.

    Returns:
        ``value``, the chosen power; ``objective``, its name; ``tried``, the objective of each power (None where it is
        undefined); ``mae``, the MAE of each shot group with labels, by power in the order of ``tried``.

    Raises:
        ValueError: an objective that is undefined at every power.
    """
    group, metric = split_objective(objective)
    head = check_power_objective(objective, module)
    by_group: dict[str, list[float]] = {name: [] for name in ("all", *SHOTS)}

    def predict(power: float) -> Tensor:
        if metric == "cost":
            return module.decide(output, power).cpu()[None]
        prediction = head.predict(output, power)
        found = [module.to_raw(prediction)]
        if metric == "nll":
            variance = module.units.raw_variance(prediction, head.variance(output, power))
            found.append(variance.to(found[0].dtype))
        return torch.stack(found).cpu()

    def objective_of(found: Tensor, truth: Tensor) -> float:
        groups = score(found[0], truth, found[1] if metric == "nll" else None)
        for name, values in by_group.items():
            mae = groups[name]["mae"]
            if mae is not None:
                values.append(float(mae))
        value = groups[group][metric]
        return float("nan") if value is None else float(value)

    power, tried = choose_power(predict, labels, objective_of)
    head.power.fill_(power)
    shown = {f"{key:g}": value if value == value else None for key, value in tried.items()}
    mae = {name: values for name, values in by_group.items() if values}
    return {"value": power, "objective": objective, "tried": shown, "mae": mae}
