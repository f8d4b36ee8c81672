"""Weighted mean absolute error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dir.losses.base import Reduction, WeightedLoss, checked_pair, reduce


def weighted_l1(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_nan: bool = False,
) -> Tensor:
    r"""Return the absolute error with one weight per sample; the gradient of an exact hit is 0.

    .. math:: \ell_i = w_i |\hat y_i - y_i|

    Args:
        pred: predictions.
        target: labels, of pred's shape.
        weight: weights, of pred's shape (such as ``lds(labels)``); None means 1.
        reduction: "mean" is ``(weight * loss).mean()``; "sum"; "none" returns one value per element.
        ignore_nan: ignore NaN labels (value and gradient 0, not counted in the mean). Default: a NaN label gives NaN.

    Shape:
        pred, target, weight: the same shape, [N], [N, 1] or dense maps such as [N, 1, H, W]. Output: a scalar, or
        pred's shape for "none". Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that differ, several targets [N, K], or an unknown reduction.

    Example:
        >>> import torch
        >>> pred, target = torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0])
        >>> weighted_l1(pred, target, weight=torch.tensor([1.0, 0.5]))
        tensor(1.)

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (the loss of its age benchmarks).
    """
    pred, target, kept = checked_pair(pred, target, weight, ignore_nan)
    return reduce(F.l1_loss(pred, target, reduction="none"), weight, reduction, kept)


class WeightedL1(WeightedLoss):
    """Module of :func:`weighted_l1`.

    Args:
        reduction: "mean", "sum" or "none".
        ignore_nan: ignore NaN labels, such as the holes of a dense map.

    Example:
        >>> import torch
        >>> WeightedL1(reduction="sum")(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
        tensor(3.)
    """

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`weighted_l1`."""
        return weighted_l1(pred, target, weight, self.reduction, self.ignore_nan)
