"""Tests of SampleWeighter: the weights that reach a regressor, and scikit-learn's own checks."""

# ruff: noqa: N803, N806  (X is what scikit-learn calls it)

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dir import LDS, DenseWeight, LabelBins
from dir.resampling import RandomOverSampler
from dir.sklearn import SampleWeighter

WEIGHTINGS = ["lds", "dense", "power", "inverse", "sqrt_inverse", "none"]


class Recorder(RegressorMixin, BaseEstimator):
    """Linear model without a slope that keeps what ``fit`` and ``predict`` were given."""

    def __init__(self, tag: str = "") -> None:
        self.tag = tag

    def fit(self, X, y, sample_weight=None, flavour=None):
        self.X_, self.y_, self.weights_, self.flavour_ = X, y, sample_weight, flavour
        self.mean_ = np.average(y, weights=sample_weight)
        return self

    def predict(self, X, shift=0.0):
        return np.full(len(X), self.mean_ + shift)


@pytest.fixture
def skewed() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    return X, np.exp(X[:, 0] + 0.3 * rng.normal(size=200))


def inverse_weights(y: np.ndarray, power: float, own: np.ndarray | None = None, bins: int = 50) -> np.ndarray:
    """Oracle: weights by the histogram of the labels, with the sum of the caller's weights."""
    own = np.ones(len(y)) if own is None else own
    counted = y[own > 0]
    edges = np.linspace(counted.min(), counted.max(), bins + 1)
    index = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index, own, bins)
    weights = own * np.where(counts[index] > 0, counts[index], 1.0) ** -power
    return weights * own.sum() / weights.sum()


@parametrize_with_checks([SampleWeighter(Ridge()), SampleWeighter(LinearRegression(), weighting="dense")])
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("weighting", "power"), [("inverse", 1.0), ("sqrt_inverse", 0.5), ("power", 0.5)])
def test_weights_are_inverse_powers_of_the_histogram(skewed, weighting, power):
    X, y = skewed
    model = SampleWeighter(Recorder(), weighting).fit(X, y)
    np.testing.assert_allclose(model.regressor_.weights_, inverse_weights(y, power), rtol=1e-9)
    assert model.predict(X)[0] == pytest.approx(np.average(y, weights=inverse_weights(y, power)))


def test_lds_weights_are_those_of_lds_and_settings_reach_it(skewed):
    X, y = skewed
    bins = LabelBins.uniform(y.min(), y.max(), 20)
    model = SampleWeighter(Recorder(), num_bins=20, power=1.0, kernel_size=9, sigma=3.0, max_weight=2.0).fit(X, y)
    expected = LDS(bins, kernel_size=9, sigma=3.0, reweight="inverse", max_weight=2.0).fit(y)
    np.testing.assert_allclose(model.regressor_.weights_, expected(y), rtol=1e-6)
    np.testing.assert_allclose(SampleWeighter(Recorder(), expected).fit(X, y).regressor_.weights_, expected(y))
    default = LDS(LabelBins.uniform(y.min(), y.max(), 50), reweight="sqrt_inverse", sigma=1.0).fit(y)
    np.testing.assert_allclose(SampleWeighter(Recorder()).fit(X, y).regressor_.weights_, default(y), rtol=1e-6)


