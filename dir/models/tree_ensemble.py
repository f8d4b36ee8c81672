"""TreeEnsemble: a sum of regression trees as plain arrays, and its readers of LightGBM's and CatBoost's models.

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

    An inner node sends a row to the left where ``x[feature] <= threshold``. Children stand behind their parent.

    Args:
        feature: column that an inner node compares, int32 [nodes]; -1 for a leaf.
        threshold: float64 [nodes].
        left, right: indices of the children, int32 [nodes]; -1 for a leaf.
        value: value of a leaf, float64 [nodes].
        roots: index of the root of each tree, int64 [trees].
        bias: added to each sum. Default 0.

    Example:
        >>> stump = TreeEnsemble([0, -1, -1], [0.5, 0, 0], [1, -1, -1], [2, -1, -1], [0, -1.0, 1.0], [0], bias=10.0)
        >>> stump.predict([[0.5], [0.6]]).tolist()
        [9.0, 11.0]
    """

    def __init__(
        self,
        feature: ArrayLike,
        threshold: ArrayLike,
        left: ArrayLike,
        right: ArrayLike,
        value: ArrayLike,
        roots: ArrayLike,
        bias: float = 0.0,
    ) -> None:
        self.feature: NDArray[np.int32] = np.asarray(feature, dtype=np.int32)
        self.threshold: NDArray[np.float64] = np.asarray(threshold, dtype=np.float64)
        self.left: NDArray[np.int32] = np.asarray(left, dtype=np.int32)
        self.right: NDArray[np.int32] = np.asarray(right, dtype=np.int32)
        self.value: NDArray[np.float64] = np.asarray(value, dtype=np.float64)
        self.roots: NDArray[np.int64] = np.asarray(roots, dtype=np.int64)
        self.bias = float(bias)

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
            goes_left = rows[row, self.feature[node]] <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
            nodes[row, tree] = node
            inner = self.left[node] >= 0
            row, tree = row[inner], tree[inner]
        predictions: NDArray[np.float64] = self.value[nodes].sum(axis=1) + self.bias
        return predictions


class _Nodes:
    """Arrays of a TreeEnsemble that grow by one node at a time."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.roots: list[int] = []

    def leaf(self, value: float) -> int:
        self.rows.append([-1, 0.0, -1, -1, value])
        return len(self.rows) - 1

    def split(self, feature: int, threshold: float) -> int:
        self.rows.append([feature, threshold, -1, -1, 0.0])
        return len(self.rows) - 1

    def ensemble(self, bias: float = 0.0) -> TreeEnsemble:
        feature, threshold, left, right, value = np.asarray(self.rows, dtype=np.float64).reshape(-1, 5).T
        return TreeEnsemble(feature, threshold, left, right, value, self.roots, bias)


def from_lightgbm(model: Mapping[str, Any]) -> TreeEnsemble:
    """Return the trees of ``Booster.dump_model()``.

    The model must compare numbers alone: no categorical splits and no missing values.
    """
    nodes = _Nodes()
    for tree in model["tree_info"]:
        nodes.roots.append(_add_lightgbm(nodes, tree["tree_structure"]))
    return nodes.ensemble()


def _add_lightgbm(nodes: _Nodes, structure: Mapping[str, Any]) -> int:
    """Add a subtree and return the index of its root."""
    if "split_feature" not in structure:
        return nodes.leaf(float(structure["leaf_value"]))
    assert structure["decision_type"] == "<="
    node = nodes.split(int(structure["split_feature"]), float(structure["threshold"]))
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
