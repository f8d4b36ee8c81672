"""Focal-R: the regression version of the focal loss."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from dir._checks import check_choice, check_not_negative, check_positive
from dir.losses.base import Reduction, WeightedLoss, checked_pair, reduce

Base = Literal["l1", "mse"]
Activation = Literal["sigmoid", "tanh"]
# Constants: torch 2.6 cannot compile a call of get_args().
_BASES, _ACTIVATIONS = get_args(Base), get_args(Activation)


def focal_r(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    base: Base = "l1",
    activation: Activation = "sigmoid",
    beta: float = 0.2,
    gamma: float = 1.0,
    reduction: Reduction = "mean",
    ignore_nan: bool = False,
) -> Tensor:
    r"""Return the absolute or squared error, scaled down where the error is already small.

    .. math::
        e = |\hat y_i - y_i|, \qquad \ell_i = w_i \, g(\beta e)^\gamma \, e^p, \qquad
        g(x) = 2\sigma(x) - 1 \;\text{ or }\; \tanh(x)

    with p = 1 for ``base="l1"`` and 2 for ``base="mse"``. The factor is part of the loss: gradients flow through it.
    It is 0, with gradient 0, at an exact hit, for every gamma.

    Args:
        pred: predictions.
        target: labels, of pred's shape.
        weight: weights, of pred's shape (such as ``lds(labels)``); None means 1.
        base: "l1" or "mse", the loss to scale.
        activation: "sigmoid" (the formula of the paper) or "tanh".
        beta: how fast the factor approaches 1 as the error grows, above 0, in 1 / unit of pred.
        gamma: power of the factor, >= 0; 0 gives the base loss.
        reduction: "mean" is ``(weight * loss).mean()``; "sum"; "none" returns one value per element.
        ignore_nan: ignore NaN labels (value and gradient 0, not counted in the mean). Default: a NaN label gives NaN.

    Shape:
        pred, target, weight: the same shape, [N], [N, 1] or dense maps such as [N, 1, H, W]. Output: a scalar, or
        pred's shape for "none". Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that differ, several targets [N, K], or an argument out of its range or choices.

    Example:
        >>> import torch
        >>> focal_r(torch.tensor([1.0, 12.0]), torch.tensor([2.0, 2.0]), reduction="none")
        tensor([0.0997, 7.6159])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (beta 0.2 for ages, 20 for STS-B).
    """
    _check(base, activation, beta, gamma)
    pred, target, kept = checked_pair(pred, target, weight, ignore_nan)
    error = (pred - target).abs()
    # 2 * sigmoid(x) - 1 is tanh(x / 2), which does not cancel near zero.
    level = torch.tanh(error * (beta / 2 if activation == "sigmoid" else beta))
    factor = level
    if gamma != 1:
        # A power below 1 has an infinite slope at 0, and the gradient of an exact hit would be 0 * inf. Exact hits
        # therefore take a constant factor.
        hit = level == 0
        factor = level.masked_fill(hit, 1.0).pow(gamma).masked_fill(hit, 0.0)
    return reduce(factor * (error if base == "l1" else error.square()), weight, reduction, kept)


def _check(base: str, activation: str, beta: float, gamma: float) -> None:
    """Raise a ValueError for an argument out of its range or choices."""
    check_choice("base", base, _BASES)
    check_choice("activation", activation, _ACTIVATIONS)
    check_positive("beta", beta)
    check_not_negative("gamma", gamma)


class FocalR(WeightedLoss):
    """Module of :func:`focal_r`.

    Args:
        base: "l1" or "mse".
        activation: "sigmoid" or "tanh".
        beta: how fast the factor approaches 1 as the error grows.
        gamma: power of the factor.
        reduction: "mean", "sum" or "none".
        ignore_nan: ignore NaN labels, such as the holes of a dense map.

    Raises:
        ValueError: an argument out of its range or choices.

    Example:
        >>> import torch
        >>> FocalR(base="mse", beta=20.0)(torch.tensor([0.2, 0.9]), torch.tensor([0.2, 0.5]))
        tensor(0.0799)
    """

    def __init__(
        self,
        base: Base = "l1",
        activation: Activation = "sigmoid",
        beta: float = 0.2,
        gamma: float = 1.0,
        reduction: Reduction = "mean",
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(reduction, ignore_nan)
        _check(base, activation, beta, gamma)
        self.base: Base = base
        self.activation: Activation = activation
        self.beta = beta
        self.gamma = gamma

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`focal_r`."""
        shape = self.base, self.activation, self.beta, self.gamma
        return focal_r(pred, target, weight, *shape, self.reduction, self.ignore_nan)
