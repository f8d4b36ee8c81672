"""Base class of the resamplers: shared parameters, reading of X and y, and the relevance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from dir.resampling.bumps import RelevanceLike, relevance_values
from dir.resampling.table import Categorical, Synthetic, Table


class Resampler(BaseEstimator):  # type: ignore[misc]
    """Scikit-learn estimator with ``fit_resample``; a subclass chooses the rows to keep and the rows to add.

    The bumps are the stretches of the sorted labels in which the relevance stays on one side of the threshold.

    Args:
        relevance: a :class:`dir.relevance.Relevance`. An unfitted one is copied and fitted to y. None (default): the
            relevance of the box plot.
        threshold: relevance from which a label is rare, in (0, 1]. Default 0.8.
        strategy: "balance" (default) gives all bumps the same size; "extreme" exchanges large and small sizes.
        k: number of nearest neighbours to draw from, >= 1. A bump of k rows or fewer offers all its other rows; a
            bump of one row is copied. Default 5.
        pert: amount of Gaussian noise in standard deviations, > 0. Default 0.02.
        under_sample: whether frequent rows are dropped. Default True.
        categorical: "auto" (default) takes a frame's columns of type category, text, object or bool, and no column of
            an array. Otherwise a mask over the columns, a list of positions, or a list of a frame's names; None for
            no column.
        random_state: seed, RandomState or None.

    State:
        After ``fit_resample``: relevance_ (fitted), sample_indices_ (original rows returned), n_features_in_.

    Raises:
        ValueError: for bad arguments, missing values, and labels of which none or all are rare.
    """

    relevance: RelevanceLike | None
    categorical: Categorical
    random_state: Any

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803
        """Resample a training set.

        Args:
            X: [N, D] array or data frame, without missing values.
            y: [N] labels.

        Returns:
            X and y in the types that were given: the kept rows in their order, then the synthetic rows.
        """
        rng = check_random_state(self.random_state)
        table = Table(X, y, self.categorical)
        self.relevance_, phi = relevance_values(self.relevance, table.labels)
        self.n_features_in_ = table.X.shape[1]
        kept, fresh = self._rows(table, phi, rng)
        self.sample_indices_ = kept
        return table.take(kept, fresh)

    def _rows(
        self, table: Table, phi: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        """Return the original rows to keep, and the synthetic rows."""
        raise NotImplementedError
