"""SampleWeighter: a regressor with sample weights by the density of its own training labels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils import check_consistent_length
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, validate_data

from dir._checks import check_choice, check_not_negative, message
from dir.denseweight import DenseWeight
from dir.lds import LDS
from dir.reweighter import Reweighter
from dir.sklearn.inputs import checked_labels, checked_weights, label_bins, tags_around, weighted_counts
from dir.sklearn.weight_route import fit_weighted, routing_enabled

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

Weighting = Literal["lds", "dense", "power", "inverse", "sqrt_inverse", "none"]
# The settings that each weighting reads, with their defaults.
_SETTINGS: dict[str, dict[str, Any]] = {
    "lds": {"num_bins": 50, "power": 0.5, "kernel_size": 5, "sigma": 1.0, "max_weight": None},
    "power": {"num_bins": 50, "power": 0.5, "max_weight": None},
    "inverse": {"num_bins": 50, "max_weight": None},
    "sqrt_inverse": {"num_bins": 50, "max_weight": None},
    "dense": {"dense_alpha": 1.0},
    "none": {},
}
_POWERS = {"inverse": 1.0, "sqrt_inverse": 0.5}


class SampleWeighter(MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Fit any regressor with weights for rare labels. Each ``fit`` computes the weights from its own labels.

    .. math:: w_i = u_i \, r(y_i), \qquad r(y) = \frac{c}{\left(\sum_j k(b(y) - j)\, n_j\right)^{p}}
        \;\text{or a reweighter of your own}

    with u the ``sample_weight`` of the caller (default 1), :math:`n_j` the sum of u in label bin j, and c such that
    the weights have the sum of u. In a cross-validation the weights of a fold therefore never see its test labels. A
    row of weight 2 counts as two rows, in the density as well, and a row of weight 0 as none.

    The weights go to the last step of a ``Pipeline``, to the regressor inside a ``TransformedTargetRegressor``, and
    into a search, at any depth. Around a ``TransformedTargetRegressor``, the weights are those of the labels before
    their transformation. ``X`` is passed on as it is. Rows, labels and weights belong together by position, and the
    index of pandas is ignored. Predictions are an array in the order of the rows.

    With metadata routing, ``set_fit_request(sample_weight=True)`` asks for the caller's weights. The regressor needs
    no request for weights, and other metadata is routed to its ``fit`` and ``predict``.

    Args:
        regressor: regressor whose ``fit`` takes ``sample_weight``; it is cloned.
        weighting: ``"lds"`` (default): label distribution smoothing. ``"power"``: the same without smoothing.
            ``"inverse"`` and ``"sqrt_inverse"``: ``"power"`` with p = 1 and 0.5. ``"dense"``: DenseWeight, whose
            density counts each row with u > 0 once. ``"none"``: the caller's weights alone, to compare in a search.
            Or an unfitted :class:`dir.LDS`, :class:`dir.DenseWeight` or other reweighter, copied for each fit.
        num_bins: number of label bins, >= 1; whole numbers with a range of at most 200 get a bin each. Default 50.
        power: p >= 0, of ``"lds"`` and ``"power"``. Default 0.5.
        kernel_size, sigma: window of ``"lds"``, in bins, see :func:`dir.kernels.kernel_window`. Default 5 and 1.
        dense_alpha: strength of ``"dense"``, see :class:`dir.DenseWeight`. Default 1.
        max_weight: largest r, except for ``"dense"``. Default: none.

    State:
        regressor_: the fitted regressor. reweighter_: the fitted reweighter, or None for ``"none"``; call it with
        labels for their weights. n_features_in_ and feature_names_in_, where X has them.

    Raises:
        ValueError: in ``fit``: wrong arguments, settings that the weighting does not read, several targets, and a
            regressor that takes no weights.

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> X, y = np.arange(6.0)[:, None], np.array([0.0, 0.0, 0.0, 0.0, 0.0, 4.0])
        >>> model = SampleWeighter(LinearRegression(), weighting="inverse").fit(X, y)
        >>> model.reweighter_([0.0, 4.0]).round(6).tolist()
        [0.6, 3.0]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.1; Steininger et al., Density-based
        weighting for imbalanced regression, Machine Learning 2021.
    """

    def __init__(
        self,
        regressor: Any,
        weighting: Weighting | Reweighter = "lds",
        *,
        num_bins: int | None = None,
        power: float | None = None,
        kernel_size: int | None = None,
        sigma: float | None = None,
        dense_alpha: float | None = None,
        max_weight: float | None = None,
    ) -> None:
        self.regressor = regressor
        self.weighting = weighting
        self.num_bins = num_bins
        self.power = power
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.dense_alpha = dense_alpha
        self.max_weight = max_weight

    def fit(
        self,
        X: Any,  # noqa: N803
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Self:
        """Compute the weights, fit a copy of the regressor with them, and return self.

        Args:
            X: rows, in any form that the regressor takes.
            y: labels [N].
            sample_weight: weights [N] of the caller, >= 0, multiplied with those of the labels.
            fit_params: further arguments of the regressor's ``fit``.
        """
        settings = self._settings()
        validate_data(self, X, y, skip_check_array=True)  # names and number of the columns; y must be given
        labels = checked_labels(y)
        check_consistent_length(X, labels)
        own = checked_weights(sample_weight, X)
        if routing_enabled():
            fit_params = process_routing(self, "fit", **fit_params).regressor.fit
        self.reweighter_ = self._reweighter(settings, labels, own)
        weights = own
        if self.reweighter_ is not None:
            by_label = self.reweighter_(torch.from_numpy(labels.astype(np.float64))).numpy()
            weights = by_label if own is None else own * by_label
        self.regressor_ = fit_weighted(clone(self.regressor), X, labels, weights, fit_params)
        return self

    def predict(self, X: Any, **predict_params: Any) -> NDArray[Any]:  # noqa: N803
        """Return the predictions of the regressor, [N].

        Args:
            X: rows.
            predict_params: further arguments of the regressor's ``predict``.
        """
        check_is_fitted(self)
        if routing_enabled():
            predict_params = process_routing(self, "predict", **predict_params).regressor.predict
        predictions: NDArray[Any] = self.regressor_.predict(X, **predict_params)
        return predictions

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how metadata is routed, see scikit-learn's user guide."""
        mapping = MethodMapping().add(caller="fit", callee="fit").add(caller="predict", callee="predict")
        return MetadataRouter(owner=self).add_self_request(self).add(regressor=self.regressor, method_mapping=mapping)

    def __sklearn_tags__(self) -> Any:
        return tags_around(super().__sklearn_tags__(), self.regressor)

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the weighting with their defaults, after their checks."""
        given = {
            name: getattr(self, name)
            for name in ("num_bins", "power", "kernel_size", "sigma", "dense_alpha", "max_weight")
        }
        if isinstance(self.weighting, Reweighter):
            name, defaults = "a reweighter of your own", {}
        else:
            advice = "Or give an LDS or a DenseWeight of your own."
            check_choice("weighting", self.weighting, _SETTINGS, advice)
            name, defaults = f"weighting={self.weighting!r}", _SETTINGS[self.weighting]
        for setting, value in given.items():
            if value is not None and setting not in defaults:
                readers = [other for other, settings in _SETTINGS.items() if setting in settings]
                advice = f"Only {', '.join(readers)} read it: remove it or choose another weighting."
                raise ValueError(message(setting, f"{name} does not read it", value, advice))
        settings = {key: default if given[key] is None else given[key] for key, default in defaults.items()}
        if "power" in settings:
            check_not_negative("power", settings["power"])
        return settings

    def _reweighter(
        self, settings: dict[str, Any], labels: NDArray[Any], own: NDArray[np.float64] | None
    ) -> Reweighter | None:
        """Return the reweighter, fitted to the rows with a weight above 0."""
        if self.weighting == "none":
            return None
        weights = torch.ones(len(labels), dtype=torch.float64) if own is None else torch.from_numpy(own)
        counted = torch.from_numpy(labels.astype(np.float64))[weights > 0]
        weights = weights[weights > 0]
        if isinstance(self.weighting, Reweighter):
            reweighter = copy.deepcopy(self.weighting)
        elif self.weighting == "dense":
            reweighter = DenseWeight(alpha=settings["dense_alpha"])
        else:
            power = settings["power"] if "power" in settings else _POWERS[self.weighting]
            reweighter = LDS(
                label_bins(counted, settings["num_bins"]),
                kernel="gaussian" if self.weighting == "lds" else None,
                reweight=CountPower(power),
                max_weight=settings["max_weight"],
                **{name: settings[name] for name in ("kernel_size", "sigma") if name in settings},
            )
        if isinstance(reweighter, LDS):
            return reweighter.fit_counts(weighted_counts(reweighter.bins, counted, weights))
        return reweighter.fit(counted)


class CountPower:
    """The map from counts to their power p, as a class because functions without a name cannot be pickled."""

    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, counts: torch.Tensor) -> torch.Tensor:
        return counts**self.power

    def __repr__(self) -> str:
        return f"counts ** {self.power:g}"
