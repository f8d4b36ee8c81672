"""Errors weighted by relevance, and how errors go with the label density."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric, check_shapes, flat_pair
from dir.metrics.correlation import moments, pearson
from dir.metrics.sera import Phi, relevance_of


class _RelevanceMean(RegressionMetric):
    weighted_error: Tensor
    sum_relevance: Tensor

    def __init__(self, relevance: Phi, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.relevance = relevance
        self.add_sum("weighted_error")
        self.add_sum("sum_relevance")

    def _add(self, error: Tensor, target: Tensor) -> None:
        phi = relevance_of(self.relevance, target)
        self.weighted_error = self.weighted_error + (phi * error).sum()
        self.sum_relevance = self.sum_relevance + phi.sum()

    def compute(self) -> Tensor:
        """Weighted mean over everything seen since the last reset, on all ranks."""
        return self.weighted_error / self.sum_relevance


class RelevanceMAE(_RelevanceMean):
    r"""Mean absolute error weighted by relevance,
    :math:`\sum_i \phi(y_i) |\hat y_i - y_i| \big/ \sum_i \phi(y_i)`; NaN where nothing is relevant.

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances >= 0.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        weighted_error, sum_relevance: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> metric = RelevanceMAE(lambda labels: labels / 10)
        >>> metric.update(torch.tensor([1.0, 8.0, 9.0]), torch.tensor([0.0, 10.0, 10.0]))
        >>> metric.compute().item()
        1.5

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        flat_preds, flat_target = flat_pair(preds, target)
        self._add((flat_preds - flat_target).abs(), target)


class RelevanceMSE(_RelevanceMean):
    r"""Mean squared error weighted by relevance,
    :math:`\sum_i \phi(y_i) (\hat y_i - y_i)^2 \big/ \sum_i \phi(y_i)`; NaN where nothing is relevant.

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances >= 0.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar.

    State:
        weighted_error, sum_relevance: summed over batches and ranks.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> metric = RelevanceMSE(lambda labels: labels / 10)
        >>> metric.update(torch.tensor([1.0, 8.0, 9.0]), torch.tensor([0.0, 10.0, 10.0]))
        >>> metric.compute().item()
        2.5

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        flat_preds, flat_target = flat_pair(preds, target)
        self._add((flat_preds - flat_target).square(), target)


class ErrorDensityCorrelation(RegressionMetric):
    r"""Pearson correlation between a bin's mean absolute error and its label density, over the bins with test data.

    .. math:: \operatorname{corr}_{b:\, n_b > 0}\Big(\frac{1}{n_b} \sum_{i \in b} |\hat y_i - y_i|,\; p_b\Big)

    A model that errs where training labels are rare has a value near -1. That the effective density correlates
    better than the empirical one is the argument for LDS in its paper.

    Args:
        bins: the label bins.
        density: one value per bin: training counts (empirical), or ``lds.density`` (effective).
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element). Labels in
        no bin are left out. ``compute()``: a float64 scalar; NaN with fewer than two bins, or where the errors
        or the densities of all bins are equal.

    State:
        bin_abs_error, bin_count: [num_bins + 1], summed over batches and ranks; the last row takes labels
        that are in no bin. density: [num_bins], a buffer, as given.

    Raises:
        ValueError: shapes that differ; a density that is not one finite value >= 0 per bin.

    Example:
        >>> metric = ErrorDensityCorrelation(LabelBins.integers(0, 2), torch.tensor([30.0, 20.0, 10.0]))
        >>> metric.update(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, 2.0]))
        >>> round(metric.compute().item(), 9)
        -1.0

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.1 and Fig. 2 and 3.
    """

    bin_abs_error: Tensor
    bin_count: Tensor
    density: Tensor

    def __init__(self, bins: LabelBins, density: Tensor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = torch.as_tensor(density).detach().double()
        if given.shape != (bins.num_bins,):
            raise ValueError(f"density must have one value per bin, shape [{bins.num_bins}], got {list(given.shape)}")
        if not bool((torch.isfinite(given) & (given >= 0)).all()):
            raise ValueError("density must be finite and 0 or more")
        self.bins = bins
        self.register_buffer("density", given.clone())
        self.add_sum("bin_abs_error", (bins.num_bins + 1,))
        self.add_sum("bin_count", (bins.num_bins + 1,), dtype=torch.int64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        check_shapes(preds, target)
        index = self.bins(target.flatten())
        flat_preds, flat_target = flat_pair(preds, target)
        self.bin_abs_error = self.bin_abs_error.index_add(0, index, (flat_preds - flat_target).abs())
        self.bin_count = self.bin_count.index_add(0, index, torch.ones_like(index))

    def compute(self) -> Tensor:
        """Correlation over the bins seen since the last reset, on all ranks."""
        seen = self.bin_count[:-1] > 0
        error = self.bin_abs_error[:-1][seen] / self.bin_count[:-1][seen]
        return pearson(moments(error, self.density[seen].to(error.dtype)))
