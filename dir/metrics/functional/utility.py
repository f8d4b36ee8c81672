"""Precision, recall and F-measure for regression as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dir._checks import check_interval, check_positive
from dir.metrics.functional._inputs import checked_pair, flatten
from dir.metrics.functional.relevance import Phi, relevance_of

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class UtilitySums(NamedTuple):
    """Sums that precision and recall are made of, each a scalar.

    ``hit_true`` and ``hit_pred`` weigh the accuracy of each sample by the relevance of its label and of its
    prediction. ``relevance_true`` and ``relevance_pred`` are the sums of these relevances.
    """

    hit_true: Tensor
    hit_pred: Tensor
    relevance_true: Tensor
    relevance_pred: Tensor


def smooth_accuracy(error: Tensor, tolerance: float, steepness: float = 1e4) -> Tensor:
    r"""Return how far each prediction is correct, from 1 for no error to 0 at and above the tolerated error.

    .. math:: \alpha(e) = \mathbb{1}[|e| \le t]\, \big(1 - \exp(-k\, (|e| - t)^2 / t^2)\big)

    Args:
        error: prediction minus label.
        tolerance: the error t at which a prediction stops being correct, > 0.
        steepness: k > 0. The default 1e4 is close to a step; small values reward smaller errors.

    Shape:
        The output has the shape of ``error``.

    Example:
        >>> smooth_accuracy(torch.tensor([0.0, 1.0, 3.0]), tolerance=2.0).tolist()
        [1.0, 1.0, 0.0]

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """
    gap = (error.abs() - tolerance) / tolerance
    # An error of NaN stays NaN: the comparison is False.
    return torch.where(gap > 0, 0.0, -torch.expm1(-steepness * gap.square()))


def utility_precision(
    preds: Values,
    target: Values,
    relevance: Phi,
    tolerance: float,
    threshold: float = 0.8,
    steepness: float = 1e4,
    ignore_nan: bool = False,
) -> Tensor:
    """Return the share of predicted extremes that are extreme, see :class:`dir.metrics.UtilityPrecision`.

    Args:
        preds: predictions.
        target: labels.
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        tolerance: absolute error, in the unit of the labels, at which a prediction stops being correct, > 0.
        threshold: relevance in [0, 1] from which a label is extreme. Default 0.8.
        steepness: of :func:`smooth_accuracy`, > 0. Default 1e4.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a float64
        scalar, NaN where no prediction is extreme.

    Raises:
        ValueError: shapes that differ, several targets, or an argument outside its range.

    Example:
        >>> utility_precision([9.0, 9.0, 2.0], [9.5, 3.0, 10.0], lambda labels: labels / 10, tolerance=1.0).item()
        0.5
    """
    return precision(_sums(preds, target, relevance, tolerance, threshold, steepness, ignore_nan))


def utility_recall(
    preds: Values,
    target: Values,
    relevance: Phi,
    tolerance: float,
    threshold: float = 0.8,
    steepness: float = 1e4,
    ignore_nan: bool = False,
) -> Tensor:
    """Return the share of extreme labels that are predicted well, see :class:`dir.metrics.UtilityRecall`.

    Args, shapes and errors: see :func:`utility_precision`.

    Example:
        >>> utility_recall([9.0, 9.0, 2.0], [9.5, 2.5, 9.5], lambda labels: labels / 10, tolerance=1.0).item()
        0.5
    """
    return recall(_sums(preds, target, relevance, tolerance, threshold, steepness, ignore_nan))


def utility_f1(
    preds: Values,
    target: Values,
    relevance: Phi,
    tolerance: float,
    threshold: float = 0.8,
    steepness: float = 1e4,
    beta: float = 1.0,
    ignore_nan: bool = False,
) -> Tensor:
    """Return the F-measure of precision and recall, see :class:`dir.metrics.UtilityF1`.

    Args:
        beta: how much recall counts beside precision, > 0. Default 1.
        preds, target, relevance, tolerance, threshold, steepness, ignore_nan: see :func:`utility_precision`.

    Shape and errors: see :func:`utility_precision`.

    Example:
        >>> utility_f1([9.0, 9.0, 2.0], [9.5, 3.0, 9.5], lambda labels: labels / 10, tolerance=1.0).item()
        0.5
    """
    check_positive("beta", beta)
    return f_measure(_sums(preds, target, relevance, tolerance, threshold, steepness, ignore_nan), beta)


def check_arguments(tolerance: float, threshold: float, steepness: float) -> None:
    """Raise a ValueError for an argument outside its range."""
    check_positive("tolerance", tolerance)
    check_positive("steepness", steepness)
    check_interval("threshold", threshold, "[0, 1]")


def utility_sums(
    preds: Tensor, target: Tensor, relevance: Phi, tolerance: float, threshold: float, steepness: float
) -> UtilitySums:
    """Return the sums over the samples of a batch."""

    def relevant(labels: Tensor) -> Tensor:
        phi = relevance_of(relevance, labels)
        # A relevance of NaN stays NaN: the label is NaN, and so is the metric.
        return torch.where(phi < threshold, 0.0, phi)

    of_true, of_pred = relevant(target), relevant(preds)
    preds, target = flatten(preds, target)
    correct = smooth_accuracy(preds - target, tolerance, steepness)
    return UtilitySums((correct * of_true).sum(), (correct * of_pred).sum(), of_true.sum(), of_pred.sum())


def precision(sums: UtilitySums) -> Tensor:
    """Return the precision; NaN where no prediction is extreme."""
    return sums.hit_pred / sums.relevance_pred


def recall(sums: UtilitySums) -> Tensor:
    """Return the recall; NaN where no label is extreme."""
    return sums.hit_true / sums.relevance_true


def f_measure(sums: UtilitySums, beta: float) -> Tensor:
    """Return the F-measure; 0 where no prediction is extreme, NaN where no label is."""
    # A model that never predicts an extreme has no precision. It gets 0, so that its row in a table is not empty.
    of_pred = torch.where(sums.relevance_pred == 0, 0.0, precision(sums))
    of_true = recall(sums)
    both = beta**2 * of_pred + of_true
    return torch.where(both == 0, 0.0, (1 + beta**2) * of_pred * of_true / both)


def _sums(
    preds: Values,
    target: Values,
    relevance: Phi,
    tolerance: float,
    threshold: float,
    steepness: float,
    ignore_nan: bool,
) -> UtilitySums:
    check_arguments(tolerance, threshold, steepness)
    return utility_sums(*checked_pair(preds, target, ignore_nan), relevance, tolerance, threshold, steepness)
