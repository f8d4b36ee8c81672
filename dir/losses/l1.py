"""Weighted mean absolute error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dir.losses.base import Reduction, WeightedLoss, checked_pair, reduce


def weighted_l1(pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    r"""Absolute error with one weight per sample; the gradient of an exact hit is 0.

    .. math:: \ell_i = w_i |\hat y_i - y_i|

    Args:
        pred: predictions.
        target: true values, of pred's shape.
        weight: weights, of pred's shape (such as ``lds(labels)``); None means 1.
        reduction: "mean" is ``(weight * loss).mean()``; "sum"; "none" keeps one value per element.

    Shape:
        pred, target, weight: the same shape, any number of dimensions. Output: a scalar, or pred's shape
        for "none". Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that differ, an unknown reduction.

    Example:
        >>> import torch
        >>> pred, target = torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0])
        >>> weighted_l1(pred, target, weight=torch.tensor([1.0, 0.5]))
        tensor(1.)

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (the loss of its age benchmarks).
    """
    pred, target = checked_pair(pred, target, weight)
    return reduce(F.l1_loss(pred, target, reduction="none"), weight, reduction)


class WeightedL1(WeightedLoss):
    """Module of :func:`weighted_l1`.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import torch
        >>> WeightedL1(reduction="sum")(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
        tensor(3.)
    """

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`weighted_l1`."""
        return weighted_l1(pred, target, weight, self.reduction)
