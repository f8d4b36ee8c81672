"""How imbalanced continuous labels are: three numbers with bounds, from the histogram of the training labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dir._checks import check_integer, message

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Imbalance:
    """The imbalance of labels over their range; 1, 1 and about ``distance_by_chance`` for uniform labels.

    Args:
        effective_share: effective sample share under weights that make the labels uniform, in (0, 1].
        density_ratio: highest over lowest density of the bins that hold labels, >= 1.
        distance: total variation distance between the label density and the uniform density, in [0, 1).
        distance_by_chance: the distance that as many uniform labels have on average, because they are drawn.
        empty_bins: bins inside the label range that hold no label.
    """

    effective_share: float
    density_ratio: float
    distance: float
    distance_by_chance: float
    empty_bins: int


def effective_size(weights: Any) -> float:
    r"""Return the effective sample size of weighted samples.

    .. math:: n_{\text{eff}} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    A mean over n samples with these weights has the variance of a mean over n_eff samples with equal weights, if the
    weights do not depend on what is averaged.

    Args:
        weights: one weight >= 0 per sample, at least one above 0.

    Raises:
        ValueError: no weight above 0, a negative weight, or one that is not finite.

    Example:
        >>> effective_size([1.0, 1.0, 1.0, 1.0]), effective_size([1.0, 0.0])
        (4.0, 1.0)

    Reference:
        Kish, Survey Sampling, 1965, Sec. 11.7.
    """
    w = np.asarray(weights, dtype=np.float64).ravel()
    if not (np.isfinite(w).all() and (w >= 0).all() and (w > 0).any()):
        raise ValueError(message("weights", "expected finite numbers >= 0, at least one of them above 0"))
    w = w / w.max()  # squares of very small weights would be 0
    return float(w.sum() ** 2 / np.square(w).sum())


def measure_imbalance(counts: Any, edges: Any = None) -> Imbalance:
    r"""Return the imbalance of labels, given as a histogram.

    With :math:`p_k = n_k / n` the share of the labels in bin k and :math:`u_k` the share of its width in the label
    range (from the first to the last bin with labels):

    .. math::
        \text{effective share} &= \frac{(\sum_{k: n_k > 0} u_k)^2}{\sum_{k: n_k > 0} u_k^2 / p_k} \\
        \text{density ratio} &= \max_k \frac{p_k}{u_k} \Big/ \min_{k: n_k > 0} \frac{p_k}{u_k} \\
        \text{distance} &= \tfrac12 \sum_k |p_k - u_k|

    - The effective share is :func:`effective_size` over n, for the weight u_k / p_k of each label in bin k.
    - The distance is the smallest share of the labels that would have to change to make the labels uniform. Labels
      drawn uniformly have a distance above 0 too; ``distance_by_chance`` is the mean of it,
      :math:`\tfrac1{2n} \sum_k E|\operatorname{Binomial}(n, u_k) - n u_k|`.

    All numbers depend on the bins. Compare data sets with the same number of bins only.

    Args:
        counts: labels per bin, whole numbers >= 0, ``[B]``.
        edges: edges of the bins, increasing, ``[B + 1]``. Default: bins of equal width.

    Raises:
        ValueError: no label, or counts and edges that are none.

    Example:
        >>> found = measure_imbalance([6, 2])
        >>> found.effective_share, found.density_ratio, found.distance
        (0.75, 3.0, 0.25)

    Reference:
        Effective share: Kish, Survey Sampling, 1965. Total variation: Levin and Peres, Markov Chains and Mixing
        Times, 2017, Sec. 4.1. Mean absolute deviation of a binomial: De Moivre 1730, see Diaconis and Zabell 1991.
    """
    n_k = np.asarray(counts, dtype=np.float64)
    wide = np.arange(len(n_k) + 1.0) if edges is None else np.asarray(edges, dtype=np.float64)
    if n_k.ndim != 1 or not (np.isfinite(n_k).all() and (n_k >= 0).all() and (n_k > 0).any()):
        raise ValueError(message("counts", "expected counts >= 0 of shape [B], at least one of them above 0"))
    if wide.shape != (len(n_k) + 1,) or not (np.diff(wide) > 0).all():
        raise ValueError(message("edges", f"expected {len(n_k) + 1} increasing numbers", wide.tolist()))
    filled = np.flatnonzero(n_k)
    inside = slice(filled[0], filled[-1] + 1)
    n_k, widths = n_k[inside], np.diff(wide)[inside]
    n = float(n_k.sum())
    p, u = n_k / n, widths / widths.sum()
    some = p > 0
    density = p[some] / u[some]
    return Imbalance(
        effective_share=float(u[some].sum() ** 2 / (np.square(u[some]) / p[some]).sum()),
        density_ratio=float(density.max() / density.min()),
        distance=float(np.abs(p - u).sum() / 2),
        distance_by_chance=float(sum(_mean_deviation(round(n), share) for share in u) / (2 * n)),
        empty_bins=int((~some).sum()),
    )


def _mean_deviation(n: int, p: float) -> float:
    """Return E|X - n p| of a binomial X, by De Moivre's formula 2 m (1 - p) P(X = m) with m = floor(n p) + 1."""
    check_integer("n", n)
    m = int(np.floor(n * p)) + 1
    return float(2 * m * (1 - p) * stats.binom.pmf(m, n, p)) if p < 1 else 0.0
