"""Choice of the power of a label prior on the validation split, after training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dir._checks import check_choice, message
from dir.metrics import SHOTS
from dir.metrics.table import MONITORS
from dir.models import HistogramHead
from dir.prior import choose_power
from dir.recipe.module import RegressionModule

Score = Callable[[Tensor, Tensor], dict[str, dict[str, float | int | None]]]


def check_power_objective(objective: str) -> tuple[str, str]:
    """Return group and metric of an objective such as ``few/mae``; a metric alone means all labels.

    Raises:
        ValueError: an unknown group or metric.

    Example:
        >>> check_power_objective("balanced_mae"), check_power_objective("few/mae")
        (('all', 'balanced_mae'), ('few', 'mae'))
    """
    group, _, metric = objective.rpartition("/")
    check_choice("method.power_objective", metric, MONITORS, "Give METRIC or GROUP/METRIC.")
    check_choice("method.power_objective", group or "all", ("all", *SHOTS), "Give METRIC or GROUP/METRIC.")
    return group or "all", metric


@torch.no_grad()
def fit_power(
    module: RegressionModule, loader: DataLoader[tuple[object, Tensor]], device: torch.device, objective: str, score: Score
) -> dict[float, float]:
    """Set the power of the head to the best on a validation split, and return the objective of every power tried.

    The network runs once over the split; each power only corrects the saved outputs.

    Args:
        module: the trained module, with a :class:`dir.models.HistogramHead`.
        loader: validation rows in a fixed order.
        device: where the network runs.
        objective: see :func:`check_power_objective`.
        score: metrics by group of predictions and labels ``[N]``.

    Raises:
        ValueError: a head without a power; an objective that is undefined at every power.
    """
    group, metric = check_power_objective(objective)
    head = module.model.head
    if not isinstance(head, HistogramHead):
        raise ValueError(
            message(
                "method.power_objective",
                "only a HistogramHead has a power",
                type(head).__name__,
                "Choose method=histogram_prior.",
            )
        )
    module = module.to(device).eval()
    outputs, labels = [], []
    for inputs, label in loader:
        outputs.append(module.model(module.transfer_batch_to_device(inputs, device, 0)).cpu())
        labels.append(label.cpu())
    output, label = torch.cat(outputs).to(device), torch.cat(labels)

    def predict(power: float) -> Tensor:
        return module.to_raw(head.predict(output, power)).cpu()

    def objective_of(predictions: Tensor, truth: Tensor) -> float:
        value = score(predictions, truth)[group][metric]
        return float("nan") if value is None else float(value)

    power, found = choose_power(predict, label, objective_of)
    head.power.fill_(power)
    return found
