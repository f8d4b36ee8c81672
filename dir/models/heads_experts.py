"""Head of several experts; the expert with the lowest variance predicts."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor, nn

from dir._cell_mass import laplace_log_mass, normal_log_mass
from dir._checks import check_choice, check_integer
from dir._precision import at_least_float32
from dir.bins import LabelBins
from dir.losses.uvote import Noise
from dir.models.heads import Head

_BOUND = 10.0


class ExpertsHead(Head):
    r"""K linear experts on the same features, each with a mean and a log-variance; the lowest variance wins.

    .. math:: \hat y = \mu_{k^*}, \qquad \hat\sigma^2 = \exp(s_{k^*}), \qquad k^* = \arg\min_k s_k

    Train it with :class:`dir.losses.UVOTE`, which weights the samples differently for each expert. ``10 * tanh(s /
    10)`` bounds the log-variances to (-10, 10), so that an overconfident prediction early in training cannot blow up
    the loss.

    Args:
        num_features: D.
        bins: ignored.
        num_experts: K, >= 1.
        noise: "gaussian" or "laplace", the distribution of each expert around its mean; that of the loss. Only
            ``cell_log_mass`` reads it.

    Shape:
        features ``[N, D]`` -> ``[N, K, 2]``, mean and log-variance of each expert, float32 or wider; ``predict`` and
        ``variance`` of them ``[N]``.

    Raises:
        ValueError: fewer than one expert, or an unknown noise.

    Example:
        >>> head = ExpertsHead(8, num_experts=3)
        >>> head(torch.zeros(5, 8)).shape
        torch.Size([5, 3, 2])
        >>> output = torch.tensor([[[1.0, 0.5], [2.0, -0.5]]])
        >>> head.predict(output), head.variance(output)
        (tensor([2.]), tensor([0.6065]))

    Reference:
        Jiang et al., Uncertainty Voting Ensemble for Imbalanced Deep Regression, GCPR 2024. The bound is ours.
    """

    def __init__(
        self, num_features: int, bins: LabelBins | None = None, num_experts: int = 3, noise: Noise = "gaussian"
    ) -> None:
        super().__init__()
        check_integer("num_experts", num_experts)
        check_choice("noise", noise, get_args(Noise))
        self.noise: Noise = noise
        self.num_experts = int(num_experts)
        self.linear = nn.Linear(num_features, 2 * self.num_experts)

    def forward(self, features: Tensor) -> Tensor:
        mean, log_variance = at_least_float32(self.linear(features)).view(-1, self.num_experts, 2).unbind(dim=2)
        return torch.stack([mean, _BOUND * torch.tanh(log_variance / _BOUND)], dim=2)

    def predict(self, output: Tensor) -> Tensor:
        surest = output[..., 1].argmin(dim=1, keepdim=True)
        return output[..., 0].gather(1, surest).squeeze(1)

    def variance(self, output: Tensor) -> Tensor:
        return at_least_float32(output[..., 1].amin(dim=1)).exp()

    def cell_log_mass(self, output: Tensor, edges: Tensor) -> Tensor:
        """Return the log-mass of the cells under the mixture of all experts in equal shares.

        ``predict`` and ``variance`` are those of the surest expert alone: their numbers differ from those of the
        mixture.
        """
        mean, log_variance = at_least_float32(output).unbind(dim=2)
        log_mass = laplace_log_mass if self.noise == "laplace" else normal_log_mass
        mass = log_mass(mean, (0.5 * log_variance).exp(), edges)
        return mass.logsumexp(dim=1) - math.log(mass.shape[1])
