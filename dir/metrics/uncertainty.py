"""How good predicted variances are: likelihood, coverage of intervals, and the sparsification error (AUSE)."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from dir.metrics.base import flat_pair

Error = Literal["mae", "mse"]


def gaussian_nll(preds: Tensor, variance: Tensor, target: Tensor) -> Tensor:
    r"""Mean negative log-likelihood of the labels under normal distributions of the predicted mean and variance.

    .. math:: \frac{1}{n} \sum_i \tfrac12 \left(\log 2\pi \sigma_i^2 + \frac{(y_i - \hat y_i)^2}{\sigma_i^2}\right)

    Heads of every kind give a mean and a variance, so that this compares them; one that predicts another distribution
    may fit better than it says. NaN for no labels.

    Args:
        preds: predictions.
        variance: predicted variances, above 0, in squared units of the labels.
        target: labels.

    Shape:
        the same shape, any number of dimensions -> a float64 scalar.

    Raises:
        ValueError: shapes that differ, a variance not above 0.

    Example:
        >>> gaussian_nll(torch.zeros(2), torch.ones(2), torch.tensor([0.0, 2.0]))
        tensor(1.9189, dtype=torch.float64)
    """
    error, variance = _checked(preds, variance, target)
    return (0.5 * ((2 * math.pi * variance).log() + error.square() / variance)).mean()


def interval_coverage(preds: Tensor, variance: Tensor, target: Tensor, level: float = 0.9) -> Tensor:
    r"""Share of labels inside the central interval of that level of the predicted normal distributions.

    .. math:: \frac{1}{n} \sum_i \left[ |y_i - \hat y_i| \le \Phi^{-1}\!\left(\tfrac{1 + q}{2}\right) \sigma_i \right]

    For calibrated variances it is the level itself. NaN for no labels.

    Args:
        preds, variance, target: see :func:`gaussian_nll`.
        level: q, between 0 and 1.

    Shape:
        the same shape, any number of dimensions -> a float64 scalar.

    Raises:
        ValueError: shapes that differ, a variance not above 0, a level outside (0, 1).

    Example:
        >>> interval_coverage(torch.zeros(4), torch.ones(4), torch.tensor([0.0, 1.0, -1.5, 1.7]))
        tensor(0.7500, dtype=torch.float64)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    error, variance = _checked(preds, variance, target)
    half = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=error.dtype, device=error.device))
    inside: Tensor = error.abs() <= half * variance.sqrt()
    return inside.to(error.dtype).mean()


def sparsification_curve(loss: Tensor, uncertainty: Tensor) -> Tensor:
    r"""Mean loss of what is left when the most uncertain samples are removed, over that of all.

    .. math:: s_k = \frac{\frac{1}{n - k} \sum_{i > k} \ell_{(i)}}{\frac1n \sum_i \ell_i}, \qquad k = 0, \dots, n - 1

    with the samples in the order of falling uncertainty. Those equally uncertain share their mean loss, which is
    what any order among them gives on average. A loss of 0 throughout gives a curve of zeros.

    Shape:
        loss ``[n]`` >= 0, uncertainty ``[n]`` -> ``[n]``.

    Example:
        >>> sparsification_curve(torch.tensor([1.0, 3.0]), torch.tensor([0.1, 0.2]))
        tensor([1.0000, 0.5000])
    """
    values, order = uncertainty.sort(descending=True, stable=True)
    _, group, count = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
    total = torch.zeros(len(count), dtype=loss.dtype, device=loss.device).index_add_(0, group, loss[order])
    shared = (total / count)[group]
    left = torch.arange(len(loss), 0, -1, device=loss.device)
    rest: Tensor = shared.flip(0).cumsum(0).flip(0) / left
    return rest / loss.mean().clamp(min=torch.finfo(loss.dtype).tiny)


def ause(preds: Tensor, variance: Tensor, target: Tensor, error: Error = "mae") -> Tensor:
    r"""Area between the sparsification curve by predicted variance and that by the true error; 0 is a perfect order.

    .. math:: \frac1n \sum_k \left(s_k(\hat\sigma^2) - s_k(\ell)\right)

    It asks for the order of the variances alone, in no unit. NaN for no labels.

    Args:
        preds, variance, target: see :func:`gaussian_nll`.
        error: the loss of the curves: "mae" or "mse".

    Shape:
        the same shape, any number of dimensions -> a float64 scalar.

    Raises:
        ValueError: shapes that differ, a variance not above 0, an unknown error.

    Example:
        >>> target = torch.tensor([1.0, -2.0, 3.0])
        >>> ause(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]), target)
        tensor(0., dtype=torch.float64)

    Reference:
        Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV 2018.
    """
    if error not in get_args(Error):
        raise ValueError(f"error must be 'mae' or 'mse', got {error!r}")
    gap, variance = _checked(preds, variance, target)
    loss = gap.abs() if error == "mae" else gap.square()
    return (sparsification_curve(loss, variance) - sparsification_curve(loss, loss)).mean()


def _checked(preds: Tensor, variance: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Errors and variances, flat and in float64."""
    pred, label = flat_pair(preds, target)
    if variance.shape != preds.shape:
        raise ValueError(f"variance must have the shape of preds {list(preds.shape)}, got {list(variance.shape)}")
    spread = variance.detach().flatten().to(pred.dtype)
    if not bool((spread > 0).all()):
        raise ValueError(f"variance must be above 0, got {spread.min().item()}")
    return label - pred, spread
