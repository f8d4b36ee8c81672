"""WERCS: rows repeated and dropped with probabilities that follow their relevance; no threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir.resampling.base import Resampler
from dir.resampling.bumps import RelevanceLike
from dir.resampling.table import Categorical, Synthetic, Table


class WERCS(Resampler):
    r"""Weighted relevance-based combination: drop rows with probability :math:`\propto 1 - \phi(y)`, repeat rows with
    probability :math:`\propto \phi(y)`.

    Args:
        relevance: a :class:`dir.relevance.Relevance`, fitted to y here unless it is fitted; None (default): the box
            plot's.
        over: repeated rows, as a share of all, >= 0; drawn with replacement. Default 0.5.
        under: dropped rows, as a share of all, in [0, 1]; rows of relevance 1 are never dropped, which may leave
            more rows than asked for. Default 0.5.
        categorical: see :class:`~dir.resampling.SMOTER`; only tells the checks which columns may hold text.
        random_state: seed, RandomState or None.

    State:
        After ``fit_resample``: relevance_, sample_indices_ (rows returned), n_features_in_.

    Raises:
        ValueError: bad arguments; missing values; a relevance that is 0 everywhere.

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
        if not self.over >= 0:
            raise ValueError(f"over must be 0 or more, got {self.over}")
        if not 0 <= self.under <= 1:
            raise ValueError(f"under must lie in [0, 1], got {self.under}")
        if not phi.any():
            raise ValueError(
                "the relevance of every label is 0, so none can be repeated: give a relevance that rises where "
                "labels matter: Relevance('adjbox'), a smaller coef, or Relevance.from_points"
            )
        count = len(phi)
        common = 1 - phi
        droppable = min(int(self.under * count), int((common > 0).sum()))
        kept = np.arange(count)
        if droppable:
            kept = np.delete(kept, rng.choice(count, droppable, replace=False, p=common / common.sum()))
        repeated = rng.choice(count, int(self.over * count), p=phi / phi.sum())
        return np.concatenate([kept, repeated]), []