def test_dense_weights_and_a_reweighter_that_stays_unfitted(skewed):
    X, y = skewed
    own = DenseWeight(alpha=0.5)
    np.testing.assert_allclose(
        SampleWeighter(Recorder(), "dense", dense_alpha=0.5).fit(X, y).regressor_.weights_,
        DenseWeight(alpha=0.5).fit(y)(y),
    )
    model = SampleWeighter(Recorder(), own).fit(X, y)
    assert model.reweighter_.fitted
    assert not own.fitted
    np.testing.assert_array_equal(model.regressor_.weights_, model.reweighter_(y))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_caller_s_weights_are_multiplied_and_rows_of_weight_zero_do_not_count(skewed, weighting):
    X, y = skewed
    own = np.random.default_rng(1).uniform(0.5, 3.0, len(y))
    own[y > np.quantile(y, 0.9)] = 0
    given = SampleWeighter(Recorder(), weighting).fit(X, y, sample_weight=own).regressor_.weights_
    without = SampleWeighter(Recorder(), weighting).fit(X[own > 0], y[own > 0], own[own > 0]).regressor_.weights_
    np.testing.assert_allclose(given[own > 0], without, rtol=1e-9)
    assert (given[own == 0] == 0).all()
    if weighting == "none":
        np.testing.assert_array_equal(given, own)
    if weighting == "inverse":
        np.testing.assert_allclose(given, inverse_weights(y, 1.0, own), rtol=1e-9)
    assert SampleWeighter(Recorder(), "none").fit(X, y).regressor_.weights_ is None


def test_weights_are_refitted_in_each_fold(skewed):
    X, y = skewed
    folds = KFold(4)
    done = cross_validate(SampleWeighter(Recorder(), "inverse"), X, y, cv=folds, return_estimator=True)
    for model, (train, _) in zip(done["estimator"], folds.split(X), strict=True):
        np.testing.assert_allclose(model.regressor_.weights_, inverse_weights(y[train], 1.0), rtol=1e-9)


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_the_last_estimator_inside(skewed, routing):
    X, y = skewed
    inner = make_pipeline(FunctionTransformer(), Recorder())
    log = TransformedTargetRegressor(inner, func=np.log, inverse_func=np.exp)
    outer = Pipeline([("log", log)])
    expected = inverse_weights(y, 1.0)
    with config_context(enable_metadata_routing=routing):
        recorded = SampleWeighter(inner, "inverse").fit(X, y).regressor_[-1]
        np.testing.assert_allclose(recorded.weights_, expected, rtol=1e-9)
        model = SampleWeighter(outer, "inverse").fit(X, y)
        recorded = model.regressor_[-1].regressor_[-1]
        np.testing.assert_allclose(recorded.weights_, expected, rtol=1e-9)  # of the labels, not of their logarithms
        np.testing.assert_allclose(recorded.y_, np.log(y))
        assert model.predict(X)[0] == pytest.approx(np.exp(np.average(np.log(y), weights=expected)))
        # The other way round, the weights are those of the transformed labels.
        around = TransformedTargetRegressor(SampleWeighter(Recorder(), "inverse"), func=np.log, inverse_func=np.exp)
        recorded = around.fit(X, y).regressor_.regressor_
        np.testing.assert_allclose(recorded.weights_, inverse_weights(np.log(y), 1.0), rtol=1e-9)


def test_a_target_transformer_without_regressor_and_a_search_inside(skewed):
    X, y = skewed
    plain = SampleWeighter(TransformedTargetRegressor(func=np.log, inverse_func=np.exp), "inverse").fit(X, y)
    expected = LinearRegression().fit(X, np.log(y), sample_weight=inverse_weights(y, 1.0))
    np.testing.assert_allclose(plain.predict(X), np.exp(expected.predict(X)))
    search = SampleWeighter(GridSearchCV(Recorder(), {"tag": ["a", "b"]}, cv=2), "inverse").fit(X, y)
    np.testing.assert_allclose(search.regressor_.best_estimator_.weights_, inverse_weights(y, 1.0))


def test_metadata_routing_passes_the_caller_s_weights_and_other_metadata(skewed):
    X, y = skewed
    own = np.linspace(0.5, 2.0, len(y))
    with config_context(enable_metadata_routing=True):
        inner = Recorder().set_fit_request(flavour=True).set_predict_request(shift=True)
        model = SampleWeighter(inner, "inverse").set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, y, sample_weight=own, flavour="sweet")
        recorded = pipeline[-1].regressor_
        np.testing.assert_allclose(recorded.weights_, inverse_weights(y, 1.0, own), rtol=1e-9)
        assert recorded.flavour_ == "sweet"
        assert pipeline.predict(X, shift=1.0)[0] == pytest.approx(recorded.mean_ + 1.0)
        # The score of the folds has weights as well, and needs its own request.
        scored = clone(model).set_score_request(sample_weight=False)
        done = cross_validate(scored, X, y, params={"sample_weight": own}, cv=KFold(2), return_estimator=True)
        half = slice(100, 200)
        expected = inverse_weights(y[half], 1.0, own[half])
        np.testing.assert_allclose(done["estimator"][0].regressor_.weights_, expected, rtol=1e-9)
        with pytest.raises(TypeError, match="colour"):
            model.fit(X, y, colour="red")


