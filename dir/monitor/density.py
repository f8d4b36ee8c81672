"""Two samples compared by their densities, one of which is known by aggregates alone: PSI and Kolmogorov-Smirnov."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Kept quantiles of a reference sample: distances of distribution functions are exact to 1 / 400.
SKETCH = 200
# Most bins of the densities that a report draws.
SHOWN = 24
# Bins of a population stability index: deciles, and one bin beyond each end.
DECILES = 10

Floats = NDArray[np.float64]


class Kolmogorov(NamedTuple):
    """Largest distance of two distribution functions, and its p-value under equal distributions."""

    statistic: float
    p_value: float


def psi(reference: Any, new: Any) -> float:
    r"""Return the population stability index of two samples in the same bins.

    .. math:: \mathrm{PSI} = \sum_b (q_b - p_b) \ln(q_b / p_b), \quad p_b = (n_b + 1/2) / (n + B/2)

    The half sample in each bin keeps the sum finite where a bin is empty.

    Args:
        reference, new: samples in each of the B bins; weighted samples need not be whole.

    Returns:
        At least 0. By convention values below 0.1 are no shift, and values above 0.25 are a large one.

    Example:
        >>> round(psi([500, 500], [500, 500]), 6), round(psi([5000, 5000], [2500, 7500]), 3)
        (0.0, 0.275)

    Reference:
        Siddiqi, Credit Risk Scorecards, 2006.
    """
    p, q = (_smoothed(np.asarray(counts, dtype=np.float64)) for counts in (reference, new))
    return float(np.sum((q - p) * np.log(q / p)))


def psi_by_chance(reference: Any, new: Any, alpha: float) -> float:
    r"""Return the value that the PSI of two samples of one distribution exceeds with probability ``alpha``.

    .. math:: (1/n + 1/m) \, \chi^2_{B-1}(1 - \alpha)

    Args:
        reference, new: see :func:`psi`; bins that are empty in both do not count.
        alpha: probability, in (0, 1).

    Example:
        >>> round(psi_by_chance([100] * 10, [20] * 10, alpha=0.05), 3)
        0.102

    Reference:
        Yurdakul, Statistical properties of the population stability index, Western Michigan University, 2018.
    """
    first, second = (np.asarray(counts, dtype=np.float64) for counts in (reference, new))
    bins = max(int(((first > 0) | (second > 0)).sum()), 2)
    return float((1 / first.sum() + 1 / second.sum()) * stats.chi2.ppf(1 - alpha, bins - 1))


def quantile_edges(values: Floats, weights: Floats | None = None, bins: int = DECILES) -> Floats:
    """Return the edges of bins ``(edge, edge]``: quantiles of the values, and both ends of their range.

    Tied quantiles are joined. One more bin lies below the smallest value and one above the largest, so that
    :func:`count_bins` gives ``len(edges) + 1`` counts.

    Example:
        >>> count_bins(np.array([-1.0, 0.0, 0.5, 9.0]), quantile_edges(np.linspace(0, 1, 101), bins=2)).tolist()
        [1.0, 2.0, 0.0, 1.0]
    """
    inner = _quantiles(values, weights, np.arange(1, bins) / bins)
    # The lowest bin holds the values below all of the reference, and the smallest value belongs to the next.
    below = np.nextafter(values.min(), -np.inf)
    return np.unique(np.concatenate([[below], inner, [values.max()]]))


def count_bins(values: Floats, edges: Floats, weights: Floats | None = None) -> Floats:
    """Return the samples in each bin of :func:`quantile_edges`."""
    return np.bincount(np.searchsorted(edges, values), weights, minlength=len(edges) + 1).astype(np.float64)


def sketch(values: Floats, weights: Floats | None = None) -> Floats:
    """Return at most :data:`SKETCH` evenly spaced quantiles of a sample, from which :func:`kolmogorov` works.

    Example:
        >>> sketch(np.arange(3.0)).tolist(), len(sketch(np.arange(5000.0)))
        ([0.0, 1.0, 2.0], 200)
    """
    if weights is None and len(values) <= SKETCH:
        return np.sort(values)
    return _quantiles(values, weights, (np.arange(SKETCH) + 0.5) / SKETCH)


def kolmogorov(reference: Floats, size: float, new: Floats) -> Kolmogorov:
    """Return the two-sample Kolmogorov-Smirnov test of a sample against one that is known by its quantiles.

    Args:
        reference: :func:`sketch` of the reference sample.
        size: rows of the reference sample, or its effective size where rows have weights.
        new: values of the new sample.

    Returns:
        The statistic of :func:`scipy.stats.ks_2samp`, less the error that the quantiles may add, and its asymptotic
        p-value for samples of these sizes.
    """
    found = float(stats.ks_2samp(reference, new, method="asymp").statistic)
    error = 0.5 / len(reference) if size > len(reference) else 0.0
    statistic = max(0.0, found - error)
    pairs = max(1, round(size * len(new) / (size + len(new))))
    return Kolmogorov(statistic, float(stats.kstwo.sf(statistic, pairs)))


def shown_density(quantiles: Floats, low: float, high: float, new: Floats) -> dict[str, Any]:
    """Return the shares of two samples in even bins over the range of the reference, for a picture.

    Args:
        quantiles: :func:`sketch` of the reference sample.
        low, high: ends of its range. Bins of whole numbers hold equally many of them.
        new: values of the new sample.

    Returns:
        ``edges`` of at most :data:`SHOWN` bins, the shares ``reference`` and ``new`` in each bin, and the shares
        ``below`` and ``above`` of the new sample beyond the range of the reference. JSON-able.

    Example:
        >>> shown_density(np.array([1.0, 2.0, 2.0]), 1.0, 2.0, np.array([2.0, 9.0]))["new"]
        [0.0, 0.5]
    """
    if (quantiles == np.round(quantiles)).all():
        first, last = np.ceil(low), np.floor(high)
        width = np.ceil((last - first + 1) / SHOWN)
        edges = first - 0.5 + width * np.arange(np.ceil((last - first + 1) / width) + 1)
    else:
        edges = np.linspace(low, high, SHOWN + 1)
        if (np.diff(edges) <= 0).any():  # one value, or values that differ in their last digits alone
            edges = np.array([low - 0.5, high + 0.5])
    before, now = (np.histogram(values, edges)[0] / max(len(values), 1) for values in (quantiles, new))
    beyond = [float(part.sum()) / max(len(new), 1) for part in (new < edges[0], new > edges[-1])]
    return {
        "edges": edges.tolist(),
        "reference": before.tolist(),
        "new": now.tolist(),
        "below": beyond[0],
        "above": beyond[1],
    }


def effective_size(weights: Floats) -> float:
    """Return Kish's effective size of a weighted sample, 0 for no weight at all.

    Example:
        >>> effective_size(np.array([1.0, 1.0, 0.0]))
        2.0
    """
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _smoothed(counts: Floats) -> Floats:
    shares: Floats = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def _quantiles(values: Floats, weights: Floats | None, levels: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    mass = np.ones(len(values)) if weights is None else weights[order]
    share = np.cumsum(mass)
    share /= share[-1]
    # Rounding must not move a level that a share equals.
    places = np.searchsorted(share, levels - 1e-12).clip(max=len(values) - 1)
    found: Floats = values[order][places]
    return found
