"""WERCS: rows are repeated and dropped with probabilities given by their relevance, without a threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_interval, check_not_negative, message
from dir.relevance import suggested_points
from dir.resampling.base import Resampler
from dir.resampling.bumps import RelevanceLike
from dir.resampling.table import Categorical, Synthetic, Table


class WERCS(Resampler):
    r"""Weighted relevance-based combination: drop rows with probability :math:`\propto 1 - \phi(y)`, repeat rows with
    probability :math:`\propto \phi(y)`.

    Args:
        over: number of repeated rows, as a share of all rows, >= 0; drawn with replacement. Default 0.5.
        under: number of dropped rows, as a share of all rows, in [0, 1]. Rows of relevance 1 are never dropped, so
            that fewer rows may be dropped. Default 0.5.
        categorical: columns that may hold text; the sampling does not use them.
        relevance, random_state: see :class:`~dir.resampling.base.Resampler`, also for State and Raises. A relevance
            that is 0 for every label is a ValueError.

    Example:
        >>> X, y = np.zeros((100, 1)), np.arange(100.0) ** 6
        >>> X_new, y_new = WERCS(over=0.2, random_state=0).fit_resample(X, y)
        >>> len(y_new)
        70

    Reference:
        Branco, Torgo and Ribeiro, Pre-processing approaches for imbalanced distributions in regression,
        Neurocomputing 343, 2019, Sec. 3.6.
    """

    def __init__(
        self,
        relevance: RelevanceLike | None = None,
        over: float = 0.5,
        under: float = 0.5,
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.relevance = relevance
        self.over = over
        self.under = under
        self.categorical = categorical
        self.random_state = random_state

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        check_not_negative("over", self.over)
        check_interval("under", self.under, "[0, 1]")
        if not phi.any():
            raise ValueError(
                message(
                    "relevance",
                    "the relevance of every label is 0, so that no row can be repeated",
                    advice="Give a relevance that is high for rare labels: Relevance('adjbox'), a smaller coef, or "
                    f"{suggested_points(table.labels)}.",
                )
            )
        count = len(phi)
        common = 1 - phi
        droppable = min(int(self.under * count), int((common > 0).sum()))
        kept = np.arange(count)
        if droppable:
            kept = np.delete(kept, rng.choice(count, droppable, replace=False, p=common / common.sum()))
        repeated = rng.choice(count, int(self.over * count), p=phi / phi.sum())
        return np.concatenate([kept, repeated]), []
