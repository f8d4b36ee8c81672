"""Costs of a prediction, and the decision that minimises the expected cost under a predicted distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dir._checks import check_choice, check_integer, check_interval, check_positive, message
from dir.distribution import CellDistribution

CostName = Literal["mse", "mae"]
Cost = Callable[[Tensor, Tensor], Tensor]

# Nodes of the Gauss-Legendre rule in each cell: exact for costs that are polynomials up to degree 7 there.
_NODES = 4


@dataclass(frozen=True)
class SquaredCost:
    r"""Squared error, :math:`c = (\hat y - y)^2`. The best prediction is the mean."""

    def __call__(self, prediction: Tensor, label: Tensor) -> Tensor:
        return (prediction - label).square()


@dataclass(frozen=True)
class LinearCost:
    r"""Cost that grows linearly with the error, with one price for each direction.

    .. math:: c(\hat y, y) = u \max(y - \hat y, 0) + o \max(\hat y - y, 0)

    The best prediction is the quantile ``under / (under + over)`` of the label. ``LinearCost()`` is the absolute
    error, whose best prediction is the median.

    Args:
        under: u, price of each unit that the prediction lies below the label, > 0.
        over: o, price of each unit that the prediction lies above the label, > 0.

    Example:
        >>> cost = LinearCost(under=5.0, over=1.0)
        >>> cost(torch.tensor([8.0, 12.0]), torch.tensor([10.0, 10.0])), cost.quantile
        (tensor([10.,  2.]), 0.8333333333333334)

    Reference:
        Koenker and Bassett, Regression Quantiles, Econometrica 1978.
    """

    under: float = 1.0
    over: float = 1.0

    def __post_init__(self) -> None:
        check_positive("under", self.under)
        check_positive("over", self.over)

    @classmethod
    def of_quantile(cls, q: float) -> LinearCost:
        """Return the pinball loss of the quantile ``q``, whose prices are q and 1 - q."""
        check_interval("q", q, "(0, 1)")
        return cls(under=q, over=1 - q)

    @property
    def quantile(self) -> float:
        """Level of the quantile that minimises the expected cost."""
        return self.under / (self.under + self.over)

    def __call__(self, prediction: Tensor, label: Tensor) -> Tensor:
        error = prediction - label
        return torch.where(error > 0, self.over * error, -self.under * error)


@dataclass(frozen=True)
class UtilityCost:
    r"""Negative utility, :math:`c(\hat y, y) = -u(\hat y, y)`, for a utility surface that the user gives.

    Args:
        utility: function of predictions and labels that broadcasts them; larger is better.

    Example:
        >>> hit = UtilityCost(lambda prediction, label: ((prediction - label).abs() < 1) * label)
        >>> hit(torch.tensor([9.5, 2.0]), torch.tensor([10.0, 10.0]))
        tensor([-10.,  -0.])

    Reference:
        Torgo and Ribeiro, Utility-Based Regression, PKDD 2007.
    """

    utility: Cost

    def __call__(self, prediction: Tensor, label: Tensor) -> Tensor:
        return -self.utility(prediction, label)


def as_cost(cost: Cost | CostName) -> Cost:
    """Return the cost of a name, or the given function.

    Raises:
        ValueError: an unknown name.
    """
    if callable(cost):
        return cost
    check_choice("cost", cost, ["mse", "mae"], "Or give a function of predictions and labels.")
    return SquaredCost() if cost == "mse" else LinearCost()


def decide(probability: Tensor, edges: Tensor, cost: Cost | CostName, num_candidates: int = 401) -> Tensor:
    r"""Return the prediction with the lowest expected cost under each predicted distribution.

    .. math:: \hat y_i = \arg\min_a \sum_k \frac{p_{ik}}{e_{k+1} - e_k} \int_{e_k}^{e_{k+1}} c(a, y)\, dy

    A label is uniform within its cell. ``"mse"`` gives the mean and :class:`LinearCost` (``"mae"``) a quantile; both
    are exact. For any other cost, the candidates are ``num_candidates`` even points from the first to the last edge,
    and the integral uses four Gauss-Legendre nodes in each cell. The result then lies within one step of the grid
    of candidates, where the cost is smooth.

    A positive factor of the cost for a whole sample (its weight or importance) does not change the decision for that
    sample. Such a factor belongs in the training loss (:class:`dir.losses.CostLoss`) and in the metric
    (:class:`dir.metrics.MeanCost`).

    Args:
        probability: probabilities of the K cells, such as ``head.log_prob(output).exp()``; rows sum to 1.
        edges: edges of the cells in the unit of the labels, such as ``head.cells.edges``.
        cost: ``"mse"``, ``"mae"``, a cost of this module, or a function of predictions and labels that broadcasts.
        num_candidates: number of predictions that are compared, >= 2.

    Shape:
        probability ``[N, K]``, edges ``[K + 1]`` -> ``[N]``, in the type of ``probability``, at least float32.

    Raises:
        ValueError: shapes that do not fit, probabilities that do not sum to 1, or a cost with values that are not
            finite.

    Example:
        >>> probability, edges = torch.tensor([[0.5, 0.5, 0.0, 0.0]]), torch.arange(5.0)
        >>> decide(probability, edges, "mse"), decide(probability, edges, LinearCost(under=3, over=1))
        (tensor([1.]), tensor([1.5000]))
    """
    check_integer("num_candidates", num_candidates, 2)
    _check(probability, edges)
    cost = as_cost(cost)
    dtype = torch.promote_types(probability.dtype, torch.float32)
    wide, edges = probability.double(), edges.to(probability.device, torch.float64)
    predicted = CellDistribution(wide.log(), edges)
    if isinstance(cost, SquaredCost):
        return predicted.mean().to(dtype)
    if isinstance(cost, LinearCost):
        return predicted.quantile(cost.quantile).to(dtype)
    candidates = torch.linspace(float(edges[0]), float(edges[-1]), num_candidates, dtype=torch.float64).to(edges)
    # Autocast would compute this product in half precision.
    with torch.autocast(wide.device.type, enabled=False):
        expected = wide @ _cell_costs(candidates[:, None], edges, cost).T
    return candidates[expected.argmin(dim=1)].to(dtype)


def expected_cost(probability: Tensor, edges: Tensor, prediction: Tensor, cost: Cost | CostName) -> Tensor:
    """Return the expected cost of each prediction under its predicted distribution.

    Args:
        probability, edges, cost: see :func:`decide`.
        prediction: one prediction per sample, in the unit of the labels.

    Shape:
        probability ``[N, K]``, edges ``[K + 1]``, prediction ``[N]`` -> ``[N]``.

    Raises:
        ValueError: see :func:`decide`.

    Example:
        >>> expected_cost(torch.tensor([[0.5, 0.5]]), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0]), "mse")
        tensor([0.3333])
    """
    _check(probability, edges)
    if prediction.shape != probability.shape[:1]:
        raise ValueError(
            message("prediction", f"expected [{len(probability)}], one per sample", list(prediction.shape))
        )
    dtype = torch.promote_types(probability.dtype, torch.float32)
    edges = edges.to(probability.device, torch.float64)
    costs = _cell_costs(prediction.double()[:, None], edges, as_cost(cost))
    return (probability.double() * costs).sum(dim=1).to(dtype)


def _check(probability: Tensor, edges: Tensor) -> None:
    if probability.ndim != 2 or edges.shape != (probability.shape[1] + 1,):
        problem = f"expected [N, K] with K + 1 = {edges.numel()} edges"
        raise ValueError(message("probability", problem, list(probability.shape)))
    total = probability.double().sum(dim=1)
    # float16 and bfloat16 probabilities sum to 1 within 1 % only.
    if not bool(((total - 1).abs() < 0.02).all()):
        worst = total[(total - 1).abs().argmax()].item()
        advice = "Give probabilities, for example logits.softmax(dim=1) or log_prob.exp()."
        raise ValueError(message("probability", "expected rows that sum to 1", worst, advice))


def _cell_costs(prediction: Tensor, edges: Tensor, cost: Cost) -> Tensor:
    """Mean cost of predictions ``[M, 1]`` over the labels of each cell, ``[M, K]``."""
    nodes, shares = (torch.from_numpy(values).to(edges) for values in np.polynomial.legendre.leggauss(_NODES))
    low, width = edges[:-1, None], edges.diff()[:, None]
    labels = low + width * (nodes + 1) / 2
    costs = cost(prediction[:, :, None], labels[None])
    expected_shape = (len(prediction), len(edges) - 1, _NODES)
    if costs.shape != expected_shape or not bool(costs.isfinite().all()):
        got: Any = list(costs.shape) if costs.shape != expected_shape else "values that are not finite"
        raise ValueError(message("cost", f"expected a finite cost for each pair, shape {list(expected_shape)}", got))
    return (costs.double() * shares / 2).sum(dim=2)
