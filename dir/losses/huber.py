"""Weighted Huber loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dir.losses.base import Reduction, WeightedLoss, check_positive, checked_pair, reduce


def weighted_huber(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    beta: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared near zero, absolute far away, with one weight per sample.

    .. math::
        e = |\hat y_i - y_i|, \qquad
        \ell_i = w_i \begin{cases} e^2 / (2\beta) & e < \beta \\ e - \beta / 2 & \text{otherwise}\end{cases}

    This is ``torch.nn.SmoothL1Loss``, the form the published benchmarks call Huber: its slope far away is 1
    whatever beta is (that of ``torch.nn.HuberLoss`` is beta).

    Args:
        pred: predictions.
        target: true values, of pred's shape.
        weight: weights, of pred's shape (such as ``lds(labels)``); None means 1.
        beta: error, above 0 and in the unit of pred, at which the two pieces meet.
        reduction: "mean" is ``(weight * loss).mean()``; "sum"; "none" keeps one value per element.

    Shape:
        pred, target, weight: the same shape, any number of dimensions. Output: a scalar, or pred's shape
        for "none". Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that differ, beta not above 0, an unknown reduction.

    Example:
        >>> import torch
        >>> weighted_huber(torch.tensor([1.0, 4.0]), torch.tensor([1.5, 2.0]), reduction="none")
        tensor([0.1250, 1.5000])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (beta 1 for ages, 0.5 for STS-B).
    """
    check_positive("beta", beta)
    pred, target = checked_pair(pred, target, weight)
    return reduce(F.smooth_l1_loss(pred, target, reduction="none", beta=beta), weight, reduction)


class WeightedHuber(WeightedLoss):
    """Module of :func:`weighted_huber`.

    Args:
        beta: error at which the squared and the absolute piece meet.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: beta not above 0, an unknown reduction.

    Example:
        >>> import torch
        >>> WeightedHuber(beta=0.5)(torch.tensor([1.0, 4.0]), torch.tensor([1.5, 2.0]))
        tensor(1.)
    """

    def __init__(self, beta: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        check_positive("beta", beta)
        self.beta = beta

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`weighted_huber`."""
        return weighted_huber(pred, target, weight, self.beta, self.reduction)
