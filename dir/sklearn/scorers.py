"""Scorers for ``cross_val_score`` and searches: the balanced MAE and the MAE of one shot group."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import ArrayLike
from sklearn.metrics import make_scorer
from torch import Tensor

from dir._checks import check_choice, check_integer
from dir.bins import LabelBins
from dir.metrics.functional import balanced_mae, shot_metrics
from dir.metrics.shot_groups import SHOTS, shot_of_bins
from dir.sklearn.inputs import checked_labels, label_bins


def balanced_mae_scorer(y: ArrayLike | LabelBins, num_bins: int = 50) -> Any:
    """Return a scorer with the negative balanced MAE: the mean over label bins of each bin's MAE.

    All folds share the bins. Bins without test rows in a fold do not count there.

    Args:
        y: labels of the data set, which decide the bins alone, or the bins.
        num_bins: number of bins; whole numbers with a range of at most 200 get a bin each.

    Example:
        >>> import numpy as np
        >>> from sklearn.dummy import DummyRegressor
        >>> X, y = np.zeros((4, 1)), np.array([0.0, 0.0, 0.0, 4.0])
        >>> model = DummyRegressor(strategy="constant", constant=0.0).fit(X, y)
        >>> balanced_mae_scorer(y)(model, X, y)
        -2.0
    """
    bins = y if isinstance(y, LabelBins) else _bins(y, num_bins)
    return make_scorer(_balanced_mae, greater_is_better=False, bins=bins)


def shot_mae_scorer(
    y: ArrayLike,
    group: str = "few",
    num_bins: int = 50,
    many: float | None = None,
    few: float | None = None,
    by: str = "count",
) -> Any:
    """Return a scorer with the negative MAE of the rows of one shot group; NaN for a fold without such rows.

    Args:
        y: training labels, whose number per bin decides the groups. All folds share the groups.
        group: ``"many"``, ``"median"``, ``"few"`` or ``"zero"``.
        num_bins: number of bins; whole numbers with a range of at most 200 get a bin each.
        many, few, by: thresholds of the groups, see :class:`dir.metrics.ShotMetrics`. The default counts rows
            per bin: many above 100, few below 20.

    Raises:
        ValueError: an unknown group, or wrong thresholds.

    Example:
        >>> import numpy as np
        >>> from sklearn.dummy import DummyRegressor
        >>> X, y = np.zeros((130, 1)), np.array([0.0] * 125 + [4.0] * 5)
        >>> model = DummyRegressor(strategy="constant", constant=1.0).fit(X, y)
        >>> [shot_mae_scorer(y, group)(model, X, y) for group in ("many", "few")]
        [-1.0, -3.0]
    """
    check_choice("group", group, SHOTS)
    bins = _bins(y, num_bins)
    groups = {"many": many, "few": few, "by": by}
    counts = bins.counts(_labels(y))
    shot_of_bins(counts, bins.num_bins, many, few, by=by, edges=bins.edges)  # checks the thresholds
    return make_scorer(_shot_mae, greater_is_better=False, bins=bins, counts=counts, group=group, groups=groups)


def _labels(y: ArrayLike) -> Tensor:
    return torch.from_numpy(checked_labels(y).astype("float64"))


def _bins(y: ArrayLike, num_bins: int) -> LabelBins:
    check_integer("num_bins", num_bins)
    return label_bins(_labels(y), num_bins)


def _balanced_mae(y_true: Any, y_pred: Any, bins: LabelBins) -> float:
    return float(balanced_mae(y_pred, y_true, bins))


def _shot_mae(y_true: Any, y_pred: Any, bins: LabelBins, counts: Tensor, group: str, groups: dict[str, Any]) -> float:
    return float(shot_metrics(y_pred, y_true, bins, counts, ["mae"], **groups)[group]["mae"])
