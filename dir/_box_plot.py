"""Statistics of box plots: hinges, and the medcouple, a robust measure of skewness."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dir._checks import message

Array = npt.NDArray[np.float64]


def medcouple(values: npt.ArrayLike) -> float:
    r"""Return the medcouple, a robust measure of skewness in [-1, 1].

    .. math:: \operatorname{med}_{x_i \le m \le x_j} \frac{(x_j - m) - (m - x_i)}{x_j - x_i}

    with m the median. A pair of values that both equal m counts as the sign of its position, as in the paper. A
    binary search in the sorted values counts the pairs below a level: O(n log n) time and no ``[n, n]`` table.

    Example:
        >>> medcouple([0.0, 1.0, 2.0, 6.0, 20.0])
        0.6

    Reference:
        Brys, Hubert and Struyf, A robust measure of skewness, JCGS 13, 2004. As in R's robustbase, an even number of
        pairs gives the lower of the two middle values, and up to 100 values give the mean of the results for the
        sample and (negated) for its mirror image.
    """
    x = np.sort(finite_labels(values))
    above = x - np.median(x)
    if len(x) <= 100:
        return (_low_median_of_pairs(above) - _low_median_of_pairs(-above[::-1])) / 2
    return _low_median_of_pairs(above)


def _low_median_of_pairs(centred: Array) -> float:
    upper = centred[centred >= 0]
    lower = -centred[centred <= 0][::-1]  # both ascending and >= 0
    rank = (len(upper) * len(lower) - 1) // 2  # of the median pair; the smallest pair has rank 0
    ties = int((upper == 0).sum())
    a, b = upper[ties:], lower[ties:]
    # h = (a - b) / (a + b) is -1 where a = 0 < b and +1 where b = 0 < a. The tied block has t(t-1)/2 of each sign.
    below = ties * len(b) + ties * (ties - 1) // 2
    ratios = len(a) * len(b)
    if rank < below:
        return -1.0
    if not ratios:
        return 0.0 if rank < below + ties else 1.0
    # The t zeros of the tied block follow the negative pairs.
    negative = int(np.searchsorted(a, b, side="left").sum())
    if below + negative <= rank < below + negative + ties:
        return 0.0
    wanted = rank - below - (ties if rank >= below + negative + ties else 0)
    return 1.0 if wanted >= ratios else _select_pair(a, b, wanted)


def _select_pair(a: Array, b: Array, rank: int) -> float:
    """Return the value h = (a - b) / (a + b) of the given rank: bisect the interval of h, then sort the rest."""
    low, high = -1.0, 1.0
    first, last = np.zeros(len(b), dtype=np.int64), np.full(len(b), len(a))  # candidates for each b: a[first:last]
    while int((last - first).sum()) > 4 * (len(a) + len(b)):
        middle = (low + high) / 2
        if middle in (low, high):  # the remaining pairs differ only by rounding
            return middle
        cut = np.searchsorted(a, b * (1 + middle) / (1 - middle), side="right")  # h(a, b) <= middle before this
        cut = np.clip(cut, first, last)
        if int(cut.sum()) > rank:
            high, last = middle, cut
        else:
            low, first = middle, cut
    column = np.repeat(np.arange(len(b)), last - first)
    row = np.concatenate([np.arange(start, stop) for start, stop in zip(first, last, strict=True)])
    pairs = (a[row] - b[column]) / (a[row] + b[column])
    left = rank - int(first.sum())
    return float(np.partition(pairs, left)[left])


def finite_labels(y: Any) -> Array:
    """Return labels as a flat float64 array; raise a ValueError if there is none, or one is not finite."""
    detached = y.detach().cpu().numpy() if hasattr(y, "detach") else y
    labels = np.asarray(detached, dtype=np.float64).ravel()
    if not labels.size:
        raise ValueError("labels: expected at least one value, got none.")
    if not np.isfinite(labels).all():
        count = int((~np.isfinite(labels)).sum())
        raise ValueError(message("labels", "expected finite values", f"{count} that are NaN or infinite"))
    return labels


def hinges(y: Array) -> tuple[float, float, float]:
    """Return lower hinge, median and upper hinge. Both halves contain the middle value of an odd number of values."""
    ordered = np.sort(y)
    half = (len(y) + 1) // 2
    return float(np.median(ordered[:half])), float(np.median(ordered)), float(np.median(ordered[-half:]))
