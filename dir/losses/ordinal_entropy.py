"""Ordinal entropy: a regulariser that spreads out features of different labels and draws equal labels together."""

from __future__ import annotations

import torch
from torch import Tensor

from dir._checks import check_not_negative
from dir.losses.base import Regularizer, labelled_rows, nan_unless_finite
from dir.losses.feature_rows import feature_rows, pair_distances, unit_rows


def ordinal_entropy(features: Tensor, labels: Tensor, tightness: float = 1.0) -> Tensor:
    r"""Return the distance of features to their label's centre, minus the distance between the centres.

    .. math::
        L = -\frac{1}{M (M - 1)} \sum_{a \ne b} w_{ab} \lVert c_a - c_b \rVert_2
            + \lambda \frac{1}{N} \sum_i \lVert z_i - c_{y_i} \rVert_2, \qquad
        w_{ab} = \frac{|y_a - y_b|}{\max_{a, b} |y_a - y_b|}

    over the M different labels of the batch, with z the features at unit length and c the mean of the features with
    exactly the same label. With a single label there is no diversity term; no samples give 0. The shapes do not
    depend on M, so that no step waits for the device.

    Args:
        features: encoder features.
        labels: one label per row of features, in any unit.
        tightness: lambda, >= 0.

    Shape:
        features ``[N, D]``, labels ``[N]`` -> a scalar, from -2 to ``2 * tightness``; NaN if a label is not
        finite. Half-precision features give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, or a negative tightness.

    Example:
        >>> apart, together = torch.eye(2), torch.ones(2, 2)
        >>> labels = torch.tensor([1.0, 2.0])
        >>> bool(ordinal_entropy(apart, labels) < ordinal_entropy(together, labels))
        True

    Reference:
        Zhang et al., Improving Deep Regression with Ordinal Entropy, ICLR 2023, the terms L_d and L_t. Ours: the
        weights are divided by the largest weight, so that the unit of the labels does not matter. Unit length bounds
        the first term, which would otherwise fall without limit as features grow.
    """
    check_not_negative("tightness", tightness)
    features, labels = feature_rows(features, labels)
    n = len(labels)
    if n == 0:
        return features.sum() * 0.0
    unit = unit_rows(features)
    ordered, order = labels.sort()
    # Number the groups of equal labels in ascending order; the M groups take the first M of N rows.
    step = torch.cat([torch.zeros_like(order[:1]), (ordered[1:] != ordered[:-1]).long()])
    group = torch.empty_like(order).scatter_(0, order, step.cumsum(0))
    count = torch.zeros_like(labels).index_add_(0, group, torch.ones_like(labels))
    center = torch.zeros_like(unit).index_add(0, group, unit) / count.clamp(min=1)[:, None]
    label = torch.zeros_like(labels).scatter(0, group, labels)
    present = (count > 0).to(labels.dtype)
    apart = (label[:, None] - label[None, :]).abs() * present[:, None] * present[None, :]
    apart = apart / apart.max().clamp(min=torch.finfo(apart.dtype).tiny)
    distance = pair_distances(center)
    groups = present.sum()
    diversity = (apart * distance).sum() / (groups * (groups - 1)).clamp(min=1)
    own: Tensor = torch.linalg.vector_norm(unit - center[group], dim=1).mean()
    return nan_unless_finite(tightness * own - diversity, labels)


class OrdinalEntropy(Regularizer):
    """Module of :func:`ordinal_entropy`, times ``weight``. On several ranks, each rank uses its own batch.

    Args:
        weight: factor of the term, >= 0; the paper uses 1e-3 together with a squared error.
        tightness: lambda, >= 0.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Example:
        >>> features, labels = torch.randn(8, 4), torch.arange(8.0)
        >>> OrdinalEntropy(weight=1e-3)(features, labels, labels).shape
        torch.Size([])
    """

    def __init__(self, weight: float = 1e-3, tightness: float = 1.0, ignore_nan: bool = False) -> None:
        super().__init__(weight, ignore_nan)
        check_not_negative("tightness", tightness)
        self.tightness = float(tightness)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """Return the weighted loss; ``predictions`` are ignored."""
        if self.ignore_nan:
            labels, features, predictions = labelled_rows(labels, features, predictions)
        return self.weight * ordinal_entropy(features, labels, self.tightness)
