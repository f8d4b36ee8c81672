"""Ordinal entropy: features of different labels spread out in their order, those of one label drawn together."""

from __future__ import annotations

import torch
from torch import Tensor

from dir.losses.base import Regularizer
from dir.losses.feature_rows import feature_rows, pair_distances, unit_rows


def ordinal_entropy(features: Tensor, labels: Tensor, tightness: float = 1.0) -> Tensor:
    r"""Reward the distance between the centres of different labels, punish that of features to their own centre.

    .. math::
        L = -\frac{1}{M (M - 1)} \sum_{a \ne b} w_{ab} \lVert c_a - c_b \rVert_2
            + \lambda \frac{1}{N} \sum_i \lVert z_i - c_{y_i} \rVert_2, \qquad
        w_{ab} = \frac{|y_a - y_b|}{\max_{a, b} |y_a - y_b|}

    over the M different labels of the batch, with z the features at unit length and c the mean of those that share
    a label (exactly). One label alone has no diversity term; no samples give 0. The shapes do not depend on M, so
    nothing waits for the device.

    Args:
        features: encoder features.
        labels: one per row of features, in any unit.
        tightness: lambda, 0 or more.

    Shape:
        features ``[N, D]``, labels ``[N]`` -> a scalar, from -2 to ``2 * tightness``. Half-precision features give
        a float32 loss.

    Raises:
        ValueError: shapes that do not fit, a tightness below 0.

    Example:
        >>> apart, together = torch.eye(2), torch.ones(2, 2)
        >>> labels = torch.tensor([1.0, 2.0])
        >>> bool(ordinal_entropy(apart, labels) < ordinal_entropy(together, labels))
        True

    Reference:
        Zhang et al., Improving Deep Regression with Ordinal Entropy, ICLR 2023, the terms L_d and L_t. That the
        weights are divided by the largest is ours: the term is the same in any unit of the labels. Unit length
        bounds the first term, which longer features would lower without end.
    """
    _check(tightness)
    features, labels = feature_rows(features, labels)
    n = len(labels)
    if n == 0:
        return features.sum() * 0.0
    unit = unit_rows(features)
    ordered, order = labels.sort()
    # The group of a sample is the number of steps before it; the M groups take the first M of N rows.
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
    return tightness * own - diversity


def _check(tightness: float) -> None:
    if not tightness >= 0:
        raise ValueError(f"tightness must be 0 or more, got {tightness}")


class OrdinalEntropy(Regularizer):
    """Module of :func:`ordinal_entropy`, times ``weight``. On several processes each sees its own batch.

    Args:
        weight: factor of the term, 0 or more; the paper takes 1e-3 beside a squared error.
        tightness: lambda, 0 or more.

    Example:
        >>> features, labels = torch.randn(8, 4), torch.arange(8.0)
        >>> OrdinalEntropy(weight=1e-3)(features, labels, labels).shape
        torch.Size([])
    """

    def __init__(self, weight: float = 1e-3, tightness: float = 1.0) -> None:
        super().__init__(weight)
        _check(tightness)
        self.tightness = float(tightness)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """The weighted loss; ``predictions`` play no part."""
        return self.weight * ordinal_entropy(features, labels, self.tightness)
