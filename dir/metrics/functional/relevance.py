"""Errors weighted by relevance as functions: MAE, MSE, and the squared error-relevance area (SERA) with its curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from dir._checks import check_integer
from dir.metrics.functional._inputs import checked_pair, flatten, sum_dtype
from dir.metrics.functional.errors import absolute_error, squared_error

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values

# A fitted dir.relevance.Relevance, or any function from labels to relevances in [0, 1].
Phi: TypeAlias = Callable[[Tensor], Tensor]


def relevance_mae(preds: Values, target: Values, relevance: Phi, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean absolute error weighted by relevance, see :class:`dir.metrics.RelevanceMAE`.

    Args:
        preds: predictions.
        target: labels.
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances >= 0.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a float64
        scalar, NaN where no label is relevant.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> relevance_mae([1.0, 8.0, 9.0], [0.0, 10.0, 10.0], lambda labels: labels / 10).item()
        1.5
    """
    phi, preds, target = with_relevance(*checked_pair(preds, target, ignore_nan), relevance)
    return (phi * absolute_error(preds, target)).sum() / phi.sum()


def relevance_mse(preds: Values, target: Values, relevance: Phi, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean squared error weighted by relevance, see :class:`dir.metrics.RelevanceMSE`.

    Args, shapes and errors: see :func:`relevance_mae`.

    Example:
        >>> relevance_mse([1.0, 8.0, 9.0], [0.0, 10.0, 10.0], lambda labels: labels / 10).item()
        2.5
    """
    phi, preds, target = with_relevance(*checked_pair(preds, target, ignore_nan), relevance)
    return (phi * squared_error(preds, target)).sum() / phi.sum()


def ser_curve(preds: Values, target: Values, relevance: Phi, steps: int = 1000, ignore_nan: bool = False) -> Tensor:
    r"""Return the squared error of the labels of relevance >= t for each t, see :class:`dir.metrics.SERCurve`.

    Args:
        preds: predictions.
        target: labels.
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        steps: the thresholds are ``0, 1/steps, ..., 1``. Default 1000.
        ignore_nan: leave out the samples whose label is NaN.

    Shape:
        preds, target: see :func:`relevance_mae`. Output: float64 [steps + 1].

    Raises:
        ValueError: shapes that differ, several targets, or fewer than one step.

    Example:
        >>> ser_curve([1.0, 4.0, 8.0], [0.0, 6.0, 10.0], lambda labels: labels / 10, steps=2).tolist()
        [9.0, 8.0, 4.0]
    """
    check_integer("steps", steps)
    preds, target = checked_pair(preds, target, ignore_nan)
    empty = torch.zeros(steps + 1, dtype=sum_dtype(target.device), device=target.device)
    return curve_from_steps(add_error_by_step(empty, preds, target, relevance))


def sera(
    preds: Values,
    target: Values,
    relevance: Phi,
    normalize: bool = False,
    steps: int = 1000,
    ignore_nan: bool = False,
) -> Tensor:
    r"""Return the squared error-relevance area, see :class:`dir.metrics.SERA`.

    Args:
        normalize: divide by the squared error of all samples. Default False.
        preds, target, relevance, steps, ignore_nan: see :func:`ser_curve`.

    Shape:
        preds, target: see :func:`relevance_mae`. Output: a float64 scalar.

    Raises:
        ValueError: shapes that differ, several targets, or fewer than one step.

    Example:
        >>> sera([1.0, 4.0, 8.0], [0.0, 6.0, 10.0], lambda labels: labels / 10, steps=2).item()
        7.25
    """
    return area_under(ser_curve(preds, target, relevance, steps, ignore_nan), normalize)


def relevance_of(relevance: Phi, labels: Tensor) -> Tensor:
    """Return the relevances of labels, flat and in the type that sums are kept in."""
    values = relevance(labels.detach().double() if labels.device.type != "mps" else labels)
    return flatten(values, labels)[0]


def with_relevance(preds: Tensor, target: Tensor, relevance: Phi) -> tuple[Tensor, Tensor, Tensor]:
    """Return the relevances of the labels, the predictions and the labels, all flat."""
    return relevance_of(relevance, target), *flatten(preds, target)


def add_error_by_step(sums: Tensor, preds: Tensor, target: Tensor, relevance: Phi) -> Tensor:
    """Return the squared errors between each threshold and the next with a batch added, ``[steps + 1]``."""
    steps = len(sums) - 1
    phi, preds, target = with_relevance(preds, target, relevance)
    # index * step instead of linspace, whose rounding differs: a relevance of 0.3 reaches the threshold 0.3.
    thresholds = torch.arange(steps + 1, dtype=phi.dtype, device=phi.device) * (1 / steps)
    reached = torch.bucketize(phi, thresholds, right=True) - 1
    return sums.index_add(0, reached, squared_error(preds, target))


def curve_from_steps(squared_errors: Tensor) -> Tensor:
    """Return the curve from the squared errors between the thresholds, ``[steps + 1]`` each."""
    return squared_errors.flip(0).cumsum(0).flip(0)


def area_under(curve: Tensor, normalize: bool) -> Tensor:
    """Return the area under a curve over [0, 1] by the trapezoidal rule, over its first value if normalised."""
    area = torch.trapezoid(curve, dx=1 / (len(curve) - 1))
    return area / curve[0] if normalize else area
