"""Precision, recall and F-measure for regression: a hit is a prediction close enough, labels count by relevance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir.metrics.base import RegressionMetric, check_shapes, flat_pair
from dir.metrics.sera import Phi, relevance_of


def smooth_accuracy(error: Tensor, tolerance: float, steepness: float = 1e4) -> Tensor:
    r"""How far a prediction counts as correct, from 1 for none to 0 at and above the tolerated error.

    .. math:: \alpha(e) = \mathbb{1}[|e| \le t]\, \big(1 - \exp(-k\, (|e| - t)^2 / t^2)\big)

    Args:
        error: prediction minus label.
        tolerance: the error t at which a prediction stops being correct, > 0.
        steepness: k > 0. The default 1e4 is close to a step; small values reward smaller errors.

    Shape:
        That of ``error``.

    Example:
        >>> smooth_accuracy(torch.tensor([0.0, 1.0, 3.0]), tolerance=2.0).tolist()
        [1.0, 1.0, 0.0]

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """
    gap = (error.abs() - tolerance) / tolerance
    return torch.where(gap <= 0, -torch.expm1(-steepness * gap.square()), 0.0)


class _Utility(RegressionMetric):
    """Sums that precision and recall are made of."""

    higher_is_better = True
    hit_true: Tensor
    hit_pred: Tensor
    relevance_true: Tensor
    relevance_pred: Tensor

    def __init__(
        self, relevance: Phi, tolerance: float, threshold: float = 0.8, steepness: float = 1e4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("tolerance", tolerance), ("steepness", steepness)):
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
        self.relevance = relevance
        self.tolerance = tolerance
        self.threshold = threshold
        self.steepness = steepness
        for name in ("hit_true", "hit_pred", "relevance_true", "relevance_pred"):
            self.add_sum(name)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        check_shapes(preds, target)
        of_true, of_pred = (self._rare(labels) for labels in (target, preds))
        preds, target = flat_pair(preds, target)
        correct = smooth_accuracy(preds - target, self.tolerance, self.steepness)
        self.hit_true = self.hit_true + (correct * of_true).sum()
        self.hit_pred = self.hit_pred + (correct * of_pred).sum()
        self.relevance_true = self.relevance_true + of_true.sum()
        self.relevance_pred = self.relevance_pred + of_pred.sum()

    def _rare(self, labels: Tensor) -> Tensor:
        phi = relevance_of(self.relevance, labels)
        return torch.where(phi >= self.threshold, phi, 0.0)


class UtilityPrecision(_Utility):
    r"""Of what is predicted to be extreme, how much is; NaN where nothing is.

    .. math:: \sum_{\phi(\hat y_i) \ge t} \alpha(\hat y_i - y_i)\, \phi(\hat y_i) \Big/
        \sum_{\phi(\hat y_i) \ge t} \phi(\hat y_i)

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        tolerance: the absolute error, in the unit of the labels, at which a prediction stops being correct, > 0.
        threshold: the relevance t in [0, 1] from which a label is extreme. Default 0.8.
        steepness: of :func:`smooth_accuracy`, > 0. Default 1e4.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        hit_true, hit_pred, relevance_true, relevance_pred: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ; a tolerance or steepness not above 0, a threshold outside [0, 1].

    Example:
        >>> metric = UtilityPrecision(lambda labels: labels / 10, tolerance=1.0)
        >>> metric.update(torch.tensor([9.0, 9.0, 2.0]), torch.tensor([9.5, 3.0, 10.0]))
        >>> metric.compute().item()
        0.5

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """

    def compute(self) -> Tensor:
        """Precision over everything seen since the last reset, on all ranks."""
        return self.hit_pred / self.relevance_pred


class UtilityRecall(_Utility):
    r"""Of what is extreme, how much is predicted well; NaN where nothing is.

    .. math:: \sum_{\phi(y_i) \ge t} \alpha(\hat y_i - y_i)\, \phi(y_i) \Big/ \sum_{\phi(y_i) \ge t} \phi(y_i)

    Args, shapes, state and errors: see :class:`UtilityPrecision`.

    Example:
        >>> metric = UtilityRecall(lambda labels: labels / 10, tolerance=1.0)
        >>> metric.update(torch.tensor([9.0, 9.0, 2.0]), torch.tensor([10.0, 3.0, 10.0]) - 0.5)
        >>> metric.compute().item()
        0.5

    Reference:
        Torgo and Ribeiro, Precision and Recall for Regression, Discovery Science 2009.
    """

    def compute(self) -> Tensor:
        """Recall over everything seen since the last reset, on all ranks."""
        return self.hit_true / self.relevance_true


class UtilityF1(_Utility):
    r"""F-measure of :class:`UtilityPrecision` P and :class:`UtilityRecall` R,
    :math:`(1 + \beta^2) P R / (\beta^2 P + R)`.

    0 where nothing extreme is found, also where no prediction is extreme; NaN where no label is.

    The F1 in the papers of SMOGN and REBAGG is another one, though they cite the same work: it is made of utility
    surfaces (Ribeiro 2011, the R package uba), which count the costs of wrong predictions as well. Its numbers and
    these cannot be compared.

    Args:
        beta: how much recall counts beside precision, > 0. Default 1.
        relevance, tolerance, threshold, steepness, **kwargs: see :class:`UtilityPrecision`, as for shapes and state.

    Raises:
        ValueError: shapes that differ; bad arguments.

    Example:
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
        if not beta > 0:
            raise ValueError(f"beta must be > 0, got {beta}")
        self.beta = beta

    def compute(self) -> Tensor:
        """F-measure over everything seen since the last reset, on all ranks."""
        # A model that never predicts an extreme has an undefined precision and deserves 0, not a hole in the table.
        precision = torch.where(self.relevance_pred > 0, self.hit_pred / self.relevance_pred, 0.0)
        recall = self.hit_true / self.relevance_true
        both = self.beta**2 * precision + recall
        return torch.where(both == 0, 0.0, (1 + self.beta**2) * precision * recall / both)
