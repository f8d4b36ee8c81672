"""Balanced MAE that compares data sets: on bins of the evaluated labels, and relative to a constant prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dir._checks import message
from dir.bins import LabelBins
from dir.metrics.functional._inputs import checked_pair
from dir.metrics.functional.errors import balanced_mae

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


def freedman_diaconis_bins(labels: Values) -> LabelBins:
    r"""Return even bins over the labels whose width follows the rule of Freedman and Diaconis.

    .. math:: h = 2 \, \mathrm{IQR}(y) \, n^{-1/3}

    The width is rounded so that whole bins fill the range. If more than half of the labels are the same number, the
    interquartile range is 0, and Sturges' rule gives the number of bins, :math:`\lceil \log_2 n \rceil + 1`, as in
    NumPy's ``"auto"``.

    Args:
        labels: labels that are evaluated, of any shape, without NaN.

    Raises:
        ValueError: no labels, labels that are not finite, or labels that are all equal.

    Example:
        >>> freedman_diaconis_bins(torch.arange(1001.0)).num_bins
        11

    Reference:
        Freedman and Diaconis, On the histogram as a density estimator, 1981.
    """
    values = torch.as_tensor(labels).detach().cpu().double().flatten().numpy()
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(message("labels", "expected finite labels, at least one", values.size))
    if values.min() == values.max():
        raise ValueError(message("labels", "are all equal, so that they have no bins", float(values[0])))
    rule = "fd" if np.subtract(*np.percentile(values, [75, 25])) > 0 else "sturges"
    return LabelBins.from_edges(np.histogram_bin_edges(values, rule), dtype=torch.float64)


def balanced_mase(preds: Values, target: Values, constant: float, bins: LabelBins | None = None) -> Tensor:
    r"""Return the balanced MAE relative to that of a constant prediction (bMASE).

    .. math:: \frac{\mathrm{bMAE}(\hat y, y)}{\mathrm{bMAE}(c, y)}

    Below 1 the model beats the constant. The ratio has no unit, so that data sets can be compared.

    Args:
        preds: predictions.
        target: labels.
        constant: c, the median of the training labels.
        bins: label bins. Default: :func:`freedman_diaconis_bins` of the labels.

    Shape and errors: see :func:`dir.metrics.functional.balanced_mae`.

    Example:
        >>> balanced_mase([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 10.0], constant=2.0).item()
        0.2222222222222222

    Reference:
        Puetz et al., Exposing Blind Spots in Deep Imbalanced Regression Evaluation, 2026.
    """
    preds, target = checked_pair(preds, target, False)
    bins = freedman_diaconis_bins(target) if bins is None else bins
    error = balanced_mae(preds.double(), target.double(), bins)
    return error / balanced_mae(torch.full_like(target.double(), constant), target.double(), bins)
