"""C-Mixup: mix each sample with another sample of a similar label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import check_positive, message


def partners(labels: Tensor, bandwidth: float) -> Tensor:
    r"""Draw a partner for every sample, with a probability that falls with the distance of the labels.

    .. math:: P(j \mid i) \propto \exp\big(-(y_i - y_j)^2 / (2 h^2)\big)

    Args:
        labels: ``[N]``, floating, finite.
        bandwidth: h, > 0, in the unit of the labels.

    Returns:
        Indices of the partners, int64 ``[N]``, drawn from PyTorch's default generator of the labels' device. A sample
        may be its own partner.

    Reference:
        Yao et al., C-Mixup: Improving Generalization in Regression, NeurIPS 2022, Eq. 6.
    """
    # The diagonal is exp(0) = 1, so no row sums to zero.
    closeness = torch.exp(-((labels[:, None] - labels[None, :]) ** 2) / (2 * bandwidth**2))
    # One draw of torch.multinomial, without its check of the weights, which synchronises with the device.
    return (closeness / torch.empty_like(closeness).exponential_()).argmax(dim=1)


class CMixup(nn.Module):
    r"""Mix the samples of a batch with partners of similar labels.

    .. math:: \tilde x = \lambda x_i + (1 - \lambda) x_j, \quad \tilde y = \lambda y_i + (1 - \lambda) y_j,
        \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    Args:
        bandwidth: bandwidth of the kernel over labels, > 0, in the unit of the labels.
        alpha: parameter of the Beta distribution, > 0. Default: 2, the published value of most data sets.

    Shape:
        - inputs: a floating tensor ``[N, ...]`` or a tuple of such tensors.
        - labels: ``[N]``.
        - Output: mixed inputs and labels of the same shapes. Each sample has its own lambda.

    Raises:
        ValueError: a bandwidth or alpha that is not above 0.
        TypeError: inputs that are not floating. Token ids cannot be mixed; mix their embeddings.

    Example:
        >>> inputs, labels = torch.rand(8, 3), torch.arange(8.0)
        >>> mixed, mixed_labels = CMixup(bandwidth=1.0)(inputs, labels)
        >>> mixed.shape, mixed_labels.shape
        (torch.Size([8, 3]), torch.Size([8]))

    Reference:
        Yao et al., NeurIPS 2022. The paper draws partners from the whole training set or from the batch; this class
        draws them from the batch.
    """

    def __init__(self, bandwidth: float, alpha: float = 2.0) -> None:
        super().__init__()
        check_positive("bandwidth", bandwidth)
        check_positive("alpha", alpha)
        self.bandwidth, self.alpha = float(bandwidth), float(alpha)

    def forward(self, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        """Return mixed inputs and labels."""
        other = partners(labels, self.bandwidth)
        concentration = labels.new_full(labels.shape, self.alpha)
        share = torch.distributions.Beta(concentration, concentration, validate_args=False).sample()
        mixed = tuple(_mix(part, other, share) for part in (inputs if isinstance(inputs, tuple) else (inputs,)))
        return (mixed if isinstance(inputs, tuple) else mixed[0]), _mix(labels, other, share)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, alpha={self.alpha}"


def _mix(values: Tensor, other: Tensor, share: Tensor) -> Tensor:
    if not values.is_floating_point():
        raise TypeError(
            message(
                "inputs", "expected a floating dtype", values.dtype, "C-Mixup cannot mix token ids; mix embeddings."
            )
        )
    shaped = share.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values.index_select(0, other), values, shaped)
