"""Squared error-relevance area (SERA) and its curve, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dir._checks import check_integer
from dir.metrics.base import RegressionMetric
from dir.metrics.functional.relevance import Phi, add_error_by_step, area_under, curve_from_steps

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class SERCurve(RegressionMetric):
    r"""Squared error of the labels whose relevance is at least t, for t on a grid over [0, 1].

    .. math:: \mathrm{SER}_t = \sum_{i:\, \phi(y_i) \ge t} (\hat y_i - y_i)^2

    A sum, as in the paper, and not a mean; 0 where no label is as relevant.

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        steps: the thresholds are ``0, 1/steps, ..., 1``. Default 1000, as in the reference implementation.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``:
        float64 [steps + 1].

    State:
        squared_error: [steps + 1], summed over batches and ranks: the squared error of the labels between a threshold
        and the next. The curve is therefore exact for any number of samples.

    Raises:
        ValueError: shapes that differ, several targets, or fewer than one step.

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
        check_integer("steps", steps)
        self.relevance = relevance
        self.steps = steps
        self.add_sum("squared_error", (steps + 1,))

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        self.squared_error = add_error_by_step(self.squared_error, *self.inputs(preds, target), self.relevance)

    def compute(self) -> Tensor:
        """Return the curve over all batches since the last reset, on all ranks."""
        return curve_from_steps(self.squared_error)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot the curve over the threshold, or a list of curves; needs matplotlib. See the base class."""
        if ax is None:
            import matplotlib.pyplot as plt

            figure, ax = plt.subplots()
        else:
            figure = None
        curves = self.compute() if val is None else val
        for curve in [curves] if isinstance(curves, Tensor) else curves:
            ax.plot(torch.linspace(0, 1, len(curve)).numpy(), curve.detach().cpu().numpy())
        ax.set_xlabel("relevance threshold")
        ax.set_ylabel("squared error")
        return figure, ax


class SERA(SERCurve):
    r"""Squared error-relevance area: the area under :class:`SERCurve`, by the trapezoidal rule.

    .. math:: \mathrm{SERA} = \int_0^1 \mathrm{SER}_t \, dt
        = \sum_i \phi(y_i) (\hat y_i - y_i)^2 \text{ in the limit of fine steps}

    Args:
        relevance: a fitted :class:`dir.relevance.Relevance`, or any function from labels to relevances in [0, 1].
        normalize: divide by the squared error of all samples. The result is the share of the error that lies on
            relevant labels, in [0, 1]; it compares data sets, not models. Default False.
        steps: the thresholds are ``0, 1/steps, ..., 1``. Default 1000, as in the reference implementation.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. ``compute()``: a
        float64 scalar; 0 without data, NaN where normalised and there is no error.

    State:
        squared_error: see :class:`SERCurve`.

    Raises:
        ValueError: shapes that differ, several targets, or fewer than one step.

    Example:
        >>> metric = SERA(lambda labels: labels / 10, steps=2)
        >>> metric.update(torch.tensor([1.0, 4.0, 8.0]), torch.tensor([0.0, 6.0, 10.0]))
        >>> metric.compute().item()
        7.25

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020, Sec. 4.
    """

    def __init__(self, relevance: Phi, normalize: bool = False, steps: int = 1000, **kwargs: Any) -> None:
        super().__init__(relevance, steps, **kwargs)
        self.normalize = normalize

    def compute(self) -> Tensor:
        """Return the area over all batches since the last reset, on all ranks."""
        return area_under(super().compute(), self.normalize)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot the area, or a list of areas over time; needs matplotlib. See the base class."""
        return self._plot(val, ax)
