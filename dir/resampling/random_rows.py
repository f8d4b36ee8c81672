"""Random under- and over-sampling: rows are dropped or repeated, and no new row is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir.resampling.base import Resampler
from dir.resampling.bumps import Bump, RelevanceLike, Strategy, find_bumps, resample_bumps
from dir.resampling.table import Categorical, Synthetic, Table


class RandomUnderSampler(Resampler):
    """Drop rows with frequent labels at random, and keep all rare rows.

    Args:
        strategy: "balance" (default) shrinks a bump to the mean size of the bumps; "extreme" shrinks large ones more.
        categorical: columns that may hold text; the sampling does not use them.
        relevance, threshold, random_state: see :class:`~dir.resampling.base.Resampler`, also for State and Raises.

    Example:
        >>> X, y = np.zeros((100, 1)), np.arange(100.0) ** 6
        >>> X_new, y_new = RandomUnderSampler(random_state=0).fit_resample(X, y)
        >>> len(y_new)
        68

    Reference:
        Torgo, Branco, Ribeiro and Pfahringer, Resampling strategies for regression, Expert Systems 32, 2015.
    """

    def __init__(
        self,
        relevance: RelevanceLike | None = None,
        threshold: float = 0.8,
        strategy: Strategy = "balance",
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.relevance = relevance
        self.threshold = threshold
        self.strategy = strategy
        self.categorical = categorical
        self.random_state = random_state

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        return resample_bumps(find_bumps(table.labels, phi, self.threshold), self.strategy, rng), []


class RandomOverSampler(Resampler):
    """Repeat rows with rare labels, drawn with replacement, and keep all rows.

    Args:
        strategy: "balance" (default) grows a bump to the mean size of the bumps; "extreme" grows small ones more.
        categorical: columns that may hold text; the sampling does not use them.
        relevance, threshold, random_state: see :class:`~dir.resampling.base.Resampler`, also for State and Raises.

    Example:
        >>> X, y = np.zeros((100, 1)), np.arange(100.0) ** 6
        >>> X_new, y_new = RandomOverSampler(random_state=0).fit_resample(X, y)
        >>> len(y_new)
        131

    Reference:
        Branco, Torgo and Ribeiro, Pre-processing approaches for imbalanced distributions in regression,
        Neurocomputing 343, 2019, Sec. 3.2.
    """

    def __init__(
        self,
        relevance: RelevanceLike | None = None,
        threshold: float = 0.8,
        strategy: Strategy = "balance",
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.relevance = relevance
        self.threshold = threshold
        self.strategy = strategy
        self.categorical = categorical
        self.random_state = random_state

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        repeated = []

        def grow(bump: Bump, bases: NDArray[np.int64]) -> None:
            repeated.append(rng.choice(bump.rows, len(bases)))

        bumps = find_bumps(table.labels, phi, self.threshold)
        kept = resample_bumps(bumps, self.strategy, rng, under=False, grow=grow)
        return np.concatenate([kept, *repeated]), []
