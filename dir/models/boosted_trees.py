"""BoostedTrees, gradient-boosted trees whose number is chosen on validation rows, and HistGBDT of scikit-learn."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone

from dir._checks import as_integer, check_choice, check_integer, check_interval, message
from dir.models.tree_ensemble import from_hist_gbdt

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

Monitor = Literal["mse", "mae"]
_CHUNK = 50  # after so many further trees HistGBDT decides whether to go on


class Rows(NamedTuple):
    """Rows [N, D] of a table, their labels [N], their weights [N] or None, and how many first columns are codes."""

    inputs: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[np.float64] | None
    categories: int = 0


class BoostedTrees(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the boosted trees: a subclass implements ``_fit`` and has the arguments below.

    Training stops when ``patience`` further trees have not improved the error on the validation rows, and the number
    of trees with the lowest error is kept.

    Args:
        max_iter: largest number of trees, >= 1.
        patience: further trees without improvement after which training stops, >= 1.
        monitor: error on the validation rows, "mse" or "mae".
        random_state: seed of the library.

    State:
        After ``fit``: ``trees_`` predicts; ``best_iteration_`` is the number of trees kept, and ``iterations_`` the
        number of trees trained.
    """

    package: ClassVar[str]
    # Largest number of categories in a column of codes; 0: the trees take no codes, None: any number will do.
    max_categories: ClassVar[int | None] = 0
    max_iter: int
    patience: int
    monitor: Monitor
    random_state: int | None
    trees_: Any
    iterations_: int
    best_iteration_: int

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike,  # noqa: N803
        y_val: ArrayLike,
        categories: int = 0,
    ) -> Self:
        """Fit the trees and return self.

        Args:
            X, y: training rows [N, D] without missing values, and their labels [N].
            sample_weight: weights [N] of the training rows. Default: all 1. Validation rows have no weights.
            X_val, y_val: validation rows, which choose the number of trees and are not trained on.
            categories: so many first columns hold codes of categories, from 1 on; the code 0 is a missing or unknown
                category. A node splits the categories of a column into two sets. Default 0: all columns are numbers.

        Raises:
            ImportError: the library is not installed.
            ValueError: an argument outside its range, or columns of codes that the trees do not take.
        """
        self.check()
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        train = Rows(np.asarray(X), np.asarray(y), weight, as_integer("categories", categories, minimum=0))
        if categories > train.inputs.shape[1]:
            raise ValueError(message("categories", f"expected at most {train.inputs.shape[1]} columns", categories))
        for column in range(categories):
            codes = train.inputs[:, column]
            self.check_categories(f"column {column}", len(np.unique(codes[codes > 0])))
        self._fit(train, Rows(np.asarray(X_val), np.asarray(y_val), None, categories))
        return self

    def check_categories(self, column: str, number: int) -> None:
        """Raise a ValueError if the trees take no column of so many categories."""
        limit, name = self.max_categories, type(self).__name__
        advice = "Choose method=lightgbm, or set data.categories=onehot."
        if limit == 0:
            raise ValueError(message("data.categories", f"{name} takes no codes of categories", column, advice))
        if limit is not None and number > limit:
            problem = f"{name} takes at most {limit} categories in a column; {column} has"
            raise ValueError(message("data.categories", problem, number, advice))

    def check(self, prefix: str = "") -> None:
        """Check the arguments, and that the library is installed.

        Args:
            prefix: stands before the names of the arguments in messages.

        Raises:
            ImportError: the library is not installed.
            ValueError: an argument outside its range.
        """
        if importlib.util.find_spec(self.package) is None:
            advice = 'pip install "deep-imbalanced-regression[trees]".'
            name = f"dir.models.{type(self).__name__}"
            raise ImportError(message(name, f"needs the package {self.package}", advice=advice))
        check_integer(f"{prefix}max_iter", self.max_iter)
        check_integer(f"{prefix}patience", self.patience)
        check_choice(f"{prefix}monitor", self.monitor, ("mse", "mae"))

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the predictions [N]."""
        predictions: NDArray[np.float64] = self.trees_.predict(np.asarray(X))
        return predictions

    def _fit(self, train: Rows, val: Rows) -> None:
        """Set ``trees_``, ``iterations_`` and ``best_iteration_``."""
        raise NotImplementedError(f"{type(self).__name__} must implement _fit()")


class HistGBDT(BoostedTrees):
    """Histogram-based gradient boosting of scikit-learn.

    scikit-learn's own early stopping keeps the trees after the best one, and before version 1.7 it takes its
    validation rows from the training rows. This class reads the error after each tree from ``staged_predict``.

    Args:
        learning_rate, max_leaf_nodes, min_samples_leaf, l2_regularization: see
            :class:`sklearn.ensemble.HistGradientBoostingRegressor`.
        max_iter, patience, monitor, random_state: see :class:`BoostedTrees`.
        quantile: q in (0, 1): the trees predict this quantile of the label, and its pinball loss on the validation
            rows chooses their number, in place of ``monitor``. None (default): the mean.

    Example:
        >>> X = np.linspace(0, 1, 200)[:, None]
        >>> trees = HistGBDT(max_iter=100).fit(X, X[:, 0] > 0.5, X_val=X[::2], y_val=X[::2, 0] > 0.5)
        >>> trees.predict([[0.2], [0.8]]).round(2).tolist()
        [0.0, 1.0]
    """

    package = "sklearn"
    max_categories = 255  # the bins of a column

    def __init__(
        self,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_iter: int = 2000,
        patience: int = 50,
        monitor: Monitor = "mse",
        random_state: int | None = None,
        quantile: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_iter = max_iter
        self.patience = patience
        self.monitor = monitor
        self.random_state = random_state
        self.quantile = quantile

    def check(self, prefix: str = "") -> None:
        super().check(prefix)
        if self.quantile is not None:
            check_interval(f"{prefix}quantile", self.quantile, "(0, 1)")

    def _fit(self, train: Rows, val: Rows) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        known = [np.unique(train.inputs[:, column]).astype(np.int64) for column in range(train.categories)]
        known = [codes[codes > 0] for codes in known]
        train_inputs, val_inputs = (_places(rows.inputs, known) for rows in (train, val))
        plain = HistGradientBoostingRegressor(
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            l2_regularization=self.l2_regularization,
            early_stopping=False,
            loss="squared_error" if self.quantile is None else "quantile",
            quantile=self.quantile,
            random_state=self.random_state,
            categorical_features=range(train.categories) if train.categories else None,
        )
        growing = clone(plain).set_params(warm_start=True)
        errors: list[float] = []
        while (number := self._number_to_train(errors)) is None:
            # scikit-learn bins the rows and predicts all of them again each time: grow by a third, not by a chunk.
            further = _CHUNK * max(1, len(errors) // (3 * _CHUNK))
            growing.set_params(max_iter=min(len(errors) + further, self.max_iter))
            growing.fit(train_inputs, train.labels, sample_weight=train.weights)
            staged = growing.staged_predict(val_inputs)
            errors = [self._error(val.labels - predictions) for predictions in staged]
        errors = errors[:number]
        self.iterations_, self.best_iteration_ = len(errors), _best(errors)
        # Boosting without random choices: the same trees again, without those after the best one.
        plain.set_params(max_iter=self.best_iteration_)
        plain.fit(train_inputs, train.labels, sample_weight=train.weights)
        self.trees_ = from_hist_gbdt(plain, known) if known else plain

    def _number_to_train(self, errors: list[float]) -> int | None:
        """Return the number of trees after which training stops, or None if it needs more errors than these."""
        for trees in range(_CHUNK, len(errors) + 1, _CHUNK):
            if trees - _best(errors[:trees]) >= self.patience:
                return trees
        return len(errors) if len(errors) == self.max_iter else None

    def _error(self, residuals: NDArray[Any]) -> float:
        """Return the error on the validation rows, from labels minus predictions."""
        if self.quantile is not None:
            return float(np.maximum(self.quantile * residuals, (self.quantile - 1) * residuals).mean())
        return float((residuals**2 if self.monitor == "mse" else np.abs(residuals)).mean())


def _best(errors: list[float]) -> int:
    """Return the number of trees with the lowest error, 0 for no trees."""
    return int(np.argmin(errors)) + 1 if errors else 0


def _places(inputs: NDArray[Any], known: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
    """Return the inputs with the place among the known codes in place of each code, NaN for other codes."""
    if not known:
        return inputs
    placed = inputs.astype(np.float64)
    for column, codes in enumerate(known):
        place = np.searchsorted(codes, placed[:, column])
        found = np.append(codes, -1)[place] == placed[:, column]
        placed[:, column] = np.where(found, place, np.nan)
    return placed
