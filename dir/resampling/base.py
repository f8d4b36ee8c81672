"""What the resamplers share: parameters, the reading of X and y, and the relevance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from dir.resampling.bumps import RelevanceLike, relevance_values
from dir.resampling.table import Categorical, Synthetic, Table


class Resampler(BaseEstimator):  # type: ignore[misc]
    """A scikit-learn estimator with ``fit_resample``; a subclass says which rows stay and which come."""

    relevance: RelevanceLike | None
    categorical: Categorical
    random_state: Any

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803
        """Resample a training set.

        Args:
            X: [N, D] array or data frame, without missing values.
            y: [N] labels.

        Returns:
            X and y in the kind and types in which they came: kept rows in their order, then synthetic ones.
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
        """Original rows to return, and synthetic ones."""
        raise NotImplementedError


def check_positive(name: str, value: float) -> None:
    """Raise a ValueError unless the value is above 0."""
    if not value > 0:
        raise ValueError(f"{name} must be > 0, got {value}")
