"""Tests of boosted trees against the libraries' own predictions, and of TreeEnsemble against a loop over nodes."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dir.models import BoostedTrees, CatBoostTrees, HistGBDT, LightGBMTrees
from dir.models.boosted_trees import _CHUNK, _places
from dir.models.tree_ensemble import TreeEnsemble, from_catboost, from_hist_gbdt, from_lightgbm

Rows = tuple[NDArray[np.float32], NDArray[np.float64]]
CLASSES = [
    pytest.param(
        cls,
        marks=pytest.mark.skipif(importlib.util.find_spec(cls.package) is None, reason="needs the extra `trees`"),
        id=cls.__name__,
    )
    for cls in (HistGBDT, LightGBMTrees, CatBoostTrees)
]


def rows(count: int, seed: int, noise: float = 0.5) -> Rows:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 3)).astype(np.float32)
    x[:, 2] = random.integers(0, 2, count)
    return x, 2 * x[:, 0] + np.sin(3 * x[:, 1]) * x[:, 2] + noise * random.normal(size=count)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("monitor", ["mse", "mae"])
def test_the_kept_number_of_trees_has_the_lowest_validation_error(cls: Any, monitor: str) -> None:
    (x, y), (val_x, val_y) = rows(200, 0), rows(100, 1)
    settings = {"learning_rate": 0.1, "monitor": monitor, "random_state": 0}
    trees = cls(max_iter=400, patience=20, **settings).fit(x, y, X_val=val_x, y_val=val_y)
    assert 1 < trees.best_iteration_ < trees.iterations_ < 400

    def error(predictions: NDArray[Any]) -> float:
        return float((np.abs(predictions - val_y) ** (2 if monitor == "mse" else 1)).mean())

    best = error(trees.predict(val_x))
    for size in (trees.best_iteration_ // 2, trees.best_iteration_ - 1):
        fewer = cls(max_iter=size, patience=size, **settings).fit(x, y, X_val=val_x, y_val=val_y)
        assert error(fewer.predict(val_x)) >= best
    # The validation rows choose the number of trees and nothing else.
    same = cls(max_iter=trees.best_iteration_, patience=400, **settings).fit(x, y, X_val=val_x, y_val=val_y)
    np.testing.assert_allclose(same.predict(x), trees.predict(x), rtol=1e-6)


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_move_the_predictions_towards_heavy_rows(cls: Any) -> None:
    x = np.tile(np.array([[0.0], [1.0]], dtype=np.float32), (20, 1))  # says nothing about y
    y = np.repeat([0.0, 1.0], 20)
    weight = np.repeat([1.0, 3.0], 20)
    fitted = cls(max_iter=50, patience=50, random_state=0).fit(x, y, weight, X_val=x[:1], y_val=[0.75])
    np.testing.assert_allclose(fitted.predict(x), 0.75, atol=0.02)


@pytest.mark.parametrize("cls", CLASSES)
def test_arguments_out_of_range_are_named(cls: Any) -> None:
    x, y = rows(60, 0)
    for arguments, match in (
        ({"max_iter": 0}, r"max_iter.*got 0"),
        ({"patience": 0}, r"patience.*got 0"),
        ({"monitor": "balanced_mae"}, r"monitor.*balanced_mae"),
    ):
        with pytest.raises(ValueError, match=match):
            cls(**arguments).fit(x, y, X_val=x, y_val=y)


def test_a_missing_library_is_named_with_the_extra_to_install() -> None:
    class Absent(BoostedTrees):
        package = "no_such_library"

    with pytest.raises(ImportError, match=r"no_such_library.*\[trees\]"):
        Absent().check()


def test_hist_gbdt_is_scikit_learn_s_regressor_with_the_kept_number_of_trees() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    (x, y), (val_x, val_y) = rows(300, 0), rows(100, 1)
    trees = HistGBDT().fit(x, y, X_val=val_x, y_val=val_y)
    plain = HistGradientBoostingRegressor(max_iter=trees.best_iteration_, early_stopping=False).fit(x, y)
    np.testing.assert_array_equal(trees.predict(val_x), plain.predict(val_x))


def test_the_arrays_of_lightgbm_predict_what_lightgbm_predicts() -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="needs the extra `trees`")
    x, y = rows(300, 0)
    for objective, leaf in (("regression", 5), ("regression", 400)):  # 400: no tree has a split
        settings = {"objective": objective, "min_data_in_leaf": leaf, "verbosity": -1}
        booster = lightgbm.train(settings, lightgbm.Dataset(x, y), num_boost_round=20)
        # Rows on the thresholds themselves, too.
        grid = np.concatenate([x, from_lightgbm(booster.dump_model()).threshold[:, None].repeat(3, 1)])
        np.testing.assert_allclose(
            from_lightgbm(booster.dump_model()).predict(grid), booster.predict(grid), rtol=1e-9
        )


def test_the_arrays_of_catboost_predict_what_catboost_predicts(tmp_path: Any) -> None:
    import json

    catboost = pytest.importorskip("catboost", reason="needs the extra `trees`")
    x, y = rows(300, 0)
    x = np.insert(x, 1, 7.0, axis=1)  # CatBoost ignores a constant column
    booster = catboost.CatBoostRegressor(iterations=30, depth=4, verbose=False, allow_writing_files=False).fit(x, y)
    booster.save_model(str(tmp_path / "model.json"), format="json")
    trees = from_catboost(json.loads((tmp_path / "model.json").read_text()))
    grid = np.concatenate([x, trees.threshold[trees.left >= 0][:, None].repeat(4, 1).astype(np.float32)])
    np.testing.assert_allclose(trees.predict(grid), booster.predict(grid), rtol=1e-9)


def test_a_tree_ensemble_walks_every_tree_from_its_root() -> None:
    random = np.random.default_rng(0)
    feature, threshold, left, right, value, roots = [], [], [], [], [], []

    def grow(depth: int) -> int:
        node = len(feature)
        for column, item in zip((feature, threshold, left, right, value), (-1, 0.0, -1, -1, 0.0), strict=True):
            column.append(item)
        if depth == 0 or random.random() < 0.2:
            value[node] = random.normal()
            return node
        feature[node], threshold[node] = int(random.integers(3)), random.normal()
        left[node], right[node] = grow(depth - 1), grow(depth - 1)
        return node

    for _ in range(7):
        roots.append(grow(4))
    x = random.normal(size=(50, 3))

    def walk(row: NDArray[Any]) -> float:
        total = 3.0
        for node in roots:
            while left[node] != -1:
                node = left[node] if row[feature[node]] <= threshold[node] else right[node]
            total += value[node]
        return total

    found = TreeEnsemble(feature, threshold, left, right, value, roots, bias=3.0).predict(x)
    np.testing.assert_allclose(found, [walk(row) for row in x])
    assert TreeEnsemble(feature, threshold, left, right, value, roots).predict(x[:0]).shape == (0,)


def coded_rows(count: int, seed: int) -> Rows:
    """Two columns of codes, of which no row has the code 5, and a number; the codes decide the label in no order."""
    random = np.random.default_rng(seed)
    codes = np.stack([random.choice([1, 2, 3, 4, 6, 7, 8, 9], count), random.integers(1, 31, count)], axis=1)
    effects = np.random.default_rng(0).normal(size=(2, 32))
    number = random.normal(size=count)
    y = effects[0, codes[:, 0]] + effects[1, codes[:, 1]] * (number > 0) + 0.1 * random.normal(size=count)
    return np.column_stack([codes, number]).astype(np.float32), y


# The codes 5 and 40 have no training row, 0 is a missing category.
UNKNOWN = np.array([[5, 3, 0.5], [40, 0, -0.5], [0, 40, 0.5], [0, 0, 2.0]], dtype=np.float32)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("size", [2000, 30])  # 30 rows: a single tree node
def test_the_arrays_of_scikit_learn_s_categorical_trees_predict_what_they_predict(missing: bool, size: int) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = coded_rows(size, 1)
    if missing:
        x[::7, 1] = 0
    known = [np.unique(x[:, column])[int(missing and column == 1) :].astype(np.int64) for column in (0, 1)]
    plain = HistGradientBoostingRegressor(max_iter=40, categorical_features=[0, 1], early_stopping=False)
    plain.fit(_places(x, known), y)
    grid = np.concatenate([x, UNKNOWN])
    found = from_hist_gbdt(plain, known).predict(grid)
    np.testing.assert_allclose(found, plain.predict(_places(grid, known)), rtol=1e-9, atol=1e-12)


def test_the_arrays_of_lightgbm_s_categorical_trees_predict_what_they_predict() -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="needs the extra `trees`")
    x, y = coded_rows(2000, 1)
    data = lightgbm.Dataset(x, y, categorical_feature=[0, 1], params={"verbosity": -1})
    booster = lightgbm.train({"objective": "regression", "verbosity": -1}, data, num_boost_round=40)
    model = booster.dump_model()
    assert '"=="' in str(model).replace("'", '"')
    grid = np.concatenate([x, UNKNOWN])
    np.testing.assert_allclose(from_lightgbm(model).predict(grid), booster.predict(grid), rtol=1e-9)


@pytest.mark.parametrize("cls", CLASSES)
def test_columns_of_codes_are_split_as_categories_or_refused(cls: Any) -> None:
    (x, y), (val_x, val_y) = coded_rows(1500, 1), coded_rows(500, 2)
    settings = {"max_iter": 40, "random_state": 0}
    if cls.max_categories == 0:
        problem = r"^data\.categories: CatBoostTrees takes no codes of categories, got 'column 0'\. Choose "
        with pytest.raises(ValueError, match=problem):
            cls(**settings).fit(x, y, X_val=val_x, y_val=val_y, categories=2)
        return
    coded = cls(**settings).fit(x, y, X_val=val_x, y_val=val_y, categories=2)
    plain = cls(**settings).fit(x, y, X_val=val_x, y_val=val_y)
    errors = [float(((trees.predict(val_x) - val_y) ** 2).mean()) for trees in (coded, plain)]
    assert errors[0] < 0.8 * errors[1], "codes in no order need many splits of numbers, and few of categories"
    # Names of the categories do not matter.
    swap = np.append(np.random.default_rng(3).permutation(np.arange(1, 41)), 0)
    renamed = [np.column_stack([swap[rows[:, :2].astype(int) - 1], rows[:, 2]]) for rows in (x, val_x, UNKNOWN)]
    again = cls(**settings).fit(renamed[0], y, X_val=renamed[1], y_val=val_y, categories=2)
    if cls is HistGBDT:  # LightGBM orders equal categories by their codes
        np.testing.assert_allclose(again.predict(renamed[2]), coded.predict(UNKNOWN), rtol=1e-9)


def test_hist_gbdt_refuses_more_categories_than_it_has_bins() -> None:
    x = np.arange(1, 257, dtype=np.float32)[:, None]
    with pytest.raises(ValueError, match=r"at most 255 categories in a column; column 0 has, got 256\. Choose "):
        HistGBDT().fit(x, x[:, 0], X_val=x, y_val=x[:, 0], categories=1)
    with pytest.raises(ValueError, match=r"^categories: expected at most 1 columns, got 2"):
        HistGBDT().fit(x, x[:, 0], X_val=x, y_val=x[:, 0], categories=2)
    HistGBDT(max_iter=1).fit(x[1:], x[1:, 0], X_val=x, y_val=x[:, 0], categories=1)


@pytest.mark.parametrize(
    ("rate", "patience", "limit"), [(0.3, 50, 500), (0.02, 20, 700), (0.02, 130, 700), (0.02, 50, 60)]
)
def test_hist_gbdt_stops_as_if_it_looked_after_every_chunk(rate: float, patience: int, limit: int) -> None:
    (x, y), (val_x, val_y) = rows(300, 0), rows(100, 1)
    trees = HistGBDT(learning_rate=rate, patience=patience, max_iter=limit).fit(x, y, X_val=val_x, y_val=val_y)
    from sklearn.ensemble import HistGradientBoostingRegressor

    whole = HistGradientBoostingRegressor(learning_rate=rate, max_iter=limit, early_stopping=False).fit(x, y)
    errors = [float(((val_y - found) ** 2).mean()) for found in whole.staged_predict(val_x)]
    stop = 0
    while stop < limit and (stop == 0 or stop - (int(np.argmin(errors[:stop])) + 1) < patience):
        stop = min(stop + _CHUNK, limit)
    assert (trees.iterations_, trees.best_iteration_) == (stop, int(np.argmin(errors[:stop])) + 1)
