"""The resamplers are steps of imbalanced-learn's Pipeline: rows are resampled in fit, and never in predict."""

# ruff: noqa: N803, N806  (X is what scikit-learn calls it)

from __future__ import annotations

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.preprocessing import StandardScaler

from dir.resampling import SMOGN, SMOTER, WERCS, GaussianNoise, RandomOverSampler, RandomUnderSampler


class Recorder(RegressorMixin, BaseEstimator):
    """Regressor that keeps the rows of ``fit`` and counts the rows of ``predict``."""

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def predict(self, X):
        self.predicted_ = len(X)
        return np.full(len(X), self.y_.mean())


@pytest.mark.parametrize("sampler", [SMOTER, SMOGN, GaussianNoise, RandomUnderSampler, RandomOverSampler, WERCS])
def test_each_fold_is_resampled_by_its_own_labels(sampler, skewed):
    X, y = skewed()
    model = make_pipeline(StandardScaler(), sampler(random_state=0), Recorder())
    folds = KFold(2)
    done = cross_validate(model, X, y, cv=folds, return_estimator=True, scoring="neg_mean_absolute_error")
    for fitted, (train, test) in zip(done["estimator"], folds.split(X), strict=True):
        scaled = StandardScaler().fit_transform(X[train])
        expected_X, expected_y = sampler(random_state=0).fit_resample(scaled, y[train])
        np.testing.assert_array_equal(fitted[-1].X_, expected_X)
        np.testing.assert_array_equal(fitted[-1].y_, expected_y)
        assert fitted[-1].predicted_ == len(test)
        assert sorted(fitted[-1].y_.tolist()) != sorted(y[train].tolist())


def test_a_search_over_the_settings_of_a_resampler(skewed):
    X, y = skewed()
    model = make_pipeline(RandomOverSampler(random_state=0), Recorder())
    grid = {"randomoversampler__threshold": [0.7, 0.9], "randomoversampler__strategy": ["balance", "extreme"]}
    search = GridSearchCV(model, grid, cv=2, scoring="neg_mean_absolute_error", error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
