"""DistributionMixin: intervals and quantiles of an estimator with a predicted distribution, and its best power."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from dir._checks import check_choice, check_not_negative
from dir.bins import LabelBins
from dir.distribution import CellDistribution
from dir.metrics.functional import balanced_mae
from dir.prior import choose_power

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _with_distribution(method: _Function) -> _Function:
    """Make a method exist only where the estimator's ``_has_distribution()`` is true, see ``available_if``."""
    found: _Function = available_if(lambda estimator: estimator._has_distribution())(method)
    return found


class DistributionMixin:
    """Base of the estimators that predict a distribution, corrected by the label density to a ``power``.

    A subclass implements ``_distribution(X, power)`` and sets ``power_`` in ``fit``. ``_has_distribution()`` may
    raise an AttributeError that says why an estimator with other settings predicts none.
    """

    power_: float

    @_with_distribution
    def predict_distribution(self, X: Any, power: float | None = None) -> CellDistribution:  # noqa: N803
        """Return the predicted distributions of the rows, in raw units.

        Args:
            X: rows [N, D].
            power: power of the correction, >= 0: 0 is the plain model, 1 predicts as if all labels were equally
                frequent. Default: ``power_``.
        """
        if power is not None:
            check_not_negative("power", power)
        return self._distribution(X, power)

    @_with_distribution
    def predict_quantile(self, X: Any, q: float, power: float | None = None) -> NDArray[np.float64]:  # noqa: N803
        """Return the label below which a share ``q`` of the predicted distribution lies, [N]."""
        quantiles: NDArray[np.float64] = self.predict_distribution(X, power).quantile(q).numpy()
        return quantiles

    @_with_distribution
    def predict_interval(
        self,
        X: Any,  # noqa: N803
        level: float = 0.9,
        power: float | None = None,
    ) -> NDArray[np.float64]:
        """Return the central interval of that level, [N, 2]: the quantiles ``(1 - level) / 2`` on both sides."""
        interval: NDArray[np.float64] = self.predict_distribution(X, power).interval(level).numpy()
        return interval

    def _has_distribution(self) -> bool:
        return True

    def _distribution(self, X: Any, power: float | None) -> CellDistribution:  # noqa: N803
        raise NotImplementedError(f"{type(self).__name__} must implement _distribution(X, power)")


def check_power(power: Any) -> None:
    """Raise a ValueError unless ``power``, a setting of an estimator, is ``"auto"`` or a number >= 0."""
    if isinstance(power, str):
        check_choice("power", power, ["auto"], "Or give a number >= 0.")
    else:
        check_not_negative("power", power, "Or choose 'auto'.")


def balanced_power(
    predict: Callable[[float], Tensor], labels: Tensor, bins: LabelBins
) -> tuple[float, dict[float, float]]:
    """Return the power with the lowest balanced MAE on validation rows, and that of every power tried."""
    return choose_power(predict, labels, lambda found, truth: float(balanced_mae(found, truth, bins)))
