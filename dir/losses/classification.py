"""Regression by classification: the cross-entropy of the label's bin, or its focal form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import check_not_negative, check_same_shape, message
from dir.bins import LabelBins
from dir.losses.base import labelled_rows, mean_or_zero, nan_unless_finite


def focal_cross_entropy(logits: Tensor, index: Tensor, weight: Tensor | None = None, gamma: float = 0.0) -> Tensor:
    r"""Return the mean cross-entropy, scaled down where the probability of the right class is already large.

    .. math:: \frac{1}{N} \sum_i w_i \, (1 - p_i)^\gamma (-\log p_i)

    with p the probability of the sample's class. Gradients flow through the factor.

    Args:
        logits: one logit per class.
        index: class of each sample. An index of B leaves the sample out: it counts as 0 in the mean.
        weight: one weight per sample (such as ``lds(labels)``); None means 1.
        gamma: power of the factor, >= 0; 0 gives the cross-entropy.

    Shape:
        logits ``[N, B]``, index int64 ``[N]``, weight ``[N]`` -> a scalar. Half-precision logits give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, or a negative gamma.

    Example:
        >>> focal_cross_entropy(torch.zeros(1, 4), torch.tensor([2])), focal_cross_entropy(
        ...     torch.zeros(1, 4), torch.tensor([2]), gamma=1.0)
        (tensor(1.3863), tensor(1.0397))

    Reference:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. 4 (softmax in place of the sigmoid).
    """
    check_not_negative("gamma", gamma)
    if logits.ndim != 2 or index.shape != logits.shape[:1]:
        shapes = [list(logits.shape), list(index.shape)]
        raise ValueError(message("logits, index", "expected [N, B] and [N]", shapes))
    if weight is not None:
        check_same_shape("weight", weight, "index", index, "Give one weight per sample.")
    classes = logits.shape[1]
    log_all = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
    log_p = log_all.gather(1, index.clamp(max=classes - 1)[:, None]).squeeze(1)
    if gamma > 0:
        # A power below 1 has an infinite slope at 0. A sample whose class is certain takes a constant factor.
        miss = -torch.expm1(log_p)
        hit = miss <= 0
        loss = -log_p * miss.masked_fill(hit, 1.0).pow(gamma).masked_fill(hit, 0.0)
    else:
        loss = -log_p
    loss = torch.where(index < classes, loss, 0.0)
    return mean_or_zero(loss if weight is None else weight * loss)


class RegressionByClassification(nn.Module):
    """:func:`focal_cross_entropy` of the target's bin, for a ``ClassificationHead``.

    The loss of a sample does not depend on the batch or on the number of ranks.

    Args:
        gamma: power of the focal factor, >= 0; 0 gives the cross-entropy.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        output (logits) ``[N, B]``, target ``[N]``, weight ``[N]`` or None -> a scalar; NaN if a target is not finite.

    State:
        bins: the label bins given to ``fit``, which comes before ``load_state_dict``.

    Raises:
        ValueError: shapes that do not fit, logits of another number of bins, or a negative gamma.
        RuntimeError: a call or ``load_state_dict`` before ``fit``.

    Example:
        >>> loss = RegressionByClassification().fit(torch.zeros(1), LabelBins.integers(0, 3))
        >>> loss(torch.zeros(2, 4), torch.tensor([0.0, 3.0]))
        tensor(1.3863)

    Reference:
        Rothe et al., IJCV 2018 (DEX): classification into bins, and the expectation as prediction. The focal form is
        taken from imbalanced classification.
    """

    corrects_imbalance = False

    def __init__(self, gamma: float = 0.0, ignore_nan: bool = False) -> None:
        super().__init__()
        check_not_negative("gamma", gamma)
        self.gamma = float(gamma)
        self.ignore_nan = ignore_nan
        self.bins: LabelBins | None = None

    def fit(self, targets: Tensor, bins: LabelBins) -> RegressionByClassification:
        """Store the bins, which must be those of the head; the targets are ignored."""
        self.bins = bins
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted mean over the samples."""
        if self.bins is None:
            raise RuntimeError("RegressionByClassification is not fitted. Call fit(targets, bins) first.")
        if output.ndim != 2 or output.shape[1] != self.bins.num_bins:
            problem = f"expected [N, {self.bins.num_bins}], one logit per bin"
            raise ValueError(message("output", problem, list(output.shape)))
        if self.ignore_nan:
            target, output, weight = labelled_rows(target, output, weight)
        # The bins leave a NaN target out, so that its loss would be 0.
        return nan_unless_finite(focal_cross_entropy(output, self.bins(target), weight, self.gamma), target)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.bins is None:
            raise RuntimeError("RegressionByClassification is not fitted. Call fit(targets, bins) first.")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, ignore_nan={self.ignore_nan}"
