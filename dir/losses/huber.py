"""Weighted Huber loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dir._checks import check_positive
from dir.losses.base import Reduction, WeightedLoss, checked_pair, reduce


def weighted_huber(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    ignore_nan: bool = False,
) -> Tensor:
    r"""Return the Huber loss with one weight per sample: squared for small errors, absolute for large ones.

    .. math::
        e = |\hat y_i - y_i|, \qquad
        \ell_i = w_i \begin{cases} e^2 / (2\beta) & e < \beta \\ e - \beta / 2 & \text{otherwise}\end{cases}

    The formula is that of ``torch.nn.SmoothL1Loss``, which the published benchmarks call Huber. Its slope for large
    errors is 1 for every beta. (The slope of ``torch.nn.HuberLoss`` is beta.)

    Args:
        pred: predictions.
        target: labels, of pred's shape.
        weight: weights, of pred's shape (such as ``lds(labels)``); None means 1.
        beta: error, above 0 and in the unit of pred, at which the loss turns from squared to absolute.
        reduction: "mean" is ``(weight * loss).mean()``; "sum"; "none" returns one value per element.
        ignore_nan: ignore NaN labels (value and gradient 0, not counted in the mean). Default: a NaN label gives NaN.

    Shape:
        pred, target, weight: the same shape, [N], [N, 1] or dense maps such as [N, 1, H, W]. Output: a scalar, or
        pred's shape for "none". Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that differ, several targets [N, K], beta not above 0, or an unknown reduction.

    Example:
        >>> import torch
        >>> weighted_huber(torch.tensor([1.0, 4.0]), torch.tensor([1.5, 2.0]), reduction="none")
        tensor([0.1250, 1.5000])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (beta 1 for ages, 0.5 for STS-B).
    """
    check_positive("beta", beta)
    pred, target, kept = checked_pair(pred, target, weight, ignore_nan)
    return reduce(F.smooth_l1_loss(pred, target, reduction="none", beta=beta), weight, reduction, kept)


class WeightedHuber(WeightedLoss):
    """Module of :func:`weighted_huber`.

    Args:
        beta: error at which the loss turns from squared to absolute.
        reduction: "mean", "sum" or "none".
        ignore_nan: ignore NaN labels, such as the holes of a dense map.

    Raises:
        ValueError: beta not above 0, or an unknown reduction.

    Example:
        >>> import torch
        >>> WeightedHuber(beta=0.5)(torch.tensor([1.0, 4.0]), torch.tensor([1.5, 2.0]))
        tensor(1.)
    """

    def __init__(self, beta: float = 1.0, reduction: Reduction = "mean", ignore_nan: bool = False) -> None:
        super().__init__(reduction, ignore_nan)
        check_positive("beta", beta)
        self.beta = beta

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`weighted_huber`."""
        return weighted_huber(pred, target, weight, self.beta, self.reduction, self.ignore_nan)
