"""The correlation between the errors of the label bins and their label density, as a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dir._checks import message
from dir.metrics.functional._inputs import as_tensor, checked_pair
from dir.metrics.functional.correlation import moments, pearson_from_moments
from dir.metrics.functional.errors import add_binned_errors, empty_bins

if TYPE_CHECKING:
    from dir.bins import LabelBins
    from dir.metrics.functional._inputs import Values


def error_density_correlation(
    preds: Values, target: Values, bins: LabelBins, density: Tensor | np.ndarray, ignore_nan: bool = False
) -> Tensor:
    r"""Return the correlation of the bins' MAE and label density, see :class:`dir.metrics.ErrorDensityCorrelation`.

    Args:
        preds: predictions.
        target: labels. Labels in no bin are left out.
        bins: label bins.
        density: one value per bin, finite and >= 0: training counts, or ``lds.density``.
        ignore_nan: leave out the samples whose label is NaN.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a float64
        scalar; NaN with fewer than two bins, or where the errors or the densities of all bins are equal.

    Raises:
        ValueError: shapes that differ, several targets, or a density that is not one finite value >= 0 per bin.

    Example:
        >>> from dir.bins import LabelBins
        >>> bins, density = LabelBins.integers(0, 2), torch.tensor([30.0, 20.0, 10.0])
        >>> error_density_correlation([0.0, 2.0, 4.0], [0.0, 1.0, 2.0], bins, density).round(decimals=9)
        tensor(-1., dtype=torch.float64)
    """
    density = checked_density(density, bins)
    preds, target = checked_pair(preds, target, ignore_nan)
    sums, counts = add_binned_errors(*empty_bins(bins, target.device), preds, target, bins)
    return correlation_of_bins(sums, counts, density)


def checked_density(density: Tensor | np.ndarray, bins: LabelBins) -> Tensor:
    """Return the density in float64 after its check.

    Raises:
        ValueError: another shape than ``[num_bins]``, or values that are negative or not finite.
    """
    given = as_tensor("density", density).detach().double()
    if given.shape != (bins.num_bins,):
        raise ValueError(message("density", f"expected one value per bin, [{bins.num_bins}]", list(given.shape)))
    bad = given[~(torch.isfinite(given) & (given >= 0))]
    if len(bad):
        raise ValueError(message("density", "expected finite values >= 0", bad[0].item()))
    return given


def correlation_of_bins(bin_abs_error: Tensor, bin_count: Tensor, density: Tensor) -> Tensor:
    """Return the correlation over the bins with samples; the last row of the first two is ignored."""
    seen = bin_count[:-1] > 0
    error = bin_abs_error[:-1][seen] / bin_count[:-1][seen]
    return pearson_from_moments(moments(error, density.to(error.device)[seen].to(error.dtype)))
