"""Tests of ImbalancedRegressor: scikit-learn's own checks, its parts, its seeds and its distributions."""

# ruff: noqa: N806  (X is what scikit-learn calls it)

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from dir import FDS, LDS, LabelBins
from dir.metrics.functional import balanced_mae
from dir.prior import LabelPrior
from dir.sklearn import ImbalancedRegressor
from dir.sklearn.inputs import label_bins
from dir.sklearn.splitting import validation_rows

METHODS = ["vanilla", "lds", "lds_fds", "histogram_prior"]
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 8, "learning_rate": 0.02, "dropout": 0.0, "random_state": 0}
WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row of weight 2 is drawn once per epoch and two rows twice, as in scikit-learn's MLPRegressor"
    )
}


@pytest.fixture
def skewed() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    return 100 * X + 7, 1000 + 50 * np.exp(X[:, 0] + 0.2 * rng.normal(size=300))


@parametrize_with_checks(
    [ImbalancedRegressor(method, **SMALL) for method in ("lds_fds", "histogram_prior")],
    expected_failed_checks=lambda _: WEIGHTS,
)
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns_in_the_units_of_the_table(skewed, method):
    X, y = skewed
    model = ImbalancedRegressor(method, **SMALL | {"max_epochs": 20}).fit(X, y)
    assert model.score(X, y) > 0.5
    assert (model.model_.fds is not None) == (method == "lds_fds")
    assert len(model.validation_errors_) == model.n_iter_
    assert model.best_epoch_ == int(np.argmin(model.validation_errors_)) + 1


@pytest.mark.parametrize("method", ["lds_fds", "histogram_prior"])
def test_equal_seeds_give_equal_models_whatever_the_global_random_state(skewed, method):
    X, y = skewed
    model = ImbalancedRegressor(method, **SMALL | {"dropout": 0.3})
    first = model.fit(X, y).predict(X)
    torch.rand(3)
    np.random.rand(3)
    second = clone(model).fit(X, y).predict(X)
    np.testing.assert_array_equal(first, second)
    other = clone(model).set_params(random_state=1).fit(X, y).predict(X)
    assert not np.allclose(first, other)


def test_fit_restores_the_random_state_and_threads_do_not_disturb_each_other(skewed):
    X, y = skewed
    model = ImbalancedRegressor(**SMALL | {"dropout": 0.3})
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[2]
    alone = clone(model).fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[2] == before_numpy  # its position
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda _: clone(model).fit(X, y).predict(X), range(3)))
    for found in together:
        np.testing.assert_array_equal(found, alone)


