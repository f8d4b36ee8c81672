"""Resamplers of imbalanced training sets, on arrays and data frames, before a regressor is fitted.

They need scikit-learn (``pip install scikit-learn``, or the ``recipes`` extra) and follow the convention of
imbalanced-learn: ``X_new, y_new = SMOTER(random_state=0).fit_resample(X, y)``.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "dir.resampling: scikit-learn is not installed. Run pip install scikit-learn, or install "
        "deep-imbalanced-regression[recipes]."
    ) from error

from dir.resampling.noise import GaussianNoise
from dir.resampling.random_rows import RandomOverSampler, RandomUnderSampler
from dir.resampling.rebagg import REBAGG
from dir.resampling.smogn import SMOGN
from dir.resampling.smoter import SMOTER
from dir.resampling.wercs import WERCS

__all__ = ["REBAGG", "SMOGN", "SMOTER", "WERCS", "GaussianNoise", "RandomOverSampler", "RandomUnderSampler"]
