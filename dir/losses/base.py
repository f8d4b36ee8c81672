"""What the losses share: the shape check, the error in a safe precision, weighting and reduction.

A mean over no samples is 0, with gradient 0, in every criterion and regulariser: of several processes one may have an
empty batch, and a NaN would spoil the gradients of all. (PyTorch's own losses give NaN.)
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dir.bins import LabelBins

Reduction = Literal["mean", "sum", "none"]


def checked_pair(pred: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """pred and target after the shape check, in the same type, single precision or better.

    Half-precision inputs are widened before they are subtracted, as autocast does for PyTorch's own losses:
    ages such as 71 and 71.2 are the same number in bfloat16 arithmetic.

    Raises:
        ValueError: shapes of pred, target or weight differ (broadcasting [N] against [N, 1] gives [N, N]).
    """
    if pred.shape != target.shape:
        raise ValueError(
            f"pred and target must have the same shape, got pred {list(pred.shape)} and target "
            f"{list(target.shape)}; reshape one of them, for example with pred.squeeze(-1)"
        )
    if weight is not None and weight.shape != pred.shape:
        raise ValueError(
            f"weight must have the shape of pred, got weight {list(weight.shape)} and pred "
            f"{list(pred.shape)}; give one weight per element"
        )
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    return pred.to(dtype), target.to(dtype)


def reduce(loss: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
    """Weigh the per-element losses, then reduce them; the mean is ``(weight * loss).mean()``, 0 of no elements."""
    check_reduction(reduction)
    weighted = loss if weight is None else weight * loss
    if reduction == "mean":
        return mean_or_zero(weighted)
    return weighted.sum() if reduction == "sum" else weighted


def mean_or_zero(loss: Tensor) -> Tensor:
    """The mean, or 0 (with a graph) of no elements."""
    return loss.mean() if loss.numel() > 0 else loss.sum()


def check_reduction(reduction: str) -> None:
    """Raise a ValueError for an unknown reduction."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {', '.join(get_args(Reduction))}, got {reduction!r}")


def check_positive(name: str, value: float) -> None:
    """Raise a ValueError unless ``value`` is a finite number above zero."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


class WeightedLoss(nn.Module):
    """Base of the loss modules: holds the reduction and prints the arguments of the function it calls."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_" and k != "training")


class Regularizer(nn.Module):
    """``regularizer(features, labels, predictions)`` gives a scalar to add to the loss, its weight included.

    A subclass computes it in :meth:`forward`, from the pure function beside it. On several processes each sees the
    samples of its own batch alone, and DistributedDataParallel averages the gradients.

    Args:
        weight: factor of the term, >= 0 and finite.

    Shape:
        features ``[N, D]`` (raw, before FDS), labels ``[N]`` and predictions ``[N]`` in the criterion's units ->
        a scalar. Of two views of a batch, ``N`` is twice the number of samples.

    Raises:
        ValueError: a negative or non-finite weight.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be a finite number >= 0, got {weight}")
        self.weight = float(weight)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must implement forward(features, labels, predictions)")

    def fit(self, targets: Tensor, bins: LabelBins) -> Regularizer:
        """Told of all training labels ``[N]`` and of their bins before training, in the criterion's units."""
        return self

    def end_epoch(self, process_group: dist.ProcessGroup | None = None) -> dict[str, float]:
        """End a training epoch over the ranks of ``process_group`` and return diagnostics (here: none)."""
        return {}

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_" and k != "training")
