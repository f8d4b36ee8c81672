"""Scores of predicted variances: likelihood, coverage of intervals, and the sparsification error (AUSE)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from dir._checks import check_choice, check_interval, check_same_shape, message
from dir.metrics.functional._inputs import as_tensor, checked_pair, flatten

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values

Error = Literal["mae", "mse"]


def gaussian_nll(preds: Values, variance: Values, target: Values, ignore_nan: bool = False) -> Tensor:
    r"""Return the mean negative log-likelihood of the labels under normal distributions.

    .. math:: \frac{1}{n} \sum_i \tfrac12 \left(\log 2\pi \sigma_i^2 + \frac{(y_i - \hat y_i)^2}{\sigma_i^2}\right)

    Each head with a variance gives a mean and a variance, so this score compares all of them. A head that predicts
    another distribution may fit better than this score says.

    Args:
        preds: predicted means.
        variance: predicted variances, above 0, in squared units of the labels.
        target: labels.
        ignore_nan: leave out the samples whose label is NaN. Default: a NaN label gives NaN.

    Shape:
        preds, variance, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output:
        a float64 scalar, NaN without labels.

    Raises:
        ValueError: shapes that differ, several targets, or a variance that is not above 0.

    Example:
        >>> gaussian_nll(torch.zeros(2), torch.ones(2), torch.tensor([0.0, 2.0]))
        tensor(1.9189, dtype=torch.float64)
    """
    error, variance = _checked(preds, variance, target, ignore_nan)
    return (0.5 * ((2 * math.pi * variance).log() + error.square() / variance)).mean()


def interval_coverage(
    preds: Values, variance: Values, target: Values, level: float = 0.9, ignore_nan: bool = False
) -> Tensor:
    r"""Return the share of labels inside the central interval of the predicted normal distributions.

    .. math:: \frac{1}{n} \sum_i \left[ |y_i - \hat y_i| \le \Phi^{-1}\!\left(\tfrac{1 + q}{2}\right) \sigma_i \right]

    Calibrated variances give a share equal to the level.

    Args:
        level: q, the probability of the interval, in (0, 1). Default 0.9.
        preds, variance, target, ignore_nan: see :func:`gaussian_nll`.

    Shape:
        see :func:`gaussian_nll`.

    Raises:
        ValueError: shapes that differ, several targets, a variance that is not above 0, or a level outside (0, 1).

    Example:
        >>> interval_coverage(torch.zeros(4), torch.ones(4), torch.tensor([0.0, 1.0, -1.5, 1.7]))
        tensor(0.7500, dtype=torch.float64)
    """
    check_interval("level", level, "(0, 1)")
    error, variance = _checked(preds, variance, target, ignore_nan)
    half = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=error.dtype, device=error.device))
    inside: Tensor = error.abs() <= half * variance.sqrt()
    share = inside.to(error.dtype).mean()
    # A comparison with NaN is False: without this, a NaN label would count as outside the interval.
    return share.masked_fill(error.isnan().any(), torch.nan)


def sparsification_curve(loss: Tensor, uncertainty: Tensor) -> Tensor:
    r"""Return the mean loss of the samples that remain as the most uncertain are removed, over the mean loss of all.

    .. math:: s_k = \frac{\frac{1}{n - k} \sum_{i > k} \ell_{(i)}}{\frac1n \sum_i \ell_i}, \qquad k = 0, \dots, n - 1

    The samples are ordered from the most to the least uncertain. Samples of equal uncertainty share their mean loss,
    which is the average over all orders among them. A loss of 0 for all samples gives a curve of zeros.

    Args:
        loss: loss of each sample, >= 0.
        uncertainty: uncertainty of each sample; only its order counts.

    Shape:
        loss ``[n]``, uncertainty ``[n]`` -> ``[n]``.

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


def ause(preds: Values, variance: Values, target: Values, error: Error = "mae", ignore_nan: bool = False) -> Tensor:
    r"""Return the area between the sparsification curves by predicted variance and by true error.

    .. math:: \frac1n \sum_k \left(s_k(\hat\sigma^2) - s_k(\ell)\right)

    The score depends on the order of the variances alone, not on their unit. A perfect order gives 0.

    Args:
        error: the loss of the curves, "mae" or "mse". Default "mae".
        preds, variance, target, ignore_nan: see :func:`gaussian_nll`.

    Shape:
        see :func:`gaussian_nll`.

    Raises:
        ValueError: shapes that differ, several targets, a variance that is not above 0, or an unknown error.

    Example:
        >>> target = torch.tensor([1.0, -2.0, 3.0])
        >>> ause(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]), target)
        tensor(0., dtype=torch.float64)

    Reference:
        Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV 2018.
    """
    check_choice("error", error, get_args(Error))
    gap, variance = _checked(preds, variance, target, ignore_nan)
    loss = gap.abs() if error == "mae" else gap.square()
    return (sparsification_curve(loss, variance) - sparsification_curve(loss, loss)).mean()


def _checked(preds: Values, variance: Values, target: Values, ignore_nan: bool) -> tuple[Tensor, Tensor]:
    """Return the errors and the variances, flat and in float64."""
    preds, target = checked_pair(preds, target)
    variance = as_tensor("variance", variance, preds.device)
    check_same_shape("variance", variance, "preds", preds)
    if ignore_nan:
        keep = ~target.isnan()
        preds, target, variance = preds[keep], target[keep], variance[keep]
    flat_preds, flat_target = flatten(preds, target)
    spread = variance.detach().flatten().to(flat_preds.dtype)
    if not bool((spread > 0).all()):
        raise ValueError(message("variance", "expected values > 0", spread.min().item()))
    return flat_target - flat_preds, spread
