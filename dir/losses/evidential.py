"""Evidential regression: likelihood of labels under a normal-inverse-gamma posterior of pseudo-observations."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dir._checks import check_not_negative, check_same_shape, message
from dir._precision import to_float64
from dir.bins import LabelBins
from dir.losses.base import labelled_rows, mean_or_zero


class NIG(NamedTuple):
    """Parameters of a normal-inverse-gamma distribution over the mean and the variance of a label."""

    mean: Tensor
    nu: Tensor
    alpha: Tensor
    beta: Tensor

    def variance(self) -> Tensor:
        r"""Return the variance of the label, :math:`\frac{\beta}{\alpha - 1} (1 + 1 / \nu)`."""
        return self.beta / (self.alpha - 1) * (1 + 1 / self.nu)


class Prior(NamedTuple):
    """Mean and variance of a label before its features are known; they count as one observation."""

    mean: float
    variance: float

    @classmethod
    def of(cls, bins: LabelBins) -> Prior:
        """Return the prior of label bins: the middle of their range, and the square of a quarter of the range.

        Example:
            >>> Prior.of(LabelBins.uniform(0, 8, 4))
            Prior(mean=4.0, variance=4.0)
        """
        low, high = bins.edges[0].item(), bins.edges[-1].item()
        return cls((low + high) / 2, ((high - low) / 4) ** 2)


def nig_posterior(mean: Tensor, variance: Tensor, count: Tensor, prior: Prior) -> NIG:
    r"""Return the posterior after ``count`` pseudo-observations with the given sample mean and variance.

    .. math::
        \nu = 1 + n, \quad \gamma = \frac{\gamma_0 + n m}{\nu}, \quad \alpha = 2 + \frac n2, \quad
        \beta = \sigma_0^2 + \frac{n s^2}{2} + \frac{n (m - \gamma_0)^2}{2 \nu}

    This is the conjugate update of the normal-inverse-gamma distribution with :math:`\nu_0 = 1, \alpha_0 = 2, \beta_0
    = \sigma_0^2`.

    Shape:
        mean, variance (>= 0) and count (>= 0) ``[N]`` -> four tensors ``[N]``.

    Example:
        >>> zero = torch.zeros(1)
        >>> nig_posterior(zero, zero, zero, Prior(3.0, 4.0)).mean  # no observation: the prior
        tensor([3.])

    Reference:
        Wang and Wang, Variational Imbalanced Regression, NeurIPS 2023 (arXiv 2306.06599), the predictor;
        Bishop, Pattern Recognition and Machine Learning, 2006, Sec. 2.3.6.
    """
    nu = 1 + count
    gap = mean - prior.mean
    beta = prior.variance + 0.5 * count * variance + 0.5 * count * gap.square() / nu
    return NIG(prior.mean + count * gap / nu, nu, 2 + 0.5 * count, beta)


def nig_nll(nig: NIG, target: Tensor) -> Tensor:
    r"""Return the negative log-likelihood of each label under its predictive distribution.

    .. math:: y \sim t_{2 \alpha}\!\left(\gamma, \frac{\beta (1 + \nu)}{\nu \alpha}\right)

    Shape:
        ``[N]`` each -> ``[N]``.

    Example:
        >>> one = torch.ones(1)
        >>> nig_nll(NIG(one, one, 2 * one, one), one)
        tensor([0.9808])

    Reference:
        Amini et al., Deep Evidential Regression, NeurIPS 2020 (the likelihood of the evidential model).
    """
    omega = 2 * nig.beta * (1 + nig.nu)
    ratio = (target - nig.mean).square() * nig.nu / omega
    alpha = to_float64(nig.alpha)  # for a large count, the two lgamma values are large and nearly equal
    volume = (torch.lgamma(alpha) - torch.lgamma(alpha + 0.5)).to(ratio.dtype)
    return 0.5 * (math.log(math.pi) - nig.nu.log() + omega.log()) + (nig.alpha + 0.5) * torch.log1p(ratio) + volume


def evidential_loss(
    output: Tensor, target: Tensor, prior: Prior, weight: Tensor | None = None, penalty: float = 0.001
) -> Tensor:
    r"""Return the negative log-likelihood of the labels, plus a penalty on evidence for wrong predictions.

    .. math:: \frac{1}{N} \sum_i -\log p(y_i \mid m_i, s_i^2, w_i n_i)
        + \lambda \frac{|y_i - \gamma_i|}{\sigma_0} (\nu_i + 2 \alpha_i)

    ``weight`` multiplies the pseudo-counts, not the loss: rare labels count as if they were observed more often.

    Args:
        output: sample mean, sample variance and pseudo-count.
        target: labels.
        prior: prior of the label.
        weight: one weight per sample, with mean 1 (``lds(labels)`` with ``reweight="sqrt_inverse"``); None means 1.
        penalty: lambda, >= 0.

    Shape:
        output ``[N, 3]``, target ``[N]``, weight ``[N]`` -> a scalar. Half precision gives a float32 loss.

    Raises:
        ValueError: shapes that do not fit, or a negative penalty.

    Example:
        >>> output = torch.tensor([[1.0, 0.5, 10.0]])
        >>> near, far = torch.tensor([1.0]), torch.tensor([3.0])
        >>> bool(evidential_loss(output, near, Prior(0.0, 1.0)) < evidential_loss(output, far, Prior(0.0, 1.0)))
        True

    Reference:
        Wang and Wang, NeurIPS 2023: pseudo-counts times the smoothed label density to the power -1/2, the predictive
        likelihood, and the regulariser. Ours: the error is measured in units of the prior's deviation.
    """
    check_not_negative("penalty", penalty)
    if output.ndim != 2 or output.shape[1] != 3 or target.shape != output.shape[:1]:
        shapes = [list(output.shape), list(target.shape)]
        raise ValueError(message("output, target", "expected [N, 3] and [N]", shapes))
    if weight is not None:
        check_same_shape("weight", weight, "target", target, "Give one weight per sample.")
    dtype = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
    mean, variance, count = output.to(dtype).unbind(dim=1)
    nig = nig_posterior(mean, variance, count if weight is None else weight.to(dtype) * count, prior)
    target = target.to(dtype)
    error = (target - nig.mean).abs() / prior.variance**0.5
    loss: Tensor = nig_nll(nig, target) + penalty * error * (nig.nu + 2 * nig.alpha)
    return mean_or_zero(loss)


class EvidentialLoss(nn.Module):
    """Module of :func:`evidential_loss`, for an ``EvidentialHead``; the label bins give the prior.

    The loss of a sample does not depend on the batch or on the number of ranks.

    Args:
        penalty: factor of the penalty on evidence, >= 0; large values widen the intervals.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        output ``[N, 3]``, target ``[N]``, weight ``[N]`` (of the pseudo-counts) or None -> a scalar.

    State:
        The ``state_dict`` is empty: the bins give the prior, so call ``fit`` after ``load_state_dict`` as well.

    Raises:
        ValueError: shapes that do not fit, or a negative penalty.
        RuntimeError: a call before ``fit``.

    Example:
        >>> loss = EvidentialLoss().fit(torch.zeros(1), LabelBins.uniform(0, 1, 10))
        >>> loss(torch.ones(4, 3), torch.zeros(4)).shape
        torch.Size([])
    """

    corrects_imbalance = False

    def __init__(self, penalty: float = 0.001, ignore_nan: bool = False) -> None:
        super().__init__()
        check_not_negative("penalty", penalty)
        self.penalty = float(penalty)
        self.ignore_nan = ignore_nan
        self.prior: Prior | None = None

    def fit(self, targets: Tensor, bins: LabelBins) -> EvidentialLoss:
        """Compute the prior of the bins, as the head does; the targets are ignored."""
        self.prior = Prior.of(bins)
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean over the samples."""
        if self.prior is None:
            raise RuntimeError("EvidentialLoss is not fitted. Call fit(targets, bins) first.")
        if self.ignore_nan:
            target, output, weight = labelled_rows(target, output, weight)
        return evidential_loss(output, target, self.prior, weight, self.penalty)

    def extra_repr(self) -> str:
        return f"penalty={self.penalty}, ignore_nan={self.ignore_nan}, prior={self.prior}"
