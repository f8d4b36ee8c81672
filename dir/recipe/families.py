"""The families of losses, and the name of a family in each method."""

from __future__ import annotations

from typing import NamedTuple

from dir._checks import check_choice


class Family(NamedTuple):
    """Names that the losses of one family have in the methods."""

    loss: str  # target of the plain loss
    base: str  # base loss of FocalR and DistLoss
    noise: str  # noise of UVOTE's experts
    point: str  # prediction of HistogramHead


FAMILIES = {
    "l1": Family("dir.losses.WeightedL1", "l1", "laplace", "median"),
    "mse": Family("dir.losses.WeightedMSE", "mse", "gaussian", "mean"),
}


def loss_family(name: str, field: str) -> str:
    """Return one name of a loss family, for ``${loss_family:${task.family},base}`` in a config.

    Example:
        >>> loss_family("l1", "noise")
        'laplace'
    """
    check_choice("task.family", name, FAMILIES)
    return str(getattr(FAMILIES[name], field))