def test_weights_of_the_labels_reach_the_loss(skewed, monkeypatch):
    X, y = skewed
    given = []
    monkeypatch.setattr(
        "dir.sklearn.imbalanced_regressor.train_network",
        lambda model, criterion, units, train, val, settings: given.append((model, train, val)) or [1.0],
    )
    own = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    for method in METHODS:
        ImbalancedRegressor(method, **SMALL | {"power": 0.5 if method == "histogram_prior" else "auto"}).fit(X, y)
    (_, train, val) = given[0]
    labels = train.labels
    bins = LabelBins.uniform(float(labels.min()), float(labels.max()), 50, dtype=torch.float64)
    lds = LDS(bins, reweight="sqrt_inverse", sigma=1.0).fit(labels)
    assert [rows[1].weights is None for rows in given] == [True, False, False, True]
    torch.testing.assert_close(given[1][1].weights, lds(labels).float())
    assert isinstance(given[2][0].fds, FDS)
    assert len(labels) + len(val.labels) == len(y)
    torch.testing.assert_close(train.inputs.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    prior = given[3][0].head.prior
    ImbalancedRegressor("lds", **SMALL).fit(X, y, sample_weight=own)
    ImbalancedRegressor("histogram_prior", **SMALL | {"power": 0.5}).fit(X, y, sample_weight=own)
    of_rows = dict(zip(y, own / own.mean(), strict=True))
    scaled = torch.tensor([of_rows[label] for label in given[4][1].labels.tolist()], dtype=torch.float64)
    index = bins(given[4][1].labels)
    counts = torch.zeros(50, dtype=torch.float64).index_add(0, index, scaled)
    expected = LDS(bins, reweight="sqrt_inverse", sigma=1.0).fit_counts(counts)(given[4][1].labels) * scaled
    torch.testing.assert_close(given[4][1].weights, expected.float())
    assert not torch.allclose(given[5][0].head.prior.log_density, prior.log_density)


def test_rows_of_weight_zero_are_as_if_not_there(skewed):
    X, y = skewed
    own = np.ones(len(y))
    own[::3] = 0
    for method in ("lds_fds", "histogram_prior"):
        given = ImbalancedRegressor(method, **SMALL).fit(X, y, sample_weight=own).predict(X)
        without = ImbalancedRegressor(method, **SMALL).fit(X[own > 0], y[own > 0], np.ones(200)).predict(X)
        np.testing.assert_array_equal(given, without)


def test_early_stopping_keeps_the_best_epoch(skewed, capsys):
    X, y = skewed
    settings = SMALL | {"learning_rate": 0.1, "max_epochs": 60, "patience": 3, "verbose": True}
    model = ImbalancedRegressor("vanilla", **settings).fit(X, y)
    assert model.n_iter_ == model.best_epoch_ + 3 < 60
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == model.n_iter_
    assert printed[0] == f"epoch 1: validation RMSE {model.validation_errors_[0]:.4g}"
    # The same rows validate again: the kept weights give the error of the best epoch.
    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    rows = validation_rows(y, label_bins(torch.from_numpy(y), 50), 0.13, seed)
    error = np.sqrt(np.mean((model.predict(X[rows]) - y[rows]) ** 2))
    assert error == pytest.approx(min(model.validation_errors_), rel=1e-4)
    whole = ImbalancedRegressor("vanilla", **SMALL | {"patience": None, "verbose": True}).fit(X, y)
    assert (whole.n_iter_, whole.best_epoch_, whole.validation_errors_) == (8, 8, [])
    np.testing.assert_allclose(whole.scaler_.mean_, X.mean(0))  # all rows are trained on
    assert "training loss" in capsys.readouterr().out


def test_the_power_is_the_best_on_the_validation_rows_and_moves_predictions_to_rare_labels(skewed):
    X, y = skewed
    model = ImbalancedRegressor("histogram_prior", **SMALL).fit(X, y)
    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    rows = validation_rows(y, label_bins(torch.from_numpy(y), 50), 0.13, seed)
    errors = {
        power: float(balanced_mae(model.predict(X[rows], power), y[rows], model.bins_)) for power in (0, 0.5, 1)
    }
    for power, error in errors.items():
        assert model.powers_tried_[power] == pytest.approx(error)
    assert model.power_ == min(model.powers_tried_, key=model.powers_tried_.get)
    np.testing.assert_array_equal(model.predict(X), model.predict(X, model.power_))
    assert model.predict(X, 1.0).mean() > model.predict(X, 0.0).mean()  # rare labels are the large ones
    fixed = ImbalancedRegressor("histogram_prior", **SMALL | {"power": 0.0}).fit(X, y)
    np.testing.assert_array_equal(fixed.predict(X), model.predict(X, power=0.0))


def test_intervals_and_quantiles_are_those_of_the_distribution(skewed):
    X, y = skewed
    model = ImbalancedRegressor("histogram_prior", **SMALL | {"max_epochs": 15}).fit(X, y)
    interval = model.predict_interval(X, level=0.8, power=0.0)
    np.testing.assert_allclose(interval[:, 0], model.predict_quantile(X, 0.1, power=0.0))
    np.testing.assert_allclose(interval[:, 1], model.predict_quantile(X, 0.9, power=0.0))
    assert ((interval[:, 0] <= y) & (y <= interval[:, 1])).mean() > 0.7
    inner = model.predict_interval(X, level=0.2, power=0.0)
    assert (interval[:, 0] < inner[:, 0]).all()
    assert ((inner[:, 0] <= y) & (y <= inner[:, 1])).mean() < 0.6
    for method in METHODS[:3]:
        plain = ImbalancedRegressor(method)
        assert not hasattr(plain, "predict_interval")
        with pytest.raises(AttributeError) as caught:
            plain.predict_quantile(X, 0.5)
        assert "Choose method='histogram_prior'" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match=r"^power: method='lds' has no power, got 0\.5"):
        ImbalancedRegressor("lds", **SMALL).fit(X, y).predict(X, power=0.5)
    with pytest.raises(ValueError, match=r"^power: expected a finite number >= 0, got -1"):
        model.predict(X, power=-1)


