"""Precision, recall and F-measure for regression as metrics.

A prediction close enough to its label is a hit, and samples count by their relevance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from dir._checks import check_positive
from dir.metrics.base import RegressionMetric
from dir.metrics.functional.relevance import Phi
from dir.metrics.functional.utility import (
    UtilitySums,
    check_arguments,
    f_measure,
    precision,
    recall,
    utility_sums,
)

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class _Utility(RegressionMetric):
    """Sums that precision and recall are made of, see :class:`UtilitySums`."""

    higher_is_better = True
    hit_true: Tensor
    hit_pred: Tensor
    relevance_true: Tensor
    relevance_pred: Tensor

    def __init__(
        self, relevance: Phi, tolerance: float, threshold: float = 0.8, steepness: float = 1e4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_arguments(tolerance, threshold, steepness)
        self.relevance = relevance
        self.tolerance = tolerance
        self.threshold = threshold
        self.steepness = steepness
        for name in UtilitySums._fields:
            self.add_sum(name)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        preds, target = self.inputs(preds, target)
        batch = utility_sums(preds, target, self.relevance, self.tolerance, self.threshold, self.steepness)
        for name, value in batch._asdict().items():
            setattr(self, name, getattr(self, name) + value)

    def _sums(self) -> UtilitySums:
        return UtilitySums(self.hit_true, self.hit_pred, self.relevance_true, self.relevance_pred)


class UtilityPrecision(_Utility):
    r"""Share of the predicted extremes that are extreme, weighted by relevance; NaN where no prediction is extreme.

    .. math:: \sum_{\phi(\hat y_i) \ge t} \alpha(\hat y_i - y_i)\, \phi(\hat y_i) \Big/
        \sum_{\phi(\hat y_i) \ge t} \phi(\hat y_i)

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        tolerance: absolute error, in the unit of the labels, at which a prediction stops being correct, > 0.
        threshold: relevance t in [0, 1] from which a label is extreme. Default 0.8.
        steepness: of :func:`dir.metrics.functional.smooth_accuracy`, > 0. Default 1e4.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        hit_true, hit_pred, relevance_true, relevance_pred: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, several targets, or an argument outside its range.

    Example:
        >>> import torch
        >>> metric = UtilityPrecision(lambda labels: labels / 10, tolerance=1.0)
        >>> metric.update(torch.tensor([9.0, 9.0, 2.0]), torch.tensor([9.5, 3.0, 10.0]))
        >>> metric.compute().item()
        0.5

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """

    def compute(self) -> Tensor:
        """Return the precision over all batches since the last reset, on all ranks."""
        return precision(self._sums())


class UtilityRecall(_Utility):
    r"""Share of the extreme labels that are predicted well, weighted by relevance; NaN where no label is extreme.

    .. math:: \sum_{\phi(y_i) \ge t} \alpha(\hat y_i - y_i)\, \phi(y_i) \Big/ \sum_{\phi(y_i) \ge t} \phi(y_i)

    Args, shapes, state and errors: see :class:`UtilityPrecision`.

    Example:
        >>> import torch
        >>> metric = UtilityRecall(lambda labels: labels / 10, tolerance=1.0)
        >>> metric.update(torch.tensor([9.0, 9.0, 2.0]), torch.tensor([9.5, 2.5, 9.5]))
        >>> metric.compute().item()
        0.5

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """

    def compute(self) -> Tensor:
        """Return the recall over all batches since the last reset, on all ranks."""
        return recall(self._sums())


class UtilityF1(_Utility):
    r"""F-measure of :class:`UtilityPrecision` P and :class:`UtilityRecall` R,
    :math:`(1 + \beta^2) P R / (\beta^2 P + R)`.

    0 where no extreme label is predicted well, also where no prediction is extreme; NaN where no label is extreme.

    The F1 in the papers of SMOGN and REBAGG differs from this F-measure, though they cite the same work. Their F1 is
    made of utility surfaces (Ribeiro 2011, the R package uba), which count the costs of wrong predictions as well. Do
    not compare its numbers with these.

    Args:
        beta: how much recall counts beside precision, > 0. Default 1.
        relevance, tolerance, threshold, steepness, **kwargs: see :class:`UtilityPrecision`, also for shapes and
            state.

    Raises:
        ValueError: shapes that differ, several targets, or an argument outside its range.

    Example:
        >>> import torch
        >>> metric = UtilityF1(lambda labels: labels / 10, tolerance=1.0)
        >>> metric.update(torch.tensor([9.0, 9.0, 2.0]), torch.tensor([9.5, 3.0, 9.5]))
        >>> metric.compute().item()
        0.5

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """

    def __init__(
        self,
        relevance: Phi,
        tolerance: float,
        threshold: float = 0.8,
        steepness: float = 1e4,
        beta: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(relevance, tolerance, threshold, steepness, **kwargs)
        check_positive("beta", beta)
        self.beta = beta

    def compute(self) -> Tensor:
        """Return the F-measure over all batches since the last reset, on all ranks."""
        return f_measure(self._sums(), self.beta)
