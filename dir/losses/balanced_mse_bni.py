"""Balanced MSE with the training distribution as a histogram (BNI), integrated bin by bin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dir._checks import message
from dir.bins import LabelBins, check_finite
from dir.kernels import Kernel, kernel_window
from dir.losses.balanced_mse import NoiseScale, noise_variance, scaled_mean, target_rows
from dir.losses.base import labelled_rows


def bni(
    pred: Tensor,
    target: Tensor,
    sigma: float | Tensor,
    centers: Tensor,
    weights: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the Balanced MSE under a histogram of the training targets.

    .. math:: \frac{2 \bar\sigma^2}{N} \sum_i w_i \left( \frac{(\hat y_i - y_i)^2}{2 \sigma^2}
        + \log \sum_b p_b \exp\!\left(-\frac{(\hat y_i - c_b)^2}{2 \sigma^2}\right) \right)

    where the factor with :math:`\bar\sigma` gets no gradient. 0 for an empty batch.

    Args:
        pred: predictions.
        target: labels, of pred's shape.
        sigma: standard deviation of the prediction's noise, above 0, in the targets' unit, and at least a bin's width
            (the sum over bins approximates an integral); see :class:`dir.losses.BMC`.
        centers: c, the centres of the B bins, in the targets' unit.
        weights: p, the share of each bin, >= 0 and not all 0.
        weight: one weight per sample; scales the term of the sample, not the histogram.

    Shape:
        pred, target ``[N]`` or ``[N, 1]``, centers and weights ``[B]``, weight ``[N]`` -> a scalar. Half-precision
        inputs give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, several targets, or a sigma (as a number) not above 0.

    Example:
        >>> bni(torch.tensor([2.0]), torch.tensor([2.0]), 1.0, torch.tensor([0.0, 2.0]), torch.tensor([0.5, 0.5]))
        tensor(-1.1324)

    Reference:
        Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022, Eq. 3.16.
    """
    pred_rows, rows = target_rows(pred, target, weight)
    if pred_rows.shape[1] != 1:
        raise ValueError(message("pred", "expected one target, [N] or [N, 1]", list(pred.shape), "Use bmc or gai."))
    if centers.ndim != 1 or centers.shape != weights.shape:
        shapes = [list(centers.shape), list(weights.shape)]
        raise ValueError(message("centers, weights", "expected [B] each, one value per bin", shapes))
    variance = noise_variance(sigma, pred_rows)
    if len(pred_rows) == 0:
        return pred_rows.sum()
    own = (pred_rows - rows).square().squeeze(1) / (2 * variance)
    exponent = (pred_rows - centers.to(pred_rows)).square() / (-2 * variance)
    log_sum = torch.logsumexp(weights.to(pred_rows).log() + exponent, dim=1)
    return scaled_mean(own + log_sum, variance, weight)


class BNI(NoiseScale):
    """Module of :func:`bni`: keeps the histogram of all training targets and learns sigma.

    See :class:`dir.losses.BMC` for the choice of sigma and for the effect on the MSE. The loss of a sample does not
    depend on the batch, nor on the number of ranks if each rank fits all training targets.

    Args:
        init_noise_sigma: initial value of sigma, above 0, in the targets' unit.
        learnable: whether sigma is trained.
        kernel: window that smooths the histogram as in LDS, see :func:`dir.kernels.kernel_window`; None: no
            smoothing.
        kernel_size, kernel_sigma: size and sigma of the window, in bins.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        pred, target ``[N]`` or ``[N, 1]``, weight ``[N]`` or None -> a scalar.

    State:
        initial_sigma, log_scale: as in BMC. centers ``[B]``, weights ``[B]`` (sum 1): float64, written by ``fit``.

    Raises:
        ValueError: shapes that do not fit, bad arguments, or no target inside the bins.
        RuntimeError: a call before ``fit``.

    Example:
        >>> loss = BNI(learnable=False).fit(torch.tensor([0.0, 0.0, 0.0, 4.0]), LabelBins.integers(0, 4))
        >>> loss(torch.tensor([4.0]), torch.tensor([4.0])) < loss(torch.tensor([0.0]), torch.tensor([0.0]))
        tensor(True)

    Reference:
        Ren et al. 2022, Sec. 3.4. The published code truncates the smoothed counts to integers.
    """

    fitted_buffers = ("centers", "weights")
    centers: Tensor
    weights: Tensor

    def __init__(
        self,
        init_noise_sigma: float = 1.0,
        learnable: bool = True,
        kernel: Kernel | None = None,
        kernel_size: int = 5,
        kernel_sigma: float = 2.0,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(init_noise_sigma, learnable, ignore_nan)
        # Built here, so that bad arguments raise at construction.
        self._window = None if kernel is None else kernel_window(kernel, kernel_size, kernel_sigma, normalize="sum")
        self.kernel = kernel
        self.kernel_size = kernel_size
        self.kernel_sigma = kernel_sigma

    def fit(self, targets: Tensor, bins: LabelBins) -> BNI:
        """Count all training targets ``[n]`` in the bins, given in the targets' unit."""
        check_finite(targets, "targets")
        counts = bins.counts(targets.to(bins.edges.device)).cpu().double()
        if self._window is not None:
            window = self._window.double()[None, None]
            counts = F.conv1d(counts[None, None], window, padding=window.shape[2] // 2).flatten()
        if not bool(counts.sum() > 0):
            raise ValueError(message("targets", "expected at least one value inside the bins, found none"))
        self.store(centers=bins.centers, weights=counts / counts.sum())
        return self

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`bni`."""
        self.require_fitted()
        if self.ignore_nan:
            target, pred, weight = labelled_rows(target, pred, weight)
        return bni(pred, target, self.sigma, self.centers, self.weights, weight)

    def extra_repr(self) -> str:
        smoothed = (
            "" if self.kernel is None else f", kernel_size={self.kernel_size}, kernel_sigma={self.kernel_sigma}"
        )
        return f"{super().extra_repr()}, kernel={self.kernel!r}{smoothed}, fitted={self.weights.numel() > 0}"
