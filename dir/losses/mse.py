"""Weighted mean squared error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dir.losses.base import Reduction, WeightedLoss, checked_pair, reduce


def weighted_mse(pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    r"""Squared error with one weight per sample.

    .. math:: \ell_i = w_i (\hat y_i - y_i)^2

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
        >>> weighted_mse(pred, target, weight=torch.tensor([1.0, 0.5]))
        tensor(1.5000)

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021.
    """
    pred, target = checked_pair(pred, target, weight)
    return reduce(F.mse_loss(pred, target, reduction="none"), weight, reduction)


class WeightedMSE(WeightedLoss):
    """Module of :func:`weighted_mse`.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import torch
        >>> WeightedMSE(reduction="sum")(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
        tensor(5.)
    """

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`weighted_mse`."""
        return weighted_mse(pred, target, weight, self.reduction)
