"""Tests of boosted trees against the libraries' own predictions, and of TreeEnsemble against a loop over nodes."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dir.models import BoostedTrees, CatBoostTrees, HistGBDT, LightGBMTrees
from dir.models.tree_ensemble import TreeEnsemble, from_catboost, from_lightgbm

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
