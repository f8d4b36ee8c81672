"""REBAGG: bagging on samples with a chosen share of rare labels."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d

from dir._checks import check_choice, check_integer
from dir.resampling.bumps import Bump, RelevanceLike, find_bumps, relevance_values
from dir.resampling.smoter import between_neighbours
from dir.resampling.synthesis import heom_space
from dir.resampling.table import Categorical, Synthetic, Table

Sampling = Literal["balance", "balance.SMT", "variation", "variation.SMT"]

_SHARES = (1 / 3, 2 / 5, 1 / 2, 3 / 5, 2 / 3)


class REBAGG(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Resampled bagging: an average of regressors, each fitted to a sample with many rare labels.

    A sample has as many rows as the training set, and a share of them is rare. Frequent and rare rows are drawn with
    replacement. Under ".SMT" the rare rows are the original ones, and new rows as in :class:`~dir.resampling.SMOTER`
    if there are too few.

    Args:
        estimator: a scikit-learn regressor, cloned for each sample. None (default): DecisionTreeRegressor().
        n_estimators: number of regressors, >= 1. Default 20.
        sampling: "balance" and "balance.SMT": half of a sample is rare. "variation" and "variation.SMT"
            (default): the share is drawn for each sample from 1/3, 2/5, 1/2, 3/5 and 2/3.
        relevance, threshold, k, categorical: see :class:`~dir.resampling.base.Resampler`.
        random_state: seed, RandomState or None, of the samples and of the regressors that have a random state.

    State:
        After ``fit``: estimators_, relevance_, n_features_in_, and feature_names_in_ for a frame with text names.

    Raises:
        ValueError: for bad arguments, missing values, and labels of which none or all are rare.
        NotFittedError: by ``predict`` before ``fit``.

    Example:
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(200, 3)
        >>> y = np.exp(X[:, 0])
        >>> model = REBAGG(n_estimators=5, sampling="balance", random_state=0).fit(X, y)
        >>> model.predict(X).shape
        (200,)

    Reference:
        Branco, Torgo and Ribeiro, REBAGG: REsampled BAGGing for Imbalanced Regression, PMLR 94, 2018.
    """

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 20,
        sampling: Sampling = "variation.SMT",
        relevance: RelevanceLike | None = None,
        threshold: float = 0.8,
        k: int = 5,
        categorical: Categorical = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.sampling = sampling
        self.relevance = relevance
        self.threshold = threshold
        self.k = k
        self.categorical = categorical
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> REBAGG:  # noqa: N803
        """Fit one regressor per sample and return self."""
        check_choice("sampling", self.sampling, get_args(Sampling))
        check_integer("n_estimators", self.n_estimators)
        check_integer("k", self.k)
        if y is None:
            raise ValueError("REBAGG requires y to be passed, but the target y is None")
        rng = check_random_state(self.random_state)
        table = Table(
            _array(X), y if hasattr(y, "iloc") and y.ndim == 1 else column_or_1d(y, warn=True), self.categorical
        )
        self.relevance_, phi = relevance_values(self.relevance, table.labels)
        bumps = find_bumps(table.labels, phi, self.threshold)
        # Neighbours are only needed to make new rows.
        points = heom_space(table) if self.sampling.endswith(".SMT") else table.numbers
        self.n_features_in_ = table.X.shape[1]
        if table.framed and all(isinstance(name, str) for name in table.X.columns):
            self.feature_names_in_ = table.X.columns.to_numpy(dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        base = DecisionTreeRegressor() if self.estimator is None else self.estimator
        self.estimators_ = []
        for _ in range(self.n_estimators):
            kept, fresh = self._sample(table, bumps, points, rng)
            model = clone(base)
            # In the order of their names, including the steps of a pipeline.
            seeded = [name for name in sorted(model.get_params()) if f"__{name}".endswith("__random_state")]
            model.set_params(**{name: rng.randint(2**31 - 1) for name in seeded})
            self.estimators_.append(model.fit(*table.take(kept, fresh)))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the mean of the regressors' predictions [N]."""
        check_is_fitted(self)
        rows = _array(X)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but REBAGG is expecting {self.n_features_in_} features as input"
            )
        return np.mean([model.predict(rows) for model in self.estimators_], axis=0)  # type: ignore[no-any-return]

    def _sample(
        self, table: Table, bumps: list[Bump], points: NDArray[np.float64], rng: np.random.RandomState
    ) -> tuple[NDArray[np.int64], list[Synthetic]]:
        kind, _, synthetic = self.sampling.partition(".")
        share = 0.5 if kind == "balance" else rng.choice(_SHARES)
        rare = [bump.rows for bump in bumps if bump.rare]
        rows = np.concatenate(rare)
        wanted = max(1, round(share * len(table.labels)))
        common = np.concatenate([bump.rows for bump in bumps if not bump.rare])
        drawn = rng.choice(common, len(table.labels) - wanted)
        if not synthetic:
            return np.concatenate([drawn, rng.choice(rows, wanted)]), []
        if wanted <= len(rows):
            return np.concatenate([drawn, rng.choice(rows, wanted, replace=False)]), []
        bases = rng.choice(rows, wanted - len(rows))
        # A new row lies between two rows of one bump, never between a rare low label and a rare high label.
        parts = [(bump, bases[np.isin(bases, bump)]) for bump in rare]
        fresh = [between_neighbours(table, points, bump, own, self.k, rng) for bump, own in parts if len(own)]
        return np.concatenate([drawn, rows]), fresh


def _array(X: Any) -> Any:  # noqa: N803
    """Return a frame unchanged, and anything else as an array checked by scikit-learn."""
    return X if hasattr(X, "iloc") else check_array(X, dtype=None)
