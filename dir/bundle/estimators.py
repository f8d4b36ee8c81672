"""scikit-learn regressors in a bundle, written and read by skops: no pickle, and only listed types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._checks import message
from dir.bundle.description import ESTIMATOR, damaged
from dir.bundle.fields import BundleError

# The types beyond the default list of skops that a bundle may hold.
TRUSTED = (
    "dir.data.category_codes.CodeEncoder",
    "dir.data.tables.TableEncoder",
    "dir.data.window_encoder.WindowEncoder",
    "dir.models.boosted_trees_extra.CatBoostTrees",
    "dir.models.boosted_trees.HistGBDT",
    "dir.models.boosted_trees_extra.LightGBMTrees",
    "dir.models.encoded_regressor.EncodedRegressor",
    "dir.models.encoded_regressor.EncodedTrees",
    "dir.models.tree_ensemble.TreeEnsemble",
    "dir.relevance.Relevance",
    "dir.resampling.rebagg.REBAGG",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)


def dump(estimator: Any) -> tuple[bytes, list[str]]:
    """Return a fitted regressor as bytes, and the types in it that :func:`restore` has to be told.

    Raises:
        BundleError: skops cannot write the regressor.
    """
    skops = _skops()
    try:
        content: bytes = skops.dumps(estimator)
    except Exception as error:  # skops passes on the errors of every part of the estimator
        raise BundleError(message("method.estimator", f"skops cannot write the regressor ({error})")) from error
    return content, sorted(skops.get_untrusted_types(data=content))


def restore(content: bytes, trusted: Sequence[str], further: Sequence[str], folder: Path) -> Any:
    """Return the regressor of a bundle.

    Args:
        content: bytes of the file.
        trusted: the types that the run listed.
        further: types that the caller trusts in addition to :data:`TRUSTED`.
        folder: the bundle, for messages.

    Raises:
        BundleError: a type that is not trusted or not listed, or a damaged file.
    """
    skops = _skops()
    allowed = {*TRUSTED, *further}
    where = str(folder / ESTIMATOR)
    try:
        found = set(skops.get_untrusted_types(data=content))
    except Exception as error:  # from the zip reader to the parser of the schema
        raise damaged(folder / ESTIMATOR, f"not a file of skops ({error})") from error
    unlisted, refused = sorted(found - set(trusted)), sorted(found - allowed)
    if unlisted:
        raise BundleError(message(where, f"holds types that the run did not list: {', '.join(unlisted)}"))
    if refused:
        advice = f"Where you trust their authors: load(path, trusted={refused!r})."
        raise BundleError(message(where, f"holds types that are not trusted: {', '.join(refused)}", advice=advice))
    try:
        estimator = skops.loads(content, trusted=sorted(found))
    except Exception as error:
        raise damaged(folder / ESTIMATOR, str(error) or type(error).__name__) from error
    if not hasattr(estimator, "predict"):
        raise BundleError(message(where, "expected a regressor", type(estimator).__name__))
    for part in _parts(estimator, set()):
        _check_tree(part, where)
    return estimator


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield a regressor and everything that it holds."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, str | bytes | int | float | bool | None):
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set) or (isinstance(item, np.ndarray) and item.dtype == object):
            waiting.extend(list(np.ravel(item)) if isinstance(item, np.ndarray) else item)
        elif hasattr(item, "__dict__"):
            waiting.extend(vars(item).values())


def _check_tree(part: Any, where: str) -> None:
    """Raise a BundleError for trees whose nodes point outside: predicting would read foreign memory, or not end."""
    kind = f"{type(part).__module__}.{type(part).__qualname__}"
    if kind == "sklearn.tree._tree.Tree":
        good = _nodes_inside(part.children_left, part.children_right, part.feature, part.n_features)
    elif kind.endswith("predictor.TreePredictor"):
        left, right, feature = (part.nodes[name].astype(np.int64) for name in ("left", "right", "feature_idx"))
        leaf = part.nodes["is_leaf"] != 0
        good = _nodes_inside(np.where(leaf, -1, left), right, feature, np.iinfo(np.int32).max)
        # A categorical split reads a bitset by an index in the node; encoded tables have no such split.
        good &= not part.nodes["is_categorical"].any()
    elif kind.endswith("gradient_boosting.HistGradientBoostingRegressor"):
        # scikit-learn compares the number of columns of the rows with n_features_in_ alone.
        predictors = [tree for stage in part._predictors for tree in stage]
        good = all((tree.nodes["feature_idx"] < part.n_features_in_).all() for tree in predictors)
    elif kind == "dir.models.tree_ensemble.TreeEnsemble":
        arrays = (part.feature, part.threshold, part.left, part.right, part.value)
        good = len({len(array) for array in arrays}) == 1
        good &= _nodes_inside(part.left, part.right, part.feature, np.iinfo(np.int32).max)
        good &= bool(((part.roots >= 0) & (part.roots < len(part.left))).all())
        if part.set_of is not None:
            good &= part.set_of.shape == part.feature.shape and bool((part.set_of < len(part.sets)).all())
            good &= 0 <= part.num_codes < 8 * part.sets.shape[1]
    elif hasattr(part, "tree_") and hasattr(part, "n_features_in_"):
        good = part.tree_.n_features == part.n_features_in_
    else:
        return
    if not good:
        raise BundleError(message(where, "holds a decision tree with nodes out of range"))


def _nodes_inside(left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], features: int) -> bool:
    """Return whether each inner node (whose left child is not -1) has children behind it, and a column in range."""
    number, inner = np.arange(len(left)), left != -1
    good = ~inner | ((feature >= 0) & (feature < features))
    for child in (left, right):
        # Children stand behind their parent: a walk from the root ends.
        good &= ~inner | ((child > number) & (child < len(number)))
    return len(number) > 0 and bool(good.all())


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        advice = 'pip install "deep-imbalanced-regression[recipes]".'
        raise ImportError(message("skops", "scikit-learn bundles need the package", advice=advice)) from error
    return skops.io