def test_search_over_weightings_on_a_data_frame_with_categories():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"kind": rng.choice(["a", "b"], 150), "size": rng.normal(size=150)}, index=range(500, 650))
    y = pd.Series(np.exp(frame["size"] + (frame["kind"] == "b")), index=frame.index)
    columns = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    model = SampleWeighter(make_pipeline(columns, HistGradientBoostingRegressor(max_iter=5)))
    search = GridSearchCV(
        model, {"weighting": ["none", "lds"], "regressor__histgradientboostingregressor__max_iter": [5]}, cv=2
    )
    search.fit(frame, y)
    assert search.best_estimator_.feature_names_in_.tolist() == ["kind", "size"]
    assert search.predict(frame).shape == (150,)
    found = cross_val_predict(model, frame, y, cv=3)
    assert isinstance(found, np.ndarray)  # an array in the order of the rows, as of every regressor
    assert len(found) == 150
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(frame), search.predict(frame))


@pytest.mark.parametrize(
    ("regressor", "settings", "problem"),
    [
        (KNeighborsRegressor(), {}, r"^sample_weight: KNeighborsRegressor\.fit takes no sample_weight\."),
        (
            make_pipeline(StandardScaler(), KNeighborsRegressor()),
            {},
            "KNeighborsRegressor.fit takes no sample_weight",
        ),
        (Recorder(), {"weighting": "ldss"}, r"^weighting: expected one of 'lds', .*got 'ldss'"),
        (Recorder(), {"weighting": "dense", "power": 0.5}, r"^power: weighting='dense' does not read it, got 0\.5\."),
        (Recorder(), {"dense_alpha": 0.5}, r"^dense_alpha: weighting='lds' does not read it, got 0\.5\. Only dense"),
        (Recorder(), {"weighting": DenseWeight(), "num_bins": 9}, r"^num_bins: a reweighter of your own does not"),
        (Recorder(), {"power": -1.0}, r"^power: expected a finite number >= 0, got -1\.0\."),
        (Recorder(), {"num_bins": 0}, r"^num_bins: expected an integer >= 1, got 0\."),
    ],
)
def test_wrong_settings_are_refused(skewed, regressor, settings, problem):
    with pytest.raises(ValueError, match=problem):
        SampleWeighter(regressor, **settings).fit(*skewed)


def test_wrong_labels_weights_and_pipelines_are_refused(skewed):
    X, y = skewed
    model = SampleWeighter(Recorder())
    with pytest.raises(ValueError, match="1d array"):
        model.fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="at least one"):
        model.fit(X, y, np.zeros(len(y)))
    with pytest.raises(ValueError, match="Negative values"):
        model.fit(X, y, np.full(len(y), -1.0))
    from imblearn.pipeline import make_pipeline as make_resampling_pipeline

    resampled = make_resampling_pipeline(RandomOverSampler(), Recorder())
    with pytest.raises(ValueError, match=r"the step 'randomoversampler' of the pipeline changes the rows"):
        SampleWeighter(resampled).fit(X, y)


def test_labels_that_are_all_equal_have_equal_weights(skewed):
    X, _ = skewed
    for weighting in WEIGHTINGS[:-1]:
        weights = SampleWeighter(Recorder(), weighting).fit(X, np.full(len(X), 3.0)).regressor_.weights_
        np.testing.assert_allclose(weights, np.ones(len(X)))
