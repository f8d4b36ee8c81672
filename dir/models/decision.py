"""Decisions of a head that predicts a distribution: the raw predictions with the lowest expected cost."""

from __future__ import annotations

from torch import Tensor

from dir.costs import Cost, CostName, LinearCost, as_cost, decide
from dir.models.heads_distribution import DistributionHead
from dir.models.target_units import TargetUnits


def decide_raw(
    head: DistributionHead,
    output: Tensor,
    units: TargetUnits,
    cost: Cost | CostName,
    power: float | Tensor | None = None,
) -> Tensor:
    """Return the prediction with the lowest expected cost for each sample, in raw units, [N].

    Args:
        head: fitted head.
        output: outputs of the head, ``[N, ...]``.
        units: the map between raw labels and the units of the head. With ``log1p``, a label is uniform in its raw
            cell; quantiles follow the monotone map and stay exact.
        cost: cost of raw predictions and raw labels, see :func:`dir.costs.decide`.
        power: power of the label prior. Default: that of the head.
    """
    cost = as_cost(cost)
    if isinstance(cost, LinearCost):
        return units.to_raw(head.quantile(output, cost.quantile, power))
    edges = units.to_raw64(head.cells.edges)
    return decide(head.log_prob(output, power).exp(), edges, cost).to(units.dtype)
