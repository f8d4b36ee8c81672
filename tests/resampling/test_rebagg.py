"""REBAGG: what its samples hold, that it helps where labels are rare, and scikit-learn's own checks."""

# ruff: noqa: N803, N806  (X is what scikit-learn calls it)

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator

from dir.relevance import Relevance
from dir.resampling import REBAGG

SAMPLINGS = ["balance", "balance.SMT", "variation", "variation.SMT"]


class Recorder(RegressorMixin, BaseEstimator):
    """Keep the data of fit()."""

    def fit(self, X, y):
        self.X_, self.y_ = np.asarray(X), np.asarray(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.y_.mean())


def skewed(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4))
    return X, np.exp(0.8 * X[:, 0] + 0.3 * X[:, 1]) + 0.05 * rng.normal(size=rows)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_samples_hold_the_share_of_rare_rows(sampling):
    X, y = skewed()
    model = REBAGG(Recorder(), n_estimators=12, sampling=sampling, random_state=0).fit(X, y)
    rare = model.relevance_(y) >= 0.8
    shares, known = set(), {tuple(row) for row in X}
    for fitted in model.estimators_:
        assert len(fitted.y_) == len(y)
        of_sample = model.relevance_(fitted.y_) >= 0.8
        shares.add(round(of_sample.mean(), 2))
        original = np.array([tuple(row) in known for row in fitted.X_])
        assert original[~of_sample].all()
        if sampling.endswith("SMT"):
            assert original.sum() == (~of_sample).sum() + rare.sum()  # the rare rows once each, the rest is new
        else:
            assert original.all()
    assert (
        shares == {0.5}
        if sampling.startswith("balance")
        else shares > {0.5} and shares <= {0.33, 0.4, 0.5, 0.6, 0.67}
    )
    assert model.predict(X[:3]) == pytest.approx(np.mean([fitted.y_.mean() for fitted in model.estimators_]))


def test_new_rows_never_lie_between_low_and_high_extremes():
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(0, 1, 400), np.linspace(-9, -8, 9), np.linspace(8, 9, 9)])
    X = rng.normal(size=(len(y), 2))
    far_out = Relevance.from_points([[-8, 1], [0, 0], [8, 1]])
    model = REBAGG(Recorder(), n_estimators=4, sampling="balance.SMT", relevance=far_out, random_state=0).fit(X, y)
    for fitted in model.estimators_:
        far = fitted.y_[np.abs(fitted.y_) > 4]
        assert ((np.abs(far) >= 8) & (np.abs(far) <= 9)).all()
        assert (model.relevance_(fitted.y_) >= 0.8).mean() == pytest.approx(0.5, abs=0.01)


def test_the_rare_are_predicted_better_than_by_plain_bagging():
    X, y = skewed(2000, 1)
    test_X, test_y = skewed(2000, 2)
    tree = DecisionTreeRegressor(min_samples_leaf=20)
    ours = REBAGG(tree, random_state=0).fit(X, y)
    plain = BaggingRegressor(tree, 20, random_state=0).fit(X, y)
    rare = ours.relevance_(test_y) >= 0.8
    error = [np.abs(model.predict(test_X) - test_y)[rare].mean() for model in (ours, plain)]
    assert error[0] < 0.8 * error[1]


def test_seeds_are_honoured_and_two_seeds_differ():
    X, y = skewed()
    first, again, other = (REBAGG(n_estimators=3, random_state=seed).fit(X, y).predict(X) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    unfitted = clone(REBAGG(LinearRegression(), sampling="balance", relevance=Relevance("adjbox"), k=3))
    assert unfitted.get_params()["sampling"] == "balance"
    assert unfitted.get_params()["relevance"].method == "adjbox"


def test_seeds_reach_the_steps_of_a_pipeline():
    X, y = skewed(200)
    steps = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_features=1))
    first, again = (REBAGG(steps, n_estimators=2, random_state=0).fit(X, y) for _ in range(2))
    assert (first.predict(X) == again.predict(X)).all()
    seeds = {model[-1].random_state for model in first.estimators_}
    assert len(seeds) == 2
    assert None not in seeds


def test_frames_reach_the_estimator_as_frames():
    X, y = skewed()
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.where(X[:, 0] > 0, "up", "down"))
    encode = OneHotEncoder(handle_unknown="ignore")
    model = REBAGG(make_pipeline(encode, LinearRegression()), n_estimators=2, random_state=0).fit(frame, pd.Series(y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d", "kind"]
    assert model.predict(frame).shape == (600,)


class RankRelevance:
    """Relevance by rank, for the tiny data of scikit-learn's checks: the largest quarter matters."""

    def fit(self, y):
        self.cut_ = np.quantile(y, 0.75)
        return self

    def __call__(self, y):
        return (np.asarray(y) >= self.cut_).astype(float)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scikit_learns_checks():
    results = check_estimator(REBAGG(n_estimators=2, relevance=RankRelevance(), random_state=0), on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed, failed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"sampling": "smote"},
            r"^sampling: .*'variation\.SMT', got 'smote'",
        ),
        ({"n_estimators": 0}, r"^n_estimators: .*got 0\."),
        ({"n_estimators": 2.0}, r"^n_estimators: .*got 2\.0"),
        ({"k": 0}, r"^k: .*got 0\."),
        ({"k": 1.5}, r"^k: .*got 1\.5"),
        ({"threshold": 0}, r"^threshold: .*\(0, 1\], got 0"),
        ({"relevance": Relevance.from_points([[0, 0], [1e9, 1]])}, r"^threshold: no label is rare.*got 0\.8"),
    ],
)
def test_input_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        REBAGG(**arguments).fit(*skewed(100))
