"""Tests of the scorers, and of the lazy names of the folder."""

# ruff: noqa: N806  (X is what scikit-learn calls it)

from __future__ import annotations

import importlib
import pickle

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

import dir.sklearn as face
from dir import LabelBins
from dir.sklearn import SampleWeighter, balanced_mae_scorer, shot_mae_scorer


@pytest.fixture
def ages() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.minimum(rng.geometric(0.3, size=400) - 1, 12).astype(float)
    return np.stack([y + rng.normal(size=400), rng.normal(size=400)], axis=1), y


def test_scores_of_the_folds_are_those_of_bins_and_groups_of_all_labels(ages):
    X, y = ages
    scoring = {"balanced": balanced_mae_scorer(y), **{one: shot_mae_scorer(y, one) for one in ("many", "few")}}
    folds = KFold(3, shuffle=True, random_state=0)
    found = cross_validate(Ridge(), X, y, cv=folds, scoring=scoring)
    counts = {value: int((y == value).sum()) for value in np.unique(y)}
    for number, (train, test) in enumerate(folds.split(X)):
        error = np.abs(Ridge().fit(X[train], y[train]).predict(X[test]) - y[test])
        by_label = [error[y[test] == value].mean() for value in np.unique(y[test])]
        assert found["test_balanced"][number] == pytest.approx(-np.mean(by_label))
        few = np.array([counts[value] < 20 for value in y[test]])
        many = np.array([counts[value] > 100 for value in y[test]])
        assert found["test_few"][number] == pytest.approx(-error[few].mean())
        assert found["test_many"][number] == pytest.approx(-error[many].mean())


def test_own_bins_and_thresholds_and_a_group_without_rows(ages):
    X, y = ages
    model = DummyRegressor(strategy="constant", constant=0.0).fit(X, y)
    low, high = y[y < 6].mean(), y[y >= 6].mean()
    assert balanced_mae_scorer(LabelBins.from_edges([0, 6, 12]))(model, X, y) == pytest.approx(-(low + high) / 2)
    counts = {value: int((y == value).sum()) for value in np.unique(y)}
    rows = np.array([counts[value] > 30 for value in y])
    assert shot_mae_scorer(y, "many", many=30, few=10)(model, X, y) == pytest.approx(-y[rows].mean())
    assert np.isnan(shot_mae_scorer(y, "zero")(model, X, y))
    numbers = np.linspace(0, 1, 400)
    halves = balanced_mae_scorer(numbers, num_bins=2)(model, X, numbers)
    assert halves == pytest.approx(-(numbers[:200].mean() + numbers[200:].mean()) / 2)


def test_a_search_by_a_scorer_chooses_weights_for_rare_labels(ages):
    X, y = ages
    scorer = pickle.loads(pickle.dumps(balanced_mae_scorer(y)))  # as for several processes
    search = GridSearchCV(SampleWeighter(Ridge()), {"weighting": ["none", "inverse"]}, scoring=scorer, cv=3)
    assert search.fit(X, y).best_params_ == {"weighting": "inverse"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"group": "rare"}, r"^group: expected one of 'many', .*got 'rare'"),
        ({"many": 10, "few": 20}, r"^many: .*got 10"),
        ({"by": "size"}, r"by: .*got 'size'"),
        ({"num_bins": 0}, r"^num_bins: .*got 0"),
    ],
)
def test_wrong_arguments_are_refused_at_once(ages, arguments, problem):
    with pytest.raises(ValueError, match=problem):
        shot_mae_scorer(ages[1], **arguments)


def test_names_are_lazy_and_an_old_scikit_learn_is_refused(monkeypatch):
    assert set(face.__all__) == {
        "ImbalancedRegressor",
        "SampleWeighter",
        "TargetPower",
        "balanced_mae_scorer",
        "shot_mae_scorer",
    }
    assert all(hasattr(face, name) for name in face.__all__)
    monkeypatch.delattr("sklearn.utils.validation.validate_data")
    with pytest.raises(ImportError, match=r"^dir\.sklearn: needs scikit-learn >= 1\.6\. pip install"):
        importlib.reload(face)
