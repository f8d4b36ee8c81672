"""scikit-learn regressors in a bundle, written and read by skops: no pickle, and only listed types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dir._checks import message
from dir.bundle.description import ESTIMATOR, damaged
from dir.bundle.fields import BundleError

# The types beyond the default list of skops that a bundle may hold.
TRUSTED = (
    "dir.data.tables.TableEncoder",
    "dir.models.encoded_regressor.EncodedRegressor",
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
    """Raise a BundleError for a decision tree whose nodes point outside: predicting would read foreign memory."""
    kind = f"{type(part).__module__}.{type(part).__qualname__}"
    if kind == "sklearn.tree._tree.Tree":
        left, right, feature = part.children_left, part.children_right, part.feature
        inner, features = left != -1, part.n_features
    elif kind.endswith("predictor.TreePredictor"):
        left, right, feature = (part.nodes[name].astype(np.int64) for name in ("left", "right", "feature_idx"))
        inner, features = part.nodes["is_leaf"] == 0, np.iinfo(np.int32).max
    else:
        return
    number = np.arange(len(left))
    good = inner == inner
    for child in (left, right):
        # Children stand behind their parent: a walk from the root ends.
        good &= ~inner | ((child > number) & (child < len(number)))
    good &= ~inner | ((feature >= 0) & (feature < features))
    if len(number) == 0 or not bool(good.all()):
        raise BundleError(message(where, "holds a decision tree with nodes out of range"))


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        advice = 'pip install "deep-imbalanced-regression[recipes]".'
        raise ImportError(message("skops", "scikit-learn bundles need the package", advice=advice)) from error
    return skops.io
