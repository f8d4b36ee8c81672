"""Squared error-relevance area: the squared error as the labels that count are narrowed to the relevant ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dir.metrics.base import RegressionMetric, check_shapes, flat_pair

Phi = Callable[[Tensor], Tensor]


class SERCurve(RegressionMetric):
    r"""Squared error of the labels whose relevance is at least t, for t on a grid over [0, 1].

    .. math:: \mathrm{SER}_t = \sum_{i:\, \phi(y_i) \ge t} (\hat y_i - y_i)^2

    A sum, as in the paper, and not a mean; 0 where no label is as relevant.

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        steps: the thresholds are ``0, 1/steps, ..., 1``. Default 1000, that of the reference implementation.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: float64 [steps + 1].

    State:
        squared_error: [steps + 1], summed over batches and ranks: the squared error of the labels between
        a threshold and the next. So the curve is exact, whatever the number of samples.

    Raises:
        ValueError: shapes that differ; fewer than one step.

    Example:
        >>> curve = SERCurve(lambda labels: labels / 10, steps=2)
        >>> curve.update(torch.tensor([1.0, 4.0, 8.0]), torch.tensor([0.0, 6.0, 10.0]))
        >>> curve.compute().tolist()
        [9.0, 8.0, 4.0]

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020, Sec. 4.
    """

    squared_error: Tensor

    def __init__(self, relevance: Phi, steps: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if steps < 1:
            raise ValueError(f"steps must be 1 or more, got {steps}")
        self.relevance = relevance
        self.steps = steps
        self.add_sum("squared_error", (steps + 1,))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        check_shapes(preds, target)
        phi = relevance_of(self.relevance, target)
        preds, target = flat_pair(preds, target)
        # index * step, and not linspace, whose rounding differs: a relevance of 0.3 reaches the threshold 0.3.
        thresholds = torch.arange(self.steps + 1, dtype=phi.dtype, device=phi.device) * (1 / self.steps)
        reached = torch.bucketize(phi, thresholds, right=True) - 1
        self.squared_error = self.squared_error.index_add(0, reached, (preds - target).square())

    def compute(self) -> Tensor:
        """The curve over everything seen since the last reset, on all ranks."""
        return self.squared_error.flip(0).cumsum(0).flip(0)


class SERA(SERCurve):
    r"""Squared error-relevance area: the area under :class:`SERCurve`, by the trapezoidal rule.

    .. math:: \mathrm{SERA} = \int_0^1 \mathrm{SER}_t \, dt
        = \sum_i \phi(y_i) (\hat y_i - y_i)^2 \text{ in the limit of fine steps}

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        normalize: divide by the whole squared error, which gives a share in [0, 1]: how much of the error lies
            on relevant labels. It compares data sets, not models. Default False.
        steps: the thresholds are ``0, 1/steps, ..., 1``. Default 1000, that of the reference implementation.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both (any equal shape counts element by element).
        ``compute()``: a float64 scalar; 0 without data, NaN where normalised and there is no error.

    State:
        squared_error: see :class:`SERCurve`.

    Raises:
        ValueError: shapes that differ; fewer than one step.

    Example:
        >>> metric = SERA(lambda labels: labels / 10, steps=2)
        >>> metric.update(torch.tensor([1.0, 4.0, 8.0]), torch.tensor([0.0, 6.0, 10.0]))
        >>> metric.compute().item()
        7.25

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020, Sec. 4.
    """

    higher_is_better = False

    def __init__(self, relevance: Phi, normalize: bool = False, steps: int = 1000, **kwargs: Any) -> None:
        super().__init__(relevance, steps, **kwargs)
        self.normalize = normalize

    def compute(self) -> Tensor:
        """The area over everything seen since the last reset, on all ranks."""
        curve = super().compute()
        area = torch.trapezoid(curve, dx=1 / self.steps)
        return area / curve[0] if self.normalize else area


def relevance_of(relevance: Phi, labels: Tensor) -> Tensor:
    """Relevances of labels, flat and in the type that sums are kept in."""
    return flat_pair(relevance(labels.detach().double() if labels.device.type != "mps" else labels), labels)[0]
