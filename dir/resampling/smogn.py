"""SMOGN: SMOTER between close rows, Gaussian noise around the other rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_integer, check_positive
from dir.resampling.base import Resampler
from dir.resampling.bumps import Bump, RelevanceLike, Strategy, find_bumps, resample_bumps
from dir.resampling.synthesis import draw_neighbours, heom_space, interpolate, perturb
from dir.resampling.table import Categorical, Synthetic, Table


class SMOGN(Resampler):
    """Drop rows with frequent labels, and add rare rows between close neighbours, or with noise around a row.

    If the drawn neighbour is nearer than half the median distance of the row's k nearest neighbours, the new row is
    made as in :class:`~dir.resampling.SMOTER`. Otherwise it is the row itself with Gaussian noise of
    ``min(pert, half that median)`` standard deviations of its bump.

    Args:
        relevance, threshold, strategy, k, pert, under_sample, categorical, random_state: see
            :class:`~dir.resampling.base.Resampler`, also for State and Raises.

    Example:
        >>> rng = np.random.RandomState(0)
        >>> X, y = rng.randn(200, 3), rng.exponential(size=200)
        >>> X_new, y_new = SMOGN(random_state=0).fit_resample(X, y)
        >>> len(y_new), float(np.mean(y > 4)) < float(np.mean(y_new > 4))
        (200, True)

    Reference:
        Branco, Torgo and Ribeiro, SMOGN: a Pre-processing Approach for Imbalanced Regression, PMLR 74, 2017, Alg. 1.
    """

    def __init__(
        self,
        relevance: RelevanceLike | None = None,
        threshold: float = 0.8,
        strategy: Strategy = "balance",
        k: int = 5,
        pert: float = 0.02,
        under_sample: bool = True,
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.relevance = relevance
        self.threshold = threshold
        self.strategy = strategy
        self.k = k
        self.pert = pert
        self.under_sample = under_sample
        self.categorical = categorical
        self.random_state = random_state

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        check_integer("k", self.k)
        check_positive("pert", self.pert)
        points = heom_space(table)
        fresh: list[Synthetic] = []

        def grow(bump: Bump, bases: NDArray[np.int64]) -> None:
            if len(bump.rows) == 1:
                fresh.append(perturb(table, bump.rows, bases, 0.0, rng))
                return
            near = draw_neighbours(points, bump.rows, bases, self.k, rng)
            reach = np.median(near.distances, axis=1) / 2
            close = near.distances[np.arange(len(bases)), near.chosen] < reach
            fresh.append(interpolate(table, points, bases[close], near.rows[close], rng))
            fresh.append(perturb(table, bump.rows, bases[~close], np.minimum(self.pert, reach[~close]), rng))

        bumps = find_bumps(table.labels, phi, self.threshold)
        return resample_bumps(bumps, self.strategy, rng, under=self.under_sample, grow=grow), fresh
