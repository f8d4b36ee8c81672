"""Choice of the power of a label prior on the validation split, after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dir._checks import check_choice, message
from dir.metrics import SHOTS
from dir.metrics.table import MONITORS
from dir.models import HistogramHead
from dir.prior import choose_power
from dir.recipe.module import RegressionModule
from dir.recipe.summary import Groups

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
    check_choice("method.power_objective", metric, MONITORS, _ADVICE)
    check_choice("method.power_objective", group or "all", ("all", *SHOTS), _ADVICE)
    return group or "all", metric


def check_power_objective(objective: str, module: RegressionModule) -> HistogramHead:
    """Return the head of the module, whose power the objective is to choose.

    Raises:
        ValueError: an unknown objective; a head without a power.
    """
    split_objective(objective)
    head = module.model.head
    if not isinstance(head, HistogramHead):
        raise ValueError(
            message(
                "method.power_objective",
                "expected a HistogramHead, whose power the objective chooses",
                type(head).__name__,
                "Choose method=histogram_prior, or remove method.power_objective.",
            )
        )
    return head


@torch.no_grad()
def fit_power(
    module: RegressionModule,
    loader: DataLoader[Any],
    device: torch.device,
    objective: str,
    score: Callable[[Tensor, Tensor], Groups],
) -> dict[str, Any]:
    """Set the power of the head to the best on the validation split.

    The network runs once over the split. Each power only corrects the saved outputs.

    Args:
        module: the trained module, with a :class:`dir.models.HistogramHead`.
        loader: validation rows in a fixed order.
        device: device of the network.
        objective: see :func:`split_objective`; the lowest value wins.
        score: metrics by group of predictions and labels ``[N]``.

    Returns:
        ``value``, the chosen power; ``objective``, its name; ``tried``, the objective of each power (None where it is
        undefined).

    Raises:
        ValueError: a head without a power; an objective that is undefined at every power.
    """
    group, metric = split_objective(objective)
    head = check_power_objective(objective, module)
    module.to(device).eval()
    outputs, labels = [], []
    for inputs, label in loader:
        outputs.append(module.model(module.transfer_batch_to_device(inputs, device, 0)))
        labels.append(label.cpu())
    output = torch.cat(outputs)

    def predict(power: float) -> Tensor:
        return module.to_raw(head.predict(output, power)).cpu()

    def objective_of(predictions: Tensor, truth: Tensor) -> float:
        value = score(predictions, truth)[group][metric]
        return float("nan") if value is None else float(value)

    power, tried = choose_power(predict, torch.cat(labels), objective_of)
    head.power.fill_(power)
    shown = {f"{key:g}": value if value == value else None for key, value in tried.items()}
    return {"value": power, "objective": objective, "tried": shown}
