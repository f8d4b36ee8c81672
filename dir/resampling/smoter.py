"""SMOTER: fewer frequent rows, and new rare rows between neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_integer
from dir.resampling.base import Resampler
from dir.resampling.bumps import Bump, RelevanceLike, Strategy, find_bumps, resample_bumps
from dir.resampling.synthesis import draw_neighbours, heom_space, interpolate, perturb
from dir.resampling.table import Categorical, Synthetic, Table


class SMOTER(Resampler):
    """Drop rows with frequent labels, and add rows that lie between a rare row and one of its neighbours.

    Rows are sorted by label and cut into bumps where the relevance crosses the threshold. A bump that should shrink
    loses rows at random. A bump that should grow keeps its rows; each new row lies between one of them and one of its
    k nearest neighbours (distance HEOM) in the same bump. Each number is drawn between the numbers of the two rows;
    the label is the mean of the two labels, weighted by nearness.

    Args:
        relevance, threshold, strategy, k, under_sample, categorical, random_state: see
            :class:`~dir.resampling.base.Resampler`, also for State and Raises.

    Example:
        >>> rng = np.random.RandomState(0)
        >>> X, y = rng.randn(200, 3), rng.exponential(size=200)
        >>> X_new, y_new = SMOTER(random_state=0).fit_resample(X, y)
        >>> len(y_new), float(np.mean(y > 4)) < float(np.mean(y_new > 4))
        (200, True)

    Reference:
        Torgo, Ribeiro, Pfahringer and Branco, SMOTE for Regression, EPIA 2013, Alg. 1 and 2. Departure:
        one size per bump instead of the user's percentages, as in the authors' later package.
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
        check_integer("k", self.k)
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
    """Return new rows between the bases and neighbours of their bump; copies if there is no neighbour."""
    if len(bump) == 1:
        return perturb(table, bump, bases, 0.0, rng)
    return interpolate(table, points, bases, draw_neighbours(points, bump, bases, k, rng).rows, rng)
