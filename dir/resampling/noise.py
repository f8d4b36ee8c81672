"""GaussianNoise: fewer frequent rows, and noisy copies of rare rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_positive
from dir.resampling.base import Resampler
from dir.resampling.bumps import Bump, RelevanceLike, Strategy, find_bumps, resample_bumps
from dir.resampling.synthesis import perturb
from dir.resampling.table import Categorical, Synthetic, Table


class GaussianNoise(Resampler):
    r"""Drop rows with frequent labels, and add rare rows with Gaussian noise on their numbers and labels.

    .. math:: x'_a = x_a + \epsilon, \qquad \epsilon \sim N(0, (\delta\, s_a)^2)

    with :math:`s_a` the standard deviation of the column in the bump. Categories are drawn with their frequencies in
    the bump. Columns without a negative number get none.

    Args:
        relevance, threshold, strategy, under_sample, categorical, random_state: see
            :class:`~dir.resampling.base.Resampler`, also for State and Raises.
        pert: amount of noise :math:`\delta`, > 0. Default 0.02.

    Example:
        >>> rng = np.random.RandomState(0)
        >>> X, y = rng.randn(200, 3), rng.exponential(size=200)
        >>> X_new, y_new = GaussianNoise(random_state=0).fit_resample(X, y)
        >>> len(y_new), float(np.mean(y > 4)) < float(np.mean(y_new > 4))
        (200, True)

    Reference:
        Branco, Torgo and Ribeiro, Pre-processing approaches for imbalanced distributions in regression,
        Neurocomputing 343, 2019, Sec. 3.4.
    """

    def __init__(
        self,
        relevance: RelevanceLike | None = None,
        threshold: float = 0.8,
        strategy: Strategy = "balance",
        pert: float = 0.02,
        under_sample: bool = True,
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.relevance = relevance
        self.threshold = threshold
        self.strategy = strategy
        self.pert = pert
        self.under_sample = under_sample
        self.categorical = categorical
        self.random_state = random_state

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        check_positive("pert", self.pert)
        fresh: list[Synthetic] = []

        def grow(bump: Bump, bases: NDArray[np.int64]) -> None:
            fresh.append(perturb(table, bump.rows, bases, self.pert, rng))

        bumps = find_bumps(table.labels, phi, self.threshold)
        return resample_bumps(bumps, self.strategy, rng, under=self.under_sample, grow=grow), fresh
