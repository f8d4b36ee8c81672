"""What the resamplers share: parameters, the reading of X and y, and the relevance."""

from __future__ import annotations

from numbers import Integral
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
    """Raise a ValueError unless the value is finite and above 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be > 0 and finite, got {value}")


def check_count(name: str, value: int) -> None:
    """Raise a ValueError unless the value is a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
