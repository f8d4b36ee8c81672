"""TargetPower: any classifier over cells of the label range as a regressor, corrected by the label density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone, is_classifier
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from dir._checks import check_choice, check_integer, check_interval, message
from dir.cells import LabelCells
from dir.distribution import CellDistribution, Point
from dir.prior import LabelPrior, adjust
from dir.sklearn.distributions import DistributionMixin, balanced_power, check_power
from dir.sklearn.inputs import checked_labels, checked_weights, label_bins, tags_around
from dir.sklearn.splitting import validation_rows
from dir.sklearn.weight_route import fit_weighted

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class TargetPower(DistributionMixin, MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Predict a distribution of the label, and correct it by a power of the label density.

    .. math:: p_t(k \mid x) \propto p(k \mid x) \, \pi_k^{-t}

    with k the cells of a grid over the label range, :math:`\pi` their training density
    (:class:`dir.prior.LabelPrior`) and t the power. Power 0 is the plain model, 1 predicts as if all labels were
    equally frequent, and the powers between trade frequent labels for rare ones. ``predict(X, power=...)`` moves
    along this curve without another fit.

    A classifier is fitted to the cell of each label, and its ``predict_proba`` is the distribution. A regressor with
    ``predict_distribution(X, power)``, such as :class:`dir.sklearn.ImbalancedRegressor` with
    ``method="histogram_prior"``, keeps its own cells and density.

    With ``power="auto"``, a copy of the model is fitted without validation rows, which are balanced over the label
    range, and the power with the lowest balanced MAE on these rows is taken. The model is then fitted to all rows.

    ``X`` is passed on as it is. Rows, labels and weights belong together by position, and the index of pandas is
    ignored. Predictions are an array in the order of the rows.

    Args:
        estimator: classifier with ``predict_proba``, also at the end of a ``Pipeline`` or in a search; or a regressor
            with ``predict_distribution``. It is cloned.
        power: t, a number >= 0, or ``"auto"`` (default).
        num_cells: cells of a classifier, K >= 2. Cells without training labels are no class. Whole numbers with a
            range below K lie in the middle of their cells; labels with a long tail are given cells that are even in
            their logarithm, see :class:`dir.cells.LabelCells`.
        sigma: width of the smoothing of the density, in cells, > 0.
        floor: of the density, see :class:`dir.prior.LabelPrior`. Default: 30 rows spread over the cells.
        point: prediction, ``"mean"`` or ``"median"`` of the distribution.
        num_bins: number of label bins of the validation split and the balanced MAE; whole numbers with a range of at
            most 200 get a bin each.
        validation_fraction: largest share of the rows that validates for ``"auto"``, in (0, 0.33].
        random_state: seed, RandomState or None, which draws the split. None draws a seed from NumPy's global
            generator, as in scikit-learn. Seed the estimator by its own ``random_state``.

    State:
        estimator_: the fitted classifier or regressor. power_. powers_tried_: the balanced MAE of each power, for
        ``"auto"``. bins_: the label bins. cells_ and prior_ of a classifier. n_features_in_ and feature_names_in_,
        where X has them.

    Raises:
        ValueError: in ``fit``: wrong arguments, several targets, too few rows, an estimator that predicts no
            distribution, and ``sample_weight`` for an estimator that takes no weights.

    Example:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> y = np.exp(X[:, 0])
        >>> model = TargetPower(GaussianNB(), random_state=0).fit(X, y)
        >>> bool(model.predict(X, power=1.0).mean() > model.predict(X, power=0.0).mean())
        True

    Reference:
        Saerens et al., Adjusting the Outputs of a Classifier to New a Priori Probabilities, 2002; Menon et al.,
        Long-tail Learning via Logit Adjustment, ICLR 2021.
    """

    def __init__(
        self,
        estimator: Any,
        power: float | Literal["auto"] = "auto",
        *,
        num_cells: int = 50,
        sigma: float = 1.0,
        floor: float | None = None,
        point: Point = "mean",
        num_bins: int = 50,
        validation_fraction: float = 0.13,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.power = power
        self.num_cells = num_cells
        self.sigma = sigma
        self.floor = floor
        self.point = point
        self.num_bins = num_bins
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803
        """Choose the power, fit the estimator and the density to all rows, and return self.

        Args:
            X: rows, in any form that the estimator takes.
            y: labels [N].
            sample_weight: weights [N] >= 0 for the estimator and the density. The balanced MAE counts rows. A row of
                weight 0 is as if it were not there.
        """
        self._check()
        validate_data(self, X, y, skip_check_array=True)  # names and number of the columns; y must be given
        labels = checked_labels(y).astype(np.float64)
        X = indexable(X, labels)[0]  # noqa: N806
        weights = checked_weights(sample_weight, X)
        if weights is not None:
            X, labels, weights = _safe_indexing(X, weights > 0), labels[weights > 0], weights[weights > 0]  # noqa: N806
            weights = weights / weights.mean()
        needed = 3 if self.power == "auto" else 2
        if len(labels) < needed:
            raise ValueError(f"X: expected at least {needed} samples, got {len(labels)} sample(s).")
        self.bins_ = label_bins(torch.from_numpy(labels), self.num_bins)
        if self.power == "auto":
            self._choose_power(X, labels, weights)
        else:
            self.power_ = float(self.power)
        self._model = self._fit_model(X, labels, weights)
        self.estimator_ = self._model.estimator
        if isinstance(self._model, _Classifier):
            self.cells_, self.prior_ = self._model.cells, self._model.prior
        return self

    def predict(self, X: Any, power: float | None = None) -> NDArray[np.float64]:  # noqa: N803
        """Return the mean or the median of the predicted distributions, [N].

        Args:
            X: rows.
            power: power of the correction, >= 0. Default: ``power_``.
        """
        predictions: NDArray[np.float64] = self.predict_distribution(X, power).point(self.point).numpy()
        return predictions

    def __sklearn_tags__(self) -> Any:
        return tags_around(super().__sklearn_tags__(), self.estimator)

    def _check(self) -> None:
        check_power(self.power)
        check_integer("num_bins", self.num_bins)
        check_choice("point", self.point, get_args(Point))
        check_interval("validation_fraction", self.validation_fraction, "(0, 0.33]")
        kind = "predict_proba" if is_classifier(self.estimator) else "predict_distribution"
        if not hasattr(self.estimator, kind):
            problem = "expected a classifier with predict_proba or a regressor with predict_distribution"
            advice = "RandomForestClassifier and ImbalancedRegressor('histogram_prior') are such estimators."
            raise ValueError(message("estimator", problem, type(self.estimator).__name__, advice))

    def _choose_power(self, X: Any, labels: NDArray[np.float64], weights: NDArray[np.float64] | None) -> None:  # noqa: N803
        """Set ``power_`` and ``powers_tried_`` with a model that does not know the validation rows."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        is_val = validation_rows(labels, self.bins_, self.validation_fraction, seed)
        kept = None if weights is None else weights[~is_val]
        model = self._fit_model(_safe_indexing(X, ~is_val), labels[~is_val], kept)
        outputs = model.outputs(_safe_indexing(X, is_val))
        self.power_, self.powers_tried_ = balanced_power(
            lambda power: model.distribution(outputs, power).point(self.point),
            torch.from_numpy(labels[is_val]),
            self.bins_,
        )

    def _fit_model(
        self,
        X: Any,  # noqa: N803
        labels: NDArray[np.float64],
        weights: NDArray[np.float64] | None,
    ) -> _Classifier | _Regressor:
        estimator = clone(self.estimator)
        if not is_classifier(estimator):
            return _Regressor(_fit(estimator, X, labels, weights))
        values = torch.from_numpy(labels)
        bins = label_bins(values, self.num_bins)
        cells = LabelCells(bins, self.num_cells, self.sigma, reach=0.0).fit(values, bins)
        prior = LabelPrior(self.num_cells, self.floor)
        prior.fit(values, cells, None if weights is None else torch.from_numpy(weights))
        index = cells.position(values).floor().clamp(0, self.num_cells - 1).long().numpy()
        return _Classifier(_fit(estimator, X, index, weights), cells, prior)

    def _distribution(self, X: Any, power: float | None) -> CellDistribution:  # noqa: N803
        check_is_fitted(self)
        return self._model.distribution(self._model.outputs(X), self.power_ if power is None else power)


class _Regressor(NamedTuple):
    """A fitted regressor with ``predict_distribution``."""

    estimator: Any

    def outputs(self, X: Any) -> Any:  # noqa: N803
        return X

    def distribution(self, outputs: Any, power: float) -> CellDistribution:
        found: CellDistribution = self.estimator.predict_distribution(outputs, power)
        return found


class _Classifier(NamedTuple):
    """A fitted classifier of cells, the cells, and their density."""

    estimator: Any
    cells: LabelCells
    prior: LabelPrior

    def outputs(self, X: Any) -> Tensor:  # noqa: N803
        """Return the log-probabilities of all cells, float64 [N, K]."""
        known = torch.from_numpy(np.asarray(self.estimator.predict_proba(X), dtype=np.float64))
        probability = known.new_zeros(len(known), self.cells.num_cells)
        probability[:, torch.as_tensor(self.estimator.classes_)] = known
        return probability.clamp(min=torch.finfo(torch.float64).tiny).log()

    def distribution(self, outputs: Tensor, power: float) -> CellDistribution:
        return CellDistribution(adjust(outputs, self.prior.log_density, power), self.cells.edges)


def _fit(estimator: Any, X: Any, y: Any, weights: NDArray[np.float64] | None) -> Any:  # noqa: N803
    return estimator.fit(X, y) if weights is None else fit_weighted(estimator, X, y, weights, {})
