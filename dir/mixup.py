"""C-Mixup: mix samples with others of similar labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def partners(labels: Tensor, bandwidth: float) -> Tensor:
    r"""For every sample the index of one to mix it with, by the distance of their labels.

    .. math:: P(j \mid i) \propto \exp\big(-(y_i - y_j)^2 / (2 h^2)\big)

    Args:
        labels: ``[N]``, floating, finite.
        bandwidth: h, > 0, in the labels' units. A sample may be its own partner.

    Shape:
        int64 ``[N]``, drawn from PyTorch's default generator of the labels' device.

    Reference:
        Yao et al., C-Mixup: Improving Generalization in Regression, NeurIPS 2022, Eq. 6.
    """
    # A row's largest entry is its own, exp(0): no row sums to zero.
    closeness = torch.exp(-((labels[:, None] - labels[None, :]) ** 2) / (2 * bandwidth**2))
    # What torch.multinomial does for one draw, without its check of the weights, which waits for the device.
    return (closeness / torch.empty_like(closeness).exponential_()).argmax(dim=1)


class CMixup(nn.Module):
    r"""Convex combinations of samples whose labels are close, drawn within the batch.

    .. math:: \tilde x = \lambda x_i + (1 - \lambda) x_j, \quad \tilde y = \lambda y_i + (1 - \lambda) y_j,
        \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    Args:
        bandwidth: of the labels' kernel, > 0, in the units of the labels given.
        alpha: of the Beta distribution, > 0. Default 2, the published value of most data sets.

    Shape:
        inputs: a floating tensor ``[N, ...]`` or a tuple of them; labels ``[N]`` -> the same. One lambda per sample.

    Raises:
        ValueError: a bandwidth or alpha that is not above 0.
        TypeError: inputs that are not floating (token ids cannot be mixed; mix their embeddings).

    Example:
        >>> inputs, labels = torch.rand(8, 3), torch.arange(8.0)
        >>> mixed, mixed_labels = CMixup(bandwidth=1.0)(inputs, labels)
        >>> mixed.shape, mixed_labels.shape
        (torch.Size([8, 3]), torch.Size([8]))

    Reference:
        Yao et al., NeurIPS 2022. There partners come from the whole training set or from the batch; here from the
        batch.
    """

    def __init__(self, bandwidth: float, alpha: float = 2.0) -> None:
        super().__init__()
        for name, value in (("bandwidth", bandwidth), ("alpha", alpha)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a finite number above 0, got {value}")
        self.bandwidth, self.alpha = float(bandwidth), float(alpha)

    def forward(self, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        """Mixed inputs and labels."""
        other = partners(labels, self.bandwidth)
        concentration = labels.new_full(labels.shape, self.alpha)
        share = torch.distributions.Beta(concentration, concentration, validate_args=False).sample()
        mixed = tuple(_mix(part, other, share) for part in (inputs if isinstance(inputs, tuple) else (inputs,)))
        return (mixed if isinstance(inputs, tuple) else mixed[0]), _mix(labels, other, share)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, alpha={self.alpha}"


def _mix(values: Tensor, other: Tensor, share: Tensor) -> Tensor:
    if not values.is_floating_point():
        raise TypeError(f"inputs must be floating to be mixed, got {values.dtype}; choose another method for tokens")
    shaped = share.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values.index_select(0, other), values, shaped)
