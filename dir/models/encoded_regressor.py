"""scikit-learn regressors together with the encoding of their columns and the standardisation of their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from torch import Tensor

from dir._checks import message


class EncodedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Encode the columns of a frame, standardise the labels and fit a regressor.

    An ensemble of encoded regressors resamples rows whose categories are not encoded yet. The class lives outside
    ``dir.recipe``, so that a model bundle loads without Hydra and Lightning.

    Args:
        regressor: scikit-learn regressor, cloned by ``fit``.
        encode: fitted encoder that maps a frame to inputs ``[N, D]``, or to numbers ``[N, D]`` and codes ``[N, C]``
            of categories. The regressor then gets C columns of codes and D columns of numbers.
        columns: names of the columns, for ensembles that turn frames into arrays.
        offset: the regressor sees ``(label - offset) / scale``. Default 0.
        scale: see ``offset``, > 0. Default 1.
        log1p: whether the regressor sees ``(log(1 + label) - offset) / scale``; labels are then above -1. Default
            False.

    State:
        After ``fit``: ``regressor_``.
    """

    # A bundle of an earlier version lacks the attribute.
    log1p = False

    def __init__(
        self,
        regressor: Any,
        encode: Callable[[pd.DataFrame], Tensor | tuple[Tensor, Tensor]],
        columns: list[str],
        offset: float = 0.0,
        scale: float = 1.0,
        log1p: bool = False,
    ) -> None:
        self.regressor = regressor
        self.encode = encode
        self.columns = columns
        self.offset = offset
        self.scale = scale
        self.log1p = log1p

    def fit(self, X: Any, y: Any) -> EncodedRegressor:  # noqa: N803
        """Fit a clone of the regressor and return self."""
        self.regressor_ = clone(self.regressor).fit(self._inputs(X), self._targets(y))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the predictions in the labels' units, [N]."""
        # Linear models predict in float32, which may be too coarse for raw labels.
        standardised = np.asarray(self.regressor_.predict(self._inputs(X)), dtype=np.float64)
        predictions: NDArray[np.float64] = standardised * self.scale + self.offset
        return np.expm1(predictions) if self.log1p else predictions

    def _targets(self, y: Any) -> NDArray[np.float64]:
        labels = np.asarray(y, dtype=np.float64)
        if self.log1p and labels.min() <= -1:
            problem = "expected labels above -1, which have a log(1 + label); the lowest"
            advice = "Set data.log_target=false, or choose another method."
            raise ValueError(message("data.log_target", problem, float(labels.min()), advice))
        targets: NDArray[np.float64] = ((np.log1p(labels) if self.log1p else labels) - self.offset) / self.scale
        return targets

    def _inputs(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        return self._encoded(X)[0]

    def _encoded(self, X: Any) -> tuple[NDArray[np.float32], int]:  # noqa: N803
        """Return the inputs of the regressor, and how many of their first columns are codes of categories."""
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X, columns=self.columns)
        encoded = self.encode(frame)
        if not isinstance(encoded, tuple):
            return encoded.numpy(), 0
        numbers, codes = encoded
        return np.concatenate([codes.numpy().astype(np.float32), numbers.numpy()], axis=1), codes.shape[1]


class EncodedTrees(EncodedRegressor):
    """Encode the columns of a frame, standardise the labels and fit boosted trees that need validation rows.

    This is a separate class, because scikit-learn's ensembles draw their samples differently if the ``fit`` of a
    regressor takes weights.

    Args:
        regressor: a :class:`~dir.models.BoostedTrees`, cloned by ``fit``.
        encode, columns, offset, scale, log1p: see :class:`EncodedRegressor`. Trees that take no codes need an encoder
            that makes one-hot columns of categories.

    State:
        After ``fit``: ``regressor_``.
    """

    def fit(  # type: ignore[override]  # the trees need validation rows
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any,  # noqa: N803
        y_val: Any,
    ) -> EncodedTrees:
        """Fit a clone of the trees, see :meth:`dir.models.BoostedTrees.fit`, and return self."""
        inputs, categories = self._encoded(X)
        self.regressor_ = clone(self.regressor).fit(
            inputs,
            self._targets(y),
            sample_weight,
            X_val=self._inputs(X_val),
            y_val=self._targets(y_val),
            categories=categories,
        )
        return self
