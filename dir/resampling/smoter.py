"""SMOTER: fewer common rows, and new rare ones between neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir.resampling.base import Resampler, check_count
from dir.resampling.bumps import Bump, RelevanceLike, Strategy, find_bumps, resample_bumps
from dir.resampling.synthesis import draw_neighbours, heom_space, interpolate, perturb
from dir.resampling.table import Categorical, Synthetic, Table


class SMOTER(Resampler):
    """Under-sample the common labels, and add rare rows that lie between a rare row and a near one.

    Rows are sorted by label and cut into bumps where the relevance crosses the threshold. A bump that should shrink
    loses rows at random; one that should grow keeps its rows, and every new row lies between one of them
    and one of its k nearest neighbours (distance HEOM) in the same bump. Numbers are drawn anew for every
    column; the label is the mean of the two, weighted by nearness.

    Args:
        relevance: a :class:`dir.relevance.Relevance`, fitted to y here unless it is fitted; None (default): the box
            plot's.
        threshold: relevance from which a label is rare, in (0, 1]. Default 0.8.
        strategy: "balance" (default) gives all bumps one size; "extreme" turns the sizes around.
        k: neighbours to draw from, >= 1. A bump with fewer other rows takes those; a bump of one row is copied.
        under_sample: False keeps all common rows. Default True.
        categorical: "auto" (default): a frame's columns of type category, text, object or bool; or a mask, positions
            or names; None: no column.
        random_state: seed, RandomState or None.

    State:
        After ``fit_resample``: relevance_, sample_indices_ (rows kept), n_features_in_.

    Raises:
        ValueError: bad arguments; missing values; no label, or every label, rare.

    Example:
        >>> rng = np.random.RandomState(0)
        >>> X, y = rng.randn(200, 3), rng.exponential(size=200)
        >>> X_new, y_new = SMOTER(random_state=0).fit_resample(X, y)
        >>> len(y_new), float(np.mean(y > 4)) < float(np.mean(y_new > 4))
        (200, True)

    Reference:
        Torgo, Ribeiro, Pfahringer and Branco, SMOTE for Regression, EPIA 2013, Alg. 1 and 2. Departure:
        one size per bump instead of percentages given by the user, as in the authors' later package.
    """

    def __init__(
        self,
        relevance: RelevanceLike | None = None,
        threshold: float = 0.8,
        strategy: Strategy = "balance",
        k: int = 5,
        under_sample: bool = True,
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.relevance = relevance
        self.threshold = threshold
        self.strategy = strategy
        self.k = k
        self.under_sample = under_sample
        self.categorical = categorical
        self.random_state = random_state

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        check_count("k", self.k)
        points = heom_space(table)
        fresh: list[Synthetic] = []

        def grow(bump: Bump, bases: NDArray[np.int64]) -> None:
            fresh.append(between_neighbours(table, points, bump.rows, bases, self.k, rng))

        bumps = find_bumps(table.labels, phi, self.threshold)
        return resample_bumps(bumps, self.strategy, rng, under=self.under_sample, grow=grow), fresh


def between_neighbours(
    table: Table,
    points: NDArray[np.float64],
    bump: NDArray[np.int64],
    bases: NDArray[np.int64],
    k: int,
    rng: np.random.RandomState,
) -> Synthetic:
    """New rows between bases and neighbours of their bump; copies where there is no neighbour."""
    if len(bump) == 1:
        return perturb(table, bump, bases, 0.0, rng)
    return interpolate(table, points, bases, draw_neighbours(points, bump, bases, k, rng).rows, rng)
