"""The inner validation split of the estimators."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dir.bins import LabelBins
from dir.data.splits import balanced_split, cap_for_share


def validation_rows(labels: NDArray[np.float64], bins: LabelBins, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows validate: about equally many from each label bin, and at most a third of a bin.

    The split is that of :func:`dir.data.splits.balanced_split`. Neighbouring bins are merged in pairs as long as
    their number does not allow between half of ``fraction`` and ``fraction`` of the rows, so that tables of a few
    rows have validation rows as well.

    Args:
        labels: labels [N], of three rows or more.
        bins: label bins.
        fraction: largest share of the rows, in (0, 0.33]; at least one row validates.
        seed: draws the rows.

    Example:
        >>> labels = np.array([0.0] * 90 + [1.0] * 9)
        >>> rows = validation_rows(labels, LabelBins.integers(0, 1), fraction=0.1, seed=0)
        >>> int(rows[:90].sum()), int(rows[90:].sum())
        (6, 3)
    """
    groups = bins(torch.from_numpy(labels)).numpy()
    most = fraction * len(labels)
    while True:
        rows: NDArray[np.bool_] = balanced_split(groups, cap_for_share(groups, fraction), seed) == "val"
        if 0.5 * most <= rows.sum() <= most or groups.max() == 0:
            return rows
        groups = groups // 2
