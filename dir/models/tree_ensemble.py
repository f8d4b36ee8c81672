"""TreeEnsemble: a sum of regression trees as plain arrays, and its readers of the libraries' models.

A model bundle holds these arrays instead of the libraries' files, and NumPy evaluates them. Loading a bundle needs
neither library and parses no file of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 2**22  # rows times trees that are evaluated at once


class TreeEnsemble:
    """Sum of binary regression trees: ``bias + sum_t value[leaf_t(x)]``.

    An inner node sends a row to the left where ``x[feature] <= threshold``, or where the node's set of categories
    contains the code ``x[feature]``. Children stand behind their parent.

    Args:
        feature: column that an inner node compares, int32 [nodes]; -1 for a leaf.
        threshold: float64 [nodes].
        left, right: indices of the children, int32 [nodes]; -1 for a leaf.
        value: value of a leaf, float64 [nodes].
        roots: index of the root of each tree, int64 [trees].
        bias: added to each sum. Default 0.
        set_of: row of ``sets`` for an inner node that compares a category, int32 [nodes]; -1 for the other nodes.
            None (default): no node compares a category.
        sets: codes that go to the left, bool [sets, C + 1]: the codes 0 to C - 1, and in the last column all others.

    Example:
        >>> stump = TreeEnsemble([0, -1, -1], [0.5, 0, 0], [1, -1, -1], [2, -1, -1], [0, -1.0, 1.0], [0], bias=10.0)
        >>> stump.predict([[0.5], [0.6]]).tolist()
        [9.0, 11.0]
    """

    # A bundle of an earlier version lacks the attributes.
    set_of: NDArray[np.int32] | None = None
    sets: NDArray[np.uint8] | None = None
    num_codes = 0

    def __init__(
        self,
        feature: ArrayLike,
        threshold: ArrayLike,
        left: ArrayLike,
        right: ArrayLike,
        value: ArrayLike,
        roots: ArrayLike,
        bias: float = 0.0,
        set_of: ArrayLike | None = None,
        sets: ArrayLike | None = None,
    ) -> None:
        self.feature: NDArray[np.int32] = np.asarray(feature, dtype=np.int32)
        self.threshold: NDArray[np.float64] = np.asarray(threshold, dtype=np.float64)
        self.left: NDArray[np.int32] = np.asarray(left, dtype=np.int32)
        self.right: NDArray[np.int32] = np.asarray(right, dtype=np.int32)
        self.value: NDArray[np.float64] = np.asarray(value, dtype=np.float64)
        self.roots: NDArray[np.int64] = np.asarray(roots, dtype=np.int64)
        self.bias = float(bias)
        if set_of is not None and sets is not None:
            self.set_of = np.asarray(set_of, dtype=np.int32)
            # One bit for each code: a column of thousands of categories has as many in each of its nodes.
            self.sets = np.packbits(np.asarray(sets, dtype=bool), axis=1, bitorder="little")
            self.num_codes = np.asarray(sets).shape[1] - 1

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the predictions [N] for rows [N, D]."""
        rows = np.asarray(X, dtype=np.float64)
        step = max(1, _BLOCK // max(1, len(self.roots)))
        parts = [self._block(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _block(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        nodes = np.tile(self.roots, (len(rows), 1))
        # Rows and trees that have not reached a leaf yet.
        row, tree = np.nonzero(self.left[nodes] >= 0)
        while len(row):
            node = nodes[row, tree]
            value = rows[row, self.feature[node]]
            goes_left = value <= self.threshold[node]
            if self.set_of is not None:
                chosen = self.set_of[node]
                by_set = chosen >= 0
                goes_left[by_set] = self._contains(chosen[by_set], value[by_set])
            node = np.where(goes_left, self.left[node], self.right[node])
            nodes[row, tree] = node
            inner = self.left[node] >= 0
            row, tree = row[inner], tree[inner]
        predictions: NDArray[np.float64] = self.value[nodes].sum(axis=1) + self.bias
        return predictions

    def _contains(self, chosen: NDArray[np.int32], codes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether the chosen sets contain the codes."""
        assert self.sets is not None
        known = (codes >= 0) & (codes < self.num_codes)
        code = np.where(known, codes, self.num_codes).astype(np.int64)
        bits: NDArray[np.bool_] = (self.sets[chosen, code >> 3] >> (code & 7).astype(np.uint8)) & 1 != 0
        return bits


class _Nodes:
    """Arrays of a TreeEnsemble that grow by one node at a time."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.roots: list[int] = []
        self.sets: list[list[int]] = []

    def leaf(self, value: float) -> int:
        self.rows.append([-1, 0.0, -1, -1, value, -1])
        return len(self.rows) - 1

    def split(self, feature: int, threshold: float) -> int:
        self.rows.append([feature, threshold, -1, -1, 0.0, -1])
        return len(self.rows) - 1

    def split_categories(self, feature: int, codes: list[int]) -> int:
        self.sets.append(codes)
        self.rows.append([feature, 0.0, -1, -1, 0.0, len(self.sets) - 1])
        return len(self.rows) - 1

    def ensemble(self, bias: float = 0.0) -> TreeEnsemble:
        feature, threshold, left, right, value, set_of = np.asarray(self.rows, dtype=np.float64).reshape(-1, 6).T
        if not self.sets:
            return TreeEnsemble(feature, threshold, left, right, value, self.roots, bias)
        sets = np.zeros((len(self.sets), max(map(max, self.sets)) + 2), dtype=bool)
        for place, codes in enumerate(self.sets):
            sets[place, codes] = True
        return TreeEnsemble(feature, threshold, left, right, value, self.roots, bias, set_of, sets)


def from_lightgbm(model: Mapping[str, Any]) -> TreeEnsemble:
    """Return the trees of ``Booster.dump_model()``.

    A node compares a number, or looks a category up in a set. The model must be fitted without missing values.
    """
    nodes = _Nodes()
    for tree in model["tree_info"]:
        nodes.roots.append(_add_lightgbm(nodes, tree["tree_structure"]))
    return nodes.ensemble()


def _add_lightgbm(nodes: _Nodes, structure: Mapping[str, Any]) -> int:
    """Add a subtree and return the index of its root."""
    if "split_feature" not in structure:
        return nodes.leaf(float(structure["leaf_value"]))
    feature, threshold = int(structure["split_feature"]), structure["threshold"]
    if structure["decision_type"] == "==":
        node = nodes.split_categories(feature, [int(code) for code in threshold.split("||")])
    else:
        assert structure["decision_type"] == "<="
        node = nodes.split(feature, float(threshold))
    nodes.rows[node][2] = _add_lightgbm(nodes, structure["left_child"])
    nodes.rows[node][3] = _add_lightgbm(nodes, structure["right_child"])
    return node


def from_catboost(model: Mapping[str, Any]) -> TreeEnsemble:
    """Return the trees of a CatBoost model that was saved as JSON.

    CatBoost's trees are oblivious: all nodes of a level compare the same column, and a row's answers are the bits of
    its leaf, the first level the lowest bit. The model must compare numbers alone.
    """
    scale, (bias,) = model["scale_and_bias"]
    nodes = _Nodes()
    for tree in model["oblivious_trees"]:
        splits = tree.get("splits") or []
        nodes.roots.append(_add_oblivious(nodes, splits, tree["leaf_values"], scale, len(splits) - 1, 0))
    return nodes.ensemble(bias)


def _add_oblivious(
    nodes: _Nodes, splits: Sequence[Mapping[str, Any]], values: Sequence[float], scale: float, level: int, leaf: int
) -> int:
    """Add the subtree below the answers ``leaf`` to the levels above ``level``, and return the index of its root."""
    if level < 0:
        return nodes.leaf(scale * float(values[leaf]))
    assert splits[level]["split_type"] == "FloatFeature"
    # CatBoost stores borders in single precision, and JSON keeps their digits.
    border = float(np.float32(splits[level]["border"]))
    node = nodes.split(int(splits[level]["float_feature_index"]), border)
    nodes.rows[node][2] = _add_oblivious(nodes, splits, values, scale, level - 1, leaf)
    nodes.rows[node][3] = _add_oblivious(nodes, splits, values, scale, level - 1, leaf | (1 << level))
    return node


def from_hist_gbdt(model: Any, known: Sequence[NDArray[Any]]) -> TreeEnsemble:
    """Return the trees of a fitted ``HistGradientBoostingRegressor`` whose first columns are categories.

    scikit-learn's own trees of categories hold a ``functools.partial``, which a bundle must not trust.

    Args:
        model: fitted on places 0, 1, ... in ``known``, NaN for codes that are not known. No other value is missing.
        known: for each column of categories its codes, int64, ascending. Other codes go with most training rows.
    """
    trees = [tree for (tree,) in model._predictors]
    sizes = [len(tree.nodes) for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    nodes = np.concatenate([tree.nodes for tree in trees])
    offset, leaf = np.repeat(roots, sizes), nodes["is_leaf"] != 0
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64) + offset) for side in ("left", "right"))
    # places[column, code] is the place of the code among those known, -1 where it is not known.
    places = np.full((len(known), max((int(codes.max(initial=0)) for codes in known), default=0) + 2), -1)
    for column, codes in enumerate(known):
        places[column, codes] = np.arange(len(codes))
    by_set = (nodes["is_categorical"] != 0) & ~leaf
    first_set = np.cumsum([0, *(len(tree.raw_left_cat_bitsets) for tree in trees)])[:-1]
    words = np.concatenate([tree.raw_left_cat_bitsets for tree in trees])
    words = words[(nodes["bitset_idx"].astype(np.int64) + np.repeat(first_set, sizes))[by_set]]
    place = places[nodes["feature_idx"][by_set]]
    bit = np.maximum(place, 0)
    contains = (np.take_along_axis(words, bit // 32, axis=1) >> (bit % 32).astype(np.uint32)) & 1
    sets = np.where(place >= 0, contains, nodes["missing_go_to_left"][by_set][:, None]) != 0
    set_of = np.full(len(nodes), -1)
    set_of[by_set] = np.arange(by_set.sum())
    return TreeEnsemble(
        np.where(leaf, -1, nodes["feature_idx"]),
        np.where(by_set, 0.0, nodes["num_threshold"]),
        left,
        right,
        np.where(leaf, nodes["value"], 0.0),
        roots,
        float(np.ravel(model._baseline_prediction)[0]),
        set_of,
        sets,
    )
