"""Mean errors weighted by relevance, and the correlation of errors with the label density, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric
from dir.metrics.functional.density import checked_density, correlation_of_bins
from dir.metrics.functional.errors import absolute_error, add_binned_errors, squared_error
from dir.metrics.functional.relevance import Phi, with_relevance

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class _RelevanceMean(RegressionMetric):
    """Mean of an error, weighted by the relevance of the labels."""

    weighted_error: Tensor
    sum_relevance: Tensor

    def __init__(self, relevance: Phi, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.relevance = relevance
        self.add_sum("weighted_error")
        self.add_sum("sum_relevance")

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must implement _error(preds, target)")

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        phi, flat_preds, flat_target = with_relevance(*self.inputs(preds, target), self.relevance)
        self.weighted_error = self.weighted_error + (phi * self._error(flat_preds, flat_target)).sum()
        self.sum_relevance = self.sum_relevance + phi.sum()

    def compute(self) -> Tensor:
        """Return the weighted mean over all batches since the last reset, on all ranks."""
        return self.weighted_error / self.sum_relevance


class RelevanceMAE(_RelevanceMean):
    r"""Mean absolute error weighted by relevance,
    :math:`\sum_i \phi(y_i) |\hat y_i - y_i| \big/ \sum_i \phi(y_i)`; NaN where no label is relevant.

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances >= 0.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar.

    State:
        weighted_error, sum_relevance: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ, or several targets.

    Example:
        >>> metric = RelevanceMAE(lambda labels: labels / 10)
        >>> metric.update(torch.tensor([1.0, 8.0, 9.0]), torch.tensor([0.0, 10.0, 10.0]))
        >>> metric.compute().item()
        1.5

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020.
    """

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return absolute_error(preds, target)


class RelevanceMSE(_RelevanceMean):
    r"""Mean squared error weighted by relevance,
    :math:`\sum_i \phi(y_i) (\hat y_i - y_i)^2 \big/ \sum_i \phi(y_i)`; NaN where no label is relevant.

    Args, shapes, state and errors: see :class:`RelevanceMAE`.

    Example:
        >>> metric = RelevanceMSE(lambda labels: labels / 10)
        >>> metric.update(torch.tensor([1.0, 8.0, 9.0]), torch.tensor([0.0, 10.0, 10.0]))
        >>> metric.compute().item()
        2.5

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020.
    """

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return squared_error(preds, target)


class ErrorDensityCorrelation(RegressionMetric):
    r"""Pearson correlation between a bin's mean absolute error and its label density, over the bins with test data.

    .. math:: \operatorname{corr}_{b:\, n_b > 0}\Big(\frac{1}{n_b} \sum_{i \in b} |\hat y_i - y_i|,\; p_b\Big)

    A model with large errors where training labels are rare has a value near -1. The LDS paper argues that the
    effective density correlates better with the errors than the empirical density does.

    Args:
        bins: label bins.
        density: one value per bin: training counts (empirical), or ``lds.density`` (effective).
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Labels in no bin
        are left out. ``compute()``: a float64 scalar; NaN with fewer than two bins, or where the errors or the
        densities of all bins are equal.

    State:
        bin_abs_error, bin_count: [num_bins + 1], summed over batches and ranks. The last row holds the labels in no
        bin. density: [num_bins], a buffer, as given.

    Raises:
        ValueError: shapes that differ, several targets, or a density that is not one finite value >= 0 per bin.

    Example:
        >>> metric = ErrorDensityCorrelation(LabelBins.integers(0, 2), torch.tensor([30.0, 20.0, 10.0]))
        >>> metric.update(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, 2.0]))
        >>> round(metric.compute().item(), 9)
        -1.0

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.1 and Fig. 2 and 3.
    """

    # The best model has small errors everywhere; their correlation with the density has no better direction.
    higher_is_better = None
    bin_abs_error: Tensor
    bin_count: Tensor
    density: Tensor

    def __init__(self, bins: LabelBins, density: Tensor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.register_buffer("density", checked_density(density, bins).clone())
        self.add_sum("bin_abs_error", (bins.num_bins + 1,))
        self.add_sum("bin_count", (bins.num_bins + 1,), dtype=torch.int64)

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        batch = self.inputs(preds, target)
        self.bin_abs_error, self.bin_count = add_binned_errors(self.bin_abs_error, self.bin_count, *batch, self.bins)

    def compute(self) -> Tensor:
        """Return the correlation over the bins seen since the last reset, on all ranks."""
        return correlation_of_bins(self.bin_abs_error, self.bin_count, self.density)
