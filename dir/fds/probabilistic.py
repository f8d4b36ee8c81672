"""Probabilistic feature distribution smoothing: FDS on features and bin statistics that are uncertain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dir.fds import statistics as fs
from dir.fds.layer import FDS


def calibrated_variance(var: Tensor, count: Tensor, scale: Tensor, kernel: Tensor, share: float) -> Tensor:
    r"""Variance of a calibrated feature, per bin and dimension.

    .. math::
        \tilde z^\Sigma = s_b^2 \, (z^\Sigma + \mu^\Sigma_b) + \sum_j k_{bj}^2 \, \mu^\Sigma_j, \qquad
        z^\Sigma = \rho \, v_b, \quad \mu^\Sigma_b = z^\Sigma / n_b

    what is left of :math:`\tilde z = s_b (z - m_b) + \sum_j k_{bj} m_j` when the feature has the variance
    :math:`z^\Sigma`, the mean of its bin that of a mean over n such features, and all are independent.

    Args:
        var: v, variance of the features in each bin.
        count: n, samples behind each bin's mean; a bin with none (never seen) lends and takes no variance.
        scale: s, of the calibration.
        kernel: k, the weights that smooth the means; rows sum to one.
        share: rho, 0 or more.

    Shape:
        var and scale ``[B, D]``, count ``[B]``, kernel ``[B, B]`` -> ``[B, D]``.

    Example:
        >>> one = torch.ones(2, 1)
        >>> calibrated_variance(one, torch.tensor([1.0, 4.0]), one, torch.full((2, 2), 0.5), share=1.0)
        tensor([[2.3125],
                [1.5625]])

    Reference:
        Wang and Wang, Variational Imbalanced Regression, NeurIPS 2023 (arXiv 2306.06599), probabilistic whitening and
        recolouring, with features of equal variance in a bin.
    """
    seen = (count > 0).to(var.dtype)[:, None]
    own = share * var * seen
    mean = own / count.clamp(min=1).to(var.dtype)[:, None]
    return (scale.square() * (own + mean) + kernel.square() @ mean) * seen


class ProbabilisticFDS(FDS):
    r"""FDS that draws each calibrated feature from a distribution: wider the fewer samples its bins rest on.

    .. math:: \tilde z \sim \mathcal N\!\left(s_b (z - m_b) + \tilde m_b, \; \tilde z^\Sigma_b\right)

    with the mean of :class:`dir.fds.FDS` and the variance of :func:`calibrated_variance`. In training mode with
    labels only, once the tables are written; in eval mode, or without labels, the identity. Noise comes from the
    global random state of the device. Everything else is FDS: arguments, ``end_epoch``, ``collect``, what is refused.

    On several processes the statistics are those of all, and each draws noise for its own samples.

    Smoothing shifts the features in training alone, and a head that learns a variance from shifted features is too
    sure of itself at test time. ``shrinkage`` leaves dense bins where they are, and intervals then cover: use it
    where the variances matter.

    Args:
        share: rho, variance of a single feature as a share of its bin's, 0 or more; 0 is FDS itself.
        others: see :class:`dir.fds.FDS`.

    Shape:
        see :class:`dir.fds.FDS`.

    State:
        deviation: ``[B + 1, D]``, standard deviation of the noise, written by ``end_epoch`` with the tables; 0 for
        bins never seen, for excluded and for non-finite labels, for a dimension whose own variance is 0, and for a
        bin without a trusted variance where the window holds no other that has one. The rest is that of FDS.

    Raises:
        ValueError: a share below 0; the others as FDS.

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
        Smoothing, NeurIPS 2023. From the paper: the statistics of a bin are themselves uncertain and borrow from the
        neighbours, and uncertainty goes through whitening and recolouring. Departures: the encoder is deterministic,
        its features are the means and their variances the share ``rho`` of the bin's (the paper's encoder predicts
        them), so that there is no KL term to a prior; the covariance ratio is that of FDS, in which the common share
        cancels; a bin whose variance is not trusted takes the average of the trusted ones in its window.
    """

    deviation: Tensor

    def __init__(self, *args: Any, share: float = 0.1, **kwargs: Any) -> None:
        if not share >= 0:
            raise ValueError(f"share must be 0 or more, got {share}")
        super().__init__(*args, **kwargs)
        self.share = float(share)
        self.register_buffer("deviation", torch.zeros_like(self.scale))

    def reset(self) -> None:
        """Start over: forget all statistics, tables become the identity."""
        super().reset()
        if "deviation" in self._buffers:  # the base class resets before it exists
            self.deviation.zero_()

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Accumulate, calibrate and draw; see the class."""
        calibrated = super().forward(features, labels)
        if labels is None or not self.training:
            return calibrated
        deviation = self.deviation.index_select(0, self.bins(labels).flatten())
        noise = (deviation * torch.randn_like(deviation)).to(calibrated.dtype)
        if features.ndim > 2:
            noise = noise.view(features.shape[0], *features.shape[2:], self.num_features).movedim(-1, 1)
        return calibrated + noise

    def _write_tables(self, live: bool) -> dict[str, float]:
        diagnostics = super()._write_tables(live)
        if live:
            trusted = (self.num_samples_var > 0)[:, None]
            kernel, of_var = self._kernels()
            # What a window without any trusted variance keeps is the 0 of its own bin, in no unit of the features.
            own = self.running_var.masked_fill(~trusted, 0.0)
            smoothed = fs.smooth(own, of_var, self.window.shape[0] // 2)
            var = torch.where(trusted, own, smoothed)
            scale = self.scale[:-1].to(var.dtype)
            drawn = calibrated_variance(var, self.last_count, scale, kernel, self.share)
            self.deviation[:-1].copy_(drawn.sqrt().masked_fill_(~(var > 0), 0.0))
        return diagnostics

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, share={self.share}"
