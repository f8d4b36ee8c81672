"""Labels, weights and label bins as the estimators read them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_array, column_or_1d, get_tags
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from dir.bins import LabelBins
from dir.data.arrays import automatic_bins


def checked_labels(y: Any) -> NDArray[Any]:
    """Return labels as a vector of finite numbers; a column ``[N, 1]`` is flattened with scikit-learn's warning.

    Raises:
        ValueError: several targets, or labels that are not finite.
    """
    labels: NDArray[Any] = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype="numeric", input_name="y")
    return labels


def checked_weights(sample_weight: Any, X: Any) -> NDArray[np.float64] | None:  # noqa: N803
    """Return the user's weights ``[N]``, or None where none are given.

    Raises:
        ValueError: weights of another length, negative, not finite, or all 0.
    """
    if sample_weight is None:
        return None
    weights: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not (weights > 0).any():
        raise ValueError("sample_weight: expected at least one weight > 0, got none.")
    return weights


def label_bins(labels: Tensor, num_bins: int) -> LabelBins:
    """Return :func:`dir.data.automatic_bins`, and one bin around the value of labels that are all equal.

    Example:
        >>> label_bins(torch.tensor([2.0, 2.0], dtype=torch.float64), 50).edges.tolist()
        [1.5, 2.5]
    """
    if bool((labels == labels[0]).all()):
        return LabelBins.quantiles(labels, 1, dtype=labels.dtype)
    return automatic_bins(labels, num_bins)


def weighted_counts(bins: LabelBins, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of the weights in each bin, float64 ``[num_bins]``, without labels in no bin.

    Example:
        >>> bins = LabelBins.integers(0, 1)
        >>> weighted_counts(bins, torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 2.0, 0.5]))
        tensor([1.0000, 2.5000], dtype=torch.float64)
    """
    sums = torch.zeros(bins.num_bins + 1, dtype=torch.float64)
    return sums.index_add(0, bins(labels), weights.double())[:-1]


def tags_around(tags: Any, inner: Any) -> Any:
    """Return the tags of a regressor that passes its rows to another estimator as they are."""
    found = get_tags(inner)
    tags.input_tags = copy.deepcopy(found.input_tags)
    tags.regressor_tags.poor_score = bool(found.regressor_tags and found.regressor_tags.poor_score)
    tags.non_deterministic = found.non_deterministic
    return tags
