"""SMOGN: SMOTER between rows that are close, Gaussian noise around those that are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir.resampling.base import Resampler, check_count, check_positive
from dir.resampling.bumps import Bump, RelevanceLike, Strategy, find_bumps, resample_bumps
from dir.resampling.synthesis import draw_neighbours, heom_space, interpolate, perturb
from dir.resampling.table import Categorical, Synthetic, Table


class SMOGN(Resampler):
    """Under-sample the common labels, and add rare rows: between close neighbours, or by noise around a row.

    As :class:`~dir.resampling.SMOTER`, but only where the drawn neighbour is nearer than half the median distance
    of the row's k nearest neighbours; elsewhere the row itself with Gaussian noise of
    ``min(pert, that distance)`` standard deviations of its bump.

    Args:
        relevance: a :class:`dir.relevance.Relevance`, fitted to y here unless it is fitted; None (default): the box
            plot's.
        threshold: relevance from which a label is rare, in (0, 1]. Default 0.8.
        strategy: "balance" (default) gives all bumps one size; "extreme" turns the sizes around.
        k: neighbours to draw from, >= 1. A bump with fewer other rows takes those; a bump of one row is copied.
        pert: amount of noise in standard deviations, > 0. Default 0.02.
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
        check_count("k", self.k)
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
