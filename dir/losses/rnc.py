"""Rank-N-Contrast: a contrastive regulariser that orders feature distances as label distances."""

from __future__ import annotations

import torch
from torch import Tensor

from dir._checks import check_positive
from dir.losses.base import Regularizer, labelled_rows, nan_unless_finite
from dir.losses.feature_rows import feature_rows, pair_distances


def rank_n_contrast(features: Tensor, labels: Tensor, temperature: float = 2.0) -> Tensor:
    r"""Return the contrast of each pair with the pairs whose labels are at least as far apart.

    .. math::
        \frac{1}{N (N - 1)} \sum_i \sum_{j \ne i} -\log
        \frac{\exp(s_{ij} / t)}{\sum_{k \in S_{ij}} \exp(s_{ik} / t)}, \qquad
        s_{ij} = -\lVert z_i - z_j \rVert_2, \quad
        S_{ij} = \{k \ne i : |y_i - y_k| \ge |y_i - y_j|\}

    The denominator includes j and all ties of its label distance. Label distances that differ by at most the rounding
    of the labels (``4 * eps * max |y|``) are ties, so that ages divided by ten have the same ties as ages.

    One sort per anchor and a cumulative log-sum-exp replace the sum over triples: O(N^2 log N) time, O(N^2) memory.
    Fewer than two samples give 0, with gradient 0. Two features that coincide give each other no gradient.

    Args:
        features: encoder features; two views are stacked.
        labels: one label per row of features, in any unit: only the order of their distances counts.
        temperature: t, above 0, in units of the features' distances.

    Shape:
        features ``[N, D]``, labels ``[N]`` -> a scalar, NaN if a label is not finite. Half-precision features give a
        float32 loss.

    Raises:
        ValueError: shapes that do not fit, or a temperature not above 0.

    Example:
        >>> ordered, swapped = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [5.0], [1.0]])
        >>> labels = torch.tensor([0.0, 1.0, 5.0])
        >>> bool(rank_n_contrast(ordered, labels) < rank_n_contrast(swapped, labels))
        True

    Reference:
        Zha et al., Rank-N-Contrast: Learning Continuous Representations for Regression, NeurIPS 2023, Eq. 2 and 3
        (over the 2N rows of two views). The tolerance on ties is ours.
    """
    check_positive("temperature", temperature)
    features, labels = feature_rows(features, labels)
    n = len(labels)
    if n < 2:
        return nan_unless_finite(features.sum() * 0.0, labels)
    similarity = pair_distances(features) / -temperature
    tolerance = 4 * torch.finfo(labels.dtype).eps * labels.abs().max()
    # In ascending order, the farthest labels come first. The anchor comes last in its own row and is cut off.
    nearness = -(labels[:, None] - labels[None, :]).abs()
    nearness.fill_diagonal_(torch.inf)
    nearness, order = nearness.sort(dim=1)
    nearness, order = nearness[:, :-1].contiguous(), order[:, :-1]
    last_tie = torch.searchsorted(nearness, nearness + tolerance, right=True) - 1
    ranked = similarity.gather(1, order)
    denominator = ranked.logcumsumexp(dim=1).gather(1, last_tie)
    return nan_unless_finite((denominator - ranked).mean(), labels)


class RankNContrast(Regularizer):
    """Module of :func:`rank_n_contrast`, times ``weight``, as a term of the regression loss or on its own.

    The paper trains the encoder with this loss alone, on two views of every sample, and the head afterwards. Together
    with a regression loss it shapes the features while the head learns. On several ranks, each rank contrasts the
    rows of its own batch.

    Args:
        weight: factor of the term, >= 0.
        temperature: t, above 0.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Example:
        >>> features, labels = torch.randn(8, 4), torch.arange(8.0)
        >>> RankNContrast(weight=0.5)(features, labels, labels).shape
        torch.Size([])
    """

    def __init__(self, weight: float = 1.0, temperature: float = 2.0, ignore_nan: bool = False) -> None:
        super().__init__(weight, ignore_nan)
        check_positive("temperature", temperature)
        self.temperature = float(temperature)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """Return the weighted loss; ``predictions`` are ignored."""
        if self.ignore_nan:
            labels, features, predictions = labelled_rows(labels, features, predictions)
        return self.weight * rank_n_contrast(features, labels, self.temperature)
