"""Corrections of predictions that are fitted on the validation split after training."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dir._checks import check_choice

Posthoc = Literal["affine", "isotonic"]


class Correction:
    """A monotone map from predictions to labels, fitted on validation predictions.

    ``"affine"`` is the least-squares line ``label = slope * prediction + intercept``. ``"isotonic"`` is the
    least-squares non-decreasing function, linear between its points and constant beyond the validation predictions.

    The correction has seen the labels of the validation split. Validation metrics after the correction are therefore
    too optimistic, and only the test split shows its effect.

    Args:
        kind: ``"affine"`` or ``"isotonic"``.

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> correction = Correction("affine").fit(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
        >>> correction(torch.tensor([3.0])).tolist()
        [5.0]
    """

    def __init__(self, kind: Posthoc) -> None:
        check_choice("posthoc", kind, get_args(Posthoc), "null turns the correction off.")
        self.kind = kind
        # Points of the map, which is linear between them. An affine map has two points and is linear beyond them.
        self._x, self._y = np.array([0.0, 1.0]), np.array([0.0, 1.0])

    def fit(self, predictions: Tensor, labels: Tensor) -> Correction:
        """Fit to validation predictions and labels ``[N]`` and return the correction.

        Predictions that are all equal give a constant map.
        """
        x, y = predictions.double().numpy(), labels.double().numpy()
        if self.kind == "isotonic":
            from sklearn.isotonic import IsotonicRegression

            fitted = IsotonicRegression(out_of_bounds="clip").fit(x, y)
            self._x, self._y = fitted.X_thresholds_, fitted.y_thresholds_
        else:
            spread = x - x.mean()
            slope = float(spread @ y / (spread @ spread)) if spread @ spread > 0 else 0.0
            self._x = np.array([0.0, 1.0])
            self._y = y.mean() + slope * (self._x - x.mean())
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the kind and the points of the map as plain values, for a model bundle."""
        return {"kind": self.kind, "x": [float(x) for x in self._x], "y": [float(y) for y in self._y]}

    def __call__(self, predictions: Tensor) -> Tensor:
        """Return the corrected predictions, ``[N]``."""
        x = predictions.double().numpy()
        if self.kind == "isotonic":
            return torch.from_numpy(np.interp(x, self._x, self._y)).to(predictions.dtype)
        return torch.from_numpy(self._y[0] + (self._y[1] - self._y[0]) * x).to(predictions.dtype)
