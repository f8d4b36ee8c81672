"""Head that predicts pseudo-observations of the label, which give a distribution of the label."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dir._cell_mass import student_log_mass
from dir._precision import at_least_float32
from dir.bins import LabelBins
from dir.losses.evidential import NIG, Prior, nig_posterior
from dir.models.heads import Head

_BOUND = 8.0


class EvidentialHead(Head):
    r"""Sample mean, variance and number of pseudo-observations; the prediction is the posterior mean.

    .. math:: \hat y = \gamma, \qquad \hat\sigma^2 = \frac{\beta}{\alpha - 1} \left(1 + \frac 1\nu\right)

    of :func:`dir.losses.evidential.nig_posterior`. Train it with :class:`dir.losses.EvidentialLoss`.
    Mean and variance are in units of the prior; variance and number are exponentials of ``8 * tanh(x / 8)``.

    Args:
        num_features: D.
        bins: label bins in the criterion's units; their range gives the prior.

    Shape:
        features ``[N, D]`` -> ``[N, 3]``, float32 or wider; ``predict`` and ``variance`` of them ``[N]``.

    Example:
        >>> head = EvidentialHead(8, LabelBins.uniform(0, 1, 10))
        >>> output = head(torch.zeros(5, 8))
        >>> output.shape, head.predict(output).shape
        (torch.Size([5, 3]), torch.Size([5]))

    Reference:
        Wang and Wang, Variational Imbalanced Regression, NeurIPS 2023; the bounds are ours.
    """

    def __init__(self, num_features: int, bins: LabelBins) -> None:
        super().__init__()
        self.prior = Prior.of(bins)
        self.linear = nn.Linear(num_features, 3)

    def forward(self, features: Tensor) -> Tensor:
        mean, variance, count = at_least_float32(self.linear(features)).unbind(dim=1)
        variance, count = (torch.exp(_BOUND * torch.tanh(x / _BOUND)) for x in (variance, count))
        scale = self.prior.variance**0.5
        return torch.stack([self.prior.mean + scale * mean, scale**2 * variance, count], dim=1)

    def predict(self, output: Tensor) -> Tensor:
        return self._posterior(output).mean

    def variance(self, output: Tensor) -> Tensor:
        return self._posterior(output).variance()

    def cell_log_mass(self, output: Tensor, edges: Tensor) -> Tensor:
        """Return the log-mass of the cells under the predictive Student distribution, see ``nig_nll``."""
        nig = self._posterior(output)
        scale = (nig.beta * (1 + nig.nu) / (nig.nu * nig.alpha)).sqrt()
        return student_log_mass(nig.mean, scale, 2 * nig.alpha, edges)

    def _posterior(self, output: Tensor) -> NIG:
        mean, variance, count = at_least_float32(output).unbind(dim=1)
        return nig_posterior(mean, variance, count, self.prior)
