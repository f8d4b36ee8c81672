"""ProbabilisticFDS (VIR): FDS that samples each calibrated feature from a normal distribution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir._checks import check_not_negative
from dir.fds import statistics as fs
from dir.fds.layer import FDS


def calibrated_variance(var: Tensor, count: Tensor, scale: Tensor, kernel: Tensor, share: float) -> Tensor:
    r"""Return the variance of a calibrated feature, per bin and dimension.

    .. math::
        \tilde z^\Sigma = s_b^2 \, (z^\Sigma + \mu^\Sigma_b) + \sum_j k_{bj}^2 \, \mu^\Sigma_j, \qquad
        z^\Sigma = \rho \, v_b, \quad \mu^\Sigma_b = z^\Sigma / n_b

    This is the variance of :math:`\tilde z = s_b (z - m_b) + \sum_j k_{bj} m_j` for independent features with the
    variance :math:`z^\Sigma` and bin means over n such features.

    Args:
        var: v, variance of the features in each bin, ``[B, D]``.
        count: n, number of samples of each bin's mean, ``[B]``. A bin without samples has variance 0 and does not
            contribute to its neighbours.
        scale: s, scale of the calibration, ``[B, D]``.
        kernel: k, weights that smooth the means, ``[B, B]``; rows sum to one.
        share: rho, >= 0.

    Returns:
        ``[B, D]``.

    Example:
        >>> one = torch.ones(2, 1)
        >>> calibrated_variance(one, torch.tensor([1.0, 4.0]), one, torch.full((2, 2), 0.5), share=1.0)
        tensor([[2.3125],
                [1.5625]])

    Reference:
        Wang and Wang, Variational Imbalanced Regression, NeurIPS 2023 (arXiv 2306.06599), probabilistic whitening and
        re-colouring, for features of equal variance within a bin.
    """
    seen = (count > 0).to(var.dtype)[:, None]
    own = share * var * seen
    mean = own / count.clamp(min=1).to(var.dtype)[:, None]
    return (scale.square() * (own + mean) + kernel.square() @ mean) * seen


class ProbabilisticFDS(FDS):
    r"""FDS that samples each calibrated feature, with a larger variance for bins with fewer samples.

    .. math:: \tilde z \sim \mathcal N\!\left(s_b (z - m_b) + \tilde m_b, \; \tilde z^\Sigma_b\right)

    with the mean of :class:`dir.fds.FDS` and the variance of :func:`calibrated_variance`. The layer samples in
    training mode with labels, once the tables are written. In eval mode, or without labels, it returns a copy of the
    features. The noise comes from the global random state of the device. Arguments, ``end_epoch``, ``collect`` and
    errors are those of FDS.

    On several processes, statistics are computed over all ranks, and each rank draws noise for its own samples.

    Smoothing shifts the features in training but not at test time. A head that learns a variance from shifted
    features therefore predicts too small variances at test time. ``shrinkage`` keeps the features of bins with many
    samples, which restores the coverage of intervals: use it where the variances matter.

    Args:
        share: rho, variance of a single feature as a share of its bin's variance, >= 0. With 0 the layer equals FDS.
        others: see :class:`dir.fds.FDS`.

    Shape:
        See :class:`dir.fds.FDS`.

    State:
        deviation: ``[B + 1, D]``, standard deviation of the noise, written by ``end_epoch`` with the tables. It is 0
        for bins that were never seen, for excluded, masked and non-finite labels, for dimensions with variance 0, and
        for a bin without a trusted variance if no bin in the window has one. The other state is that of FDS.

    Raises:
        ValueError: a share below 0; others as in FDS.

    Example:
        >>> from dir.bins import LabelBins
        >>> fds = ProbabilisticFDS(num_features=2, bins=LabelBins.integers(0, 9), share=0.1)
        >>> z, y = torch.randn(32, 2, requires_grad=True), torch.randint(0, 10, (32,))
        >>> torch.equal(fds(z, y), z)  # first epoch: collects
        True
        >>> diagnostics = fds.end_epoch()
        >>> torch.equal(fds(z, y), fds(z, y))  # second epoch: calibrates and draws
        False

    Reference:
        Wang and Wang, Variational Imbalanced Regression: Fair Uncertainty Quantification via Probabilistic
        Smoothing, NeurIPS 2023. From the paper: the statistics of a bin are uncertain and are smoothed over the
        neighbours, and the uncertainty passes through whitening and re-colouring. Departures: the encoder is
        deterministic, and the variance of a feature is the share ``rho`` of its bin's variance (the paper's encoder
        predicts it), so that there is no KL term to a prior; the covariance ratio is that of FDS, in which the share
        cancels; a bin without a trusted variance uses the average of the trusted variances in its window.
    """

    deviation: Tensor

    def __init__(self, *args: Any, share: float = 0.1, **kwargs: Any) -> None:
        check_not_negative("share", share)
        super().__init__(*args, **kwargs)
        self.share = float(share)
        self.register_buffer("deviation", torch.zeros_like(self.scale))

    def forward(self, features: Tensor, labels: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Collect, calibrate and sample features; see the class."""
        calibrated = super().forward(features, labels, mask)
        if labels is None or not self.training:
            return calibrated
        _, index = self._index(labels, mask)
        deviation = self.deviation.index_select(0, index)
        noise = (deviation * torch.randn_like(deviation)).to(calibrated.dtype)
        if features.ndim > 2:
            noise = noise.view(features.shape[0], *features.shape[2:], self.num_features).movedim(-1, 1)
        return calibrated + noise

    def _write_tables(self, live: bool) -> dict[str, float]:
        diagnostics = super()._write_tables(live)
        if live:
            trusted = (self.num_samples_var > 0)[:, None]
            kernel, of_var = self._kernels()
            # A window without any trusted variance keeps the 0 of its own bin.
            own = self.running_var.masked_fill(~trusted, 0.0)
            smoothed = fs.smooth(own, of_var, int(self.kernel_size) // 2)
            var = torch.where(trusted, own, smoothed)
            scale = self.scale[:-1].to(var.dtype)
            drawn = calibrated_variance(var, self.last_count, scale, kernel, self.share)
            self.deviation[:-1].copy_(drawn.sqrt().masked_fill_(~(var > 0), 0.0))
        return diagnostics

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, share={self.share}"
