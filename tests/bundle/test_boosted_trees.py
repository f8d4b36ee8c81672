"""Bundles of boosted trees: forged trees are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dir.bundle import BundleError, load
from dir.bundle.estimators import _check_tree, _parts

Run = Callable[..., Path]


@pytest.mark.parametrize("categories", ["onehot", "embed"])
@pytest.mark.parametrize("method", ["hist_gbdt", "lightgbm"])
def test_boosted_trees_of_a_bundle_stay_inside(table_run: Run, method: str, categories: str) -> None:
    pytest.importorskip({"hist_gbdt": "sklearn"}.get(method, method), reason="needs the extra `trees`")
    model = load(table_run(f"method={method}", f"data.categories={categories}"))

    def check_all() -> None:
        for part in _parts(model.estimator, set()):
            _check_tree(part, "x")

    check_all()
    if method == "hist_gbdt" and categories == "onehot":
        nodes = model.estimator.regressor_.trees_._predictors[0][0].nodes
        forged = [(nodes["feature_idx"], 99), (nodes["left"], 10**6), (nodes["is_categorical"], 1)]
    else:
        trees = model.estimator.regressor_.trees_
        forged = [(trees.left, 10**6), (trees.right, 0), (trees.roots, -1), (trees.roots, 10**6)]
        assert (trees.set_of is not None) == (categories == "embed")
        if trees.set_of is not None:
            forged.append((trees.set_of, len(trees.sets)))
    for array, value in forged:
        kept = array[0]
        array[0] = value
        with pytest.raises(BundleError, match="out of range"):
            check_all()
        array[0] = kept
    check_all()
