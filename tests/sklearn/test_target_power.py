"""Tests of TargetPower: the correction of a classifier's probabilities, the chosen power, scikit-learn's checks."""

# ruff: noqa: N803, N806  (X is what scikit-learn calls it)

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from dir.metrics.functional import balanced_mae
from dir.sklearn import ImbalancedRegressor, TargetPower
from dir.sklearn.inputs import label_bins
from dir.sklearn.splitting import validation_rows

CHECKED = [
    TargetPower(DecisionTreeClassifier(max_depth=6, random_state=0), power=0.5),
    TargetPower(RandomForestClassifier(n_estimators=3, random_state=0), random_state=0),
]
DRAWN = "the split and the forest draw rows: one row of weight 2 is drawn otherwise than two rows"
WEIGHTS = {f"check_sample_weight_equivalence_on_{kind}_data": DRAWN for kind in ("dense", "sparse")}


class Table(ClassifierMixin, BaseEstimator):
    """Classifier with the class frequencies of its training rows that keeps what ``fit`` was given."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.weights_ = X, y, sample_weight
        self.classes_, index = np.unique(y, return_inverse=True)
        counts = np.bincount(index, sample_weight)
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.shares_, (len(X), 1))


@pytest.fixture
def ages() -> tuple[np.ndarray, np.ndarray]:
    """Whole labels 0 to 9, of which small ones are frequent."""
    rng = np.random.default_rng(0)
    y = np.minimum(rng.geometric(0.35, size=400) - 1, 9).astype(float)
    return np.stack([y + rng.normal(size=400), rng.normal(size=400)], axis=1), y


@parametrize_with_checks(CHECKED, expected_failed_checks=lambda one: WEIGHTS if one.power == "auto" else {})
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


def test_the_distribution_is_the_classifier_s_divided_by_a_power_of_the_density(ages):
    X, y = ages
    settings = {"num_cells": 10, "sigma": 1e-3, "floor": 0.2}
    model = TargetPower(Table(), power=0.7, **settings).fit(X, y)
    np.testing.assert_allclose(model.cells_.centers, np.arange(10.0), atol=1e-9)  # a cell for each label
    np.testing.assert_array_equal(model.estimator_.y_, y)
    shares = np.bincount(y.astype(int), minlength=10) / len(y)
    density = (shares + 0.2 / 10) / 1.2
    for power, given in ((0.7, None), (0.0, 0.0), (1.0, 1.0)):
        expected = shares * density**-power
        expected /= expected.sum()
        found = model.predict_distribution(X[:1], given)
        np.testing.assert_allclose(found.log_prob.exp()[0], expected, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(model.predict(X[:1], given), expected @ np.arange(10.0), rtol=1e-6)
    # Full power makes all labels about equally likely, up to the floor.
    assert model.predict(X[:1], power=1.0)[0] > 1.5 * model.predict(X[:1], power=0.0)[0]
    middle = TargetPower(Table(), power=0.0, point="median", **settings).fit(X, y)
    np.testing.assert_allclose(middle.predict(X[:1]), middle.predict_quantile(X[:1], 0.5))
    np.testing.assert_allclose(
        middle.predict_interval(X[:1], level=0.6)[0, 1], middle.predict_quantile(X[:1], 0.8)[0]
    )


def test_weights_count_as_rows_in_the_classifier_and_the_density(ages):
    X, y = ages
    own = np.where(y > 4, 2.0, 1.0)
    own[::5] = 0
    given = TargetPower(Table(), power=0.5).fit(X, y, sample_weight=own)
    rows = np.repeat(np.arange(len(y)), own.astype(int))
    repeated = TargetPower(Table(), power=0.5, floor=30 / (own > 0).sum()).fit(X[rows], y[rows])
    np.testing.assert_allclose(given.prior_.log_density, repeated.prior_.log_density)
    np.testing.assert_allclose(given.predict(X), repeated.predict(X))
    assert len(given.estimator_.y_) == (own > 0).sum()
    with pytest.raises(ValueError, match=r"^sample_weight: KNeighborsClassifier\.fit takes no sample_weight"):
        TargetPower(KNeighborsClassifier()).fit(X, y, own)
    piped = TargetPower(make_pipeline(StandardScaler(), Table()), power=0.5)
    for routing in (False, True):
        with config_context(enable_metadata_routing=routing):
            if routing:
                piped.estimator[0].set_fit_request(sample_weight=False)
            np.testing.assert_allclose(piped.fit(X, y, own).predict(X), given.predict(X))


def test_the_power_is_the_best_on_rows_that_its_model_did_not_see(ages):
    X, y = ages
    model = TargetPower(GaussianNB(), random_state=3).fit(X, y)
    seed = int(np.random.RandomState(3).randint(np.iinfo(np.int32).max))
    val = validation_rows(y, label_bins(torch.from_numpy(y), 50), 0.13, seed)
    for power in (0.0, 0.5, 1.0):
        other = TargetPower(GaussianNB(), power=power).fit(X[~val], y[~val])
        error = float(balanced_mae(other.predict(X[val]), y[val], model.bins_))
        assert model.powers_tried_[power] == pytest.approx(error)
    assert model.power_ == min(model.powers_tried_, key=model.powers_tried_.get)
    assert model.power_ > 0
    # The final model is fitted to all rows.
    again = TargetPower(GaussianNB(), power=model.power_).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), again.predict(X))
    assert model.predict(X).mean() > model.predict(X, power=0.0).mean()  # rare labels are the large ones


def test_a_regressor_with_a_distribution(ages):
    X, y = ages
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}
    network = ImbalancedRegressor("histogram_prior", **settings)
    model = TargetPower(network, random_state=0).fit(X, y)
    assert not hasattr(model, "cells_")
    alone = network.fit(X, y)
    np.testing.assert_array_equal(model.predict(X, power=0.4), alone.predict(X, power=0.4))
    np.testing.assert_array_equal(model.predict(X), alone.predict(X, power=model.power_))
    np.testing.assert_array_equal(model.predict_interval(X, 0.5, 0.1), alone.predict_interval(X, 0.5, 0.1))


def test_a_pipeline_in_a_search_on_a_data_frame():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"kind": rng.choice(["a", "b"], 150), "size": rng.normal(size=150)}, index=range(500, 650))
    y = pd.Series(np.exp(frame["size"] + (frame["kind"] == "b")), index=frame.index)
    columns = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    model = TargetPower(make_pipeline(columns, forest), random_state=0)
    search = GridSearchCV(model, {"power": [0.0, 1.0, "auto"]}, cv=2, error_score="raise").fit(frame, y)
    assert search.best_estimator_.feature_names_in_.tolist() == ["kind", "size"]
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(frame), search.predict(frame))
    assert isinstance(cross_val_predict(model, frame, y, cv=2), np.ndarray)
    outside = make_pipeline(columns, TargetPower(forest, power=0.5)).fit(frame, y)
    assert (outside.predict(frame, power=1.0) != outside.predict(frame)).any()


def test_boosted_trees_and_labels_with_a_long_tail():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 2))
    y = np.exp(2 * X[:, 0]) + 5
    model = TargetPower(HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5), num_cells=8, power=0.2)
    model.fit(X, y)
    assert model.cells_.chosen == "log"
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.5
    assert y.min() <= model.predict(X).min() < model.predict(X).max() <= y.max()


@pytest.mark.parametrize(
    ("estimator", "settings", "problem"),
    [
        (LinearRegression(), {}, r"^estimator: expected a classifier .*got 'LinearRegression'"),
        (LinearSVC(), {}, r"^estimator: .*got 'LinearSVC'"),
        (ImbalancedRegressor("lds"), {}, r"^estimator: .*got 'ImbalancedRegressor'.*histogram_prior"),
        (Table(), {"power": "best"}, r"^power: expected one of 'auto', got 'best'\. Or give a number >= 0\."),
        (Table(), {"power": -1}, r"^power: .*got -1"),
        (Table(), {"point": "mode"}, r"^point: .*got 'mode'"),
        (Table(), {"num_bins": 0}, r"^num_bins: .*got 0"),
        (Table(), {"num_cells": 1}, r"^num_cells: .*got 1"),
        (Table(), {"sigma": 0}, r"^sigma: .*got 0"),
        (Table(), {"floor": -1}, r"^floor: .*got -1"),
        (Table(), {"validation_fraction": 0.0}, r"^validation_fraction: .*got 0\.0"),
    ],
)
def test_wrong_settings_are_refused(ages, estimator, settings, problem):
    with pytest.raises(ValueError, match=problem):
        TargetPower(estimator, **settings).fit(*ages)


def test_too_few_rows_several_targets_and_a_negative_power_are_refused(ages):
    X, y = ages
    with pytest.raises(ValueError, match=r"^X: expected at least 3 samples, got 2 sample\(s\)\."):
        TargetPower(Table()).fit(X[:2], y[:2])
    with pytest.raises(ValueError, match="1d array"):
        TargetPower(Table()).fit(X, X)
    with pytest.raises(ValueError, match=r"^power: expected a finite number >= 0, got -0\.5"):
        TargetPower(Table(), power=0.0).fit(X, y).predict(X, power=-0.5)