def test_a_pipeline_with_categories_in_a_search_and_in_a_pickle():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"kind": rng.choice(["a", "b"], 120), "size": rng.normal(size=120)}, index=range(900, 1020))
    y = pd.Series(np.exp(frame["size"] + (frame["kind"] == "b")), index=frame.index, name="price")
    columns = ColumnTransformer([("kind", OneHotEncoder(sparse_output=False), ["kind"])], remainder="passthrough")
    columns.set_output(transform="pandas")
    model = make_pipeline(columns, ImbalancedRegressor("histogram_prior", **SMALL | {"max_epochs": 2}))
    search = GridSearchCV(model, {"imbalancedregressor__power": [0.0, 1.0]}, cv=2, error_score="raise").fit(frame, y)
    best = search.best_estimator_
    assert best[-1].feature_names_in_.tolist() == ["kind__kind_a", "kind__kind_b", "remainder__size"]
    assert best.predict(frame, power=0.3).shape == (120,)
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict(frame), best.predict(frame))
    np.testing.assert_array_equal(again[:-1].transform(frame), best[:-1].transform(frame))
    assert cross_val_score(model, frame, y, cv=2, error_score="raise").shape == (2,)
    assert isinstance(cross_val_predict(model, frame, y, cv=2), np.ndarray)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"method": "ldss"}, r"^method: expected one of 'vanilla', .*got 'ldss'"),
        ({"hidden_layer_sizes": 64}, r"^hidden_layer_sizes: .*such as \(64, 64\), got 64\."),
        ({"hidden_layer_sizes": ()}, r"^hidden_layer_sizes: .*got \(\)\."),
        ({"hidden_layer_sizes": (8, 0)}, r"^hidden_layer_sizes: expected an integer >= 1, got 0\."),
        ({"dropout": 1.0}, r"^dropout: "),
        ({"max_epochs": 0}, r"^max_epochs: .*got 0\."),
        ({"batch_size": 0}, r"^batch_size: .*got 0\."),
        ({"num_bins": 0}, r"^num_bins: .*got 0\."),
        ({"patience": 0}, r"^patience: .*got 0\. None trains all epochs\."),
        ({"learning_rate": 0}, r"^learning_rate: .*got 0\."),
        ({"weight_decay": -1}, r"^weight_decay: .*got -1\."),
        ({"validation_fraction": 0.5}, r"^validation_fraction: .*got 0\.5\."),
        ({"method": "histogram_prior", "power": "best"}, r"^power: .*got 'best'\."),
        ({"power": 0.5}, r"^power: method='lds' has no power, got 0\.5\."),
        ({"learning_rate": 1e30}, r"^learning_rate: the training diverged in epoch \d, got 1e\+30\."),
    ],
)
def test_wrong_settings_are_refused(skewed, settings, problem):
    with pytest.raises(ValueError, match=problem):
        ImbalancedRegressor(**SMALL | settings).fit(*skewed)


@pytest.mark.parametrize("method", ["lds_fds", "histogram_prior"])
def test_equal_labels_are_predicted_as_they_are(skewed, method):
    X, _ = skewed
    model = ImbalancedRegressor(method, **SMALL | {"max_epochs": 12}).fit(X, np.full(len(X), 3.0))
    np.testing.assert_allclose(model.predict(X), 3.0, atol=0.3)


def test_the_validation_rows_are_balanced_and_exist_in_small_tables():
    labels = np.array([0.0] * 90 + [1.0] * 9 + [2.0])
    rows = validation_rows(labels, LabelBins.integers(0, 2), 0.1, seed=0)
    assert [int(rows[labels == value].sum()) for value in (0.0, 1.0, 2.0)] == [7, 3, 0]
    few = np.linspace(0.0, 1.0, 20)
    assert validation_rows(few, LabelBins.uniform(0, 1, 50), 0.13, seed=0).sum() == 2
    assert validation_rows(np.array([1.0, 2.0, 9.0]), LabelBins.uniform(1, 9, 50), 0.13, seed=0).sum() == 1
    assert (validation_rows(labels, LabelBins.integers(0, 2), 0.1, seed=1) != rows).any()


def test_weights_of_the_label_prior_count_as_repeated_labels():
    from dir import LabelCells

    bins = LabelBins.uniform(0, 4, 4)
    cells = LabelCells(bins, num_cells=40, sigma=1.0)
    labels, weights = torch.tensor([0.5, 2.5]), torch.tensor([3.0, 1.0])
    weighted = LabelPrior(40).fit(labels, cells, weights)
    repeated = LabelPrior(40).fit(torch.tensor([0.5, 0.5, 0.5, 2.5]), cells)
    torch.testing.assert_close(weighted.log_density, repeated.log_density)
