"""Estimators for scikit-learn: weights for any regressor, a corrected distribution, and a network for tables.

They need scikit-learn 1.6 or newer (``pip install "deep-imbalanced-regression[sklearn]"``). Names are imported on
first use: ``from dir.sklearn import SampleWeighter``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._checks import message
from dir._lazy import attach

_INSTALL = 'pip install "deep-imbalanced-regression[sklearn]".'
try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(message("dir.sklearn", "needs scikit-learn >= 1.6", advice=_INSTALL)) from error

if TYPE_CHECKING:
    from dir.sklearn.imbalanced_regressor import ImbalancedRegressor as ImbalancedRegressor
    from dir.sklearn.sample_weighter import SampleWeighter as SampleWeighter
    from dir.sklearn.scorers import balanced_mae_scorer as balanced_mae_scorer
    from dir.sklearn.scorers import shot_mae_scorer as shot_mae_scorer
    from dir.sklearn.target_power import TargetPower as TargetPower

_HOMES = {
    "ImbalancedRegressor": "imbalanced_regressor",
    "SampleWeighter": "sample_weighter",
    "TargetPower": "target_power",
    "balanced_mae_scorer": "scorers",
    "shot_mae_scorer": "scorers",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
