"""Regression by classification: the cross-entropy of the label's bin, or its focal form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.losses.base import mean_or_zero


def focal_cross_entropy(logits: Tensor, index: Tensor, weight: Tensor | None = None, gamma: float = 0.0) -> Tensor:
    r"""Cross-entropy, scaled down where the right class is likely already.

    .. math:: \frac{1}{N} \sum_i w_i \, (1 - p_i)^\gamma (-\log p_i)

    with p the probability of the sample's class. Gradients flow through the factor.

    Args:
        logits: one per class.
        index: the class of each sample; one beyond the classes leaves a sample out (it counts 0 in the mean).
        weight: one per sample (such as ``lds(labels)``); None means 1.
        gamma: 0 or more; 0 is the cross-entropy.

    Shape:
        logits ``[N, B]``, index int64 ``[N]``, weight ``[N]`` -> a scalar. Half-precision logits give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, a gamma below 0.

    Example:
        >>> focal_cross_entropy(torch.zeros(1, 4), torch.tensor([2])), focal_cross_entropy(
        ...     torch.zeros(1, 4), torch.tensor([2]), gamma=1.0)
        (tensor(1.3863), tensor(1.0397))

    Reference:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. 4 (softmax in place of the sigmoid).
    """
    _check(gamma)
    if logits.ndim != 2 or index.shape != logits.shape[:1]:
        raise ValueError(f"logits must be [N, B] with index [N], got {list(logits.shape)} and {list(index.shape)}")
    if weight is not None and weight.shape != index.shape:
        raise ValueError(f"weight must be {list(index.shape)}, one per sample, got {list(weight.shape)}")
    classes = logits.shape[1]
    log_all = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
    log_p = log_all.gather(1, index.clamp(max=classes - 1)[:, None]).squeeze(1)
    if gamma > 0:
        # A power below one has an infinite slope at zero: a sure hit takes a constant path instead.
        miss = -torch.expm1(log_p)
        hit = miss <= 0
        loss = -log_p * miss.masked_fill(hit, 1.0).pow(gamma).masked_fill(hit, 0.0)
    else:
        loss = -log_p
    loss = torch.where(index < classes, loss, 0.0)
    return mean_or_zero(loss if weight is None else weight * loss)


def _check(gamma: float) -> None:
    if not gamma >= 0:
        raise ValueError(f"gamma must be 0 or more, got {gamma}")


class RegressionByClassification(nn.Module):
    """:func:`focal_cross_entropy` of the bin that a target lies in, for a ``ClassificationHead``.

    A sample's loss does not depend on the batch, nor on the number of processes.

    Args:
        gamma: of the focal factor, 0 or more; 0 is the cross-entropy.

    Shape:
        output (logits) ``[N, B]``, target ``[N]``, weight ``[N]`` or None -> a scalar.

    State:
        bins: those of ``fit``, which comes before ``load_state_dict``.

    Raises:
        ValueError: shapes that do not fit, logits of another number of bins, a gamma below 0.
        RuntimeError: a call or ``load_state_dict`` before ``fit``.

    Example:
        >>> loss = RegressionByClassification().fit(torch.zeros(1), LabelBins.integers(0, 3))
        >>> loss(torch.zeros(2, 4), torch.tensor([0.0, 3.0]))
        tensor(1.3863)

    Reference:
        Rothe et al., IJCV 2018 (DEX): bins and an expectation; the focal form is what imbalanced classification
        suggests for it.
    """

    def __init__(self, gamma: float = 0.0) -> None:
        super().__init__()
        _check(gamma)
        self.gamma = float(gamma)
        self.bins: LabelBins | None = None

    def fit(self, targets: Tensor, bins: LabelBins) -> RegressionByClassification:
        """Take the bins, those of the head; the targets play no part."""
        self.bins = bins
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The weighted mean over the samples."""
        if self.bins is None:
            raise RuntimeError("RegressionByClassification must be told of the bins first: call fit(targets, bins)")
        if output.ndim != 2 or output.shape[1] != self.bins.num_bins:
            raise ValueError(f"output must be [N, {self.bins.num_bins}], one logit per bin, got {list(output.shape)}")
        return focal_cross_entropy(output, self.bins(target), weight, self.gamma)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.bins is None:
            raise RuntimeError("fit(targets, bins) must come before load_state_dict")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}"
