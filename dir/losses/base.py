"""Shared parts of the losses: the type of a criterion, base classes, shape checks, holes, weights and reductions.

Three rules hold for every criterion and regulariser:

* The mean over no samples is 0, with gradient 0: one of several ranks may have an empty batch, and NaN would spoil
  the gradients of all ranks. (The losses of PyTorch give NaN.)
* A label that is NaN gives a NaN loss. It never gives a finite loss with a NaN gradient.
* With ``ignore_nan=True``, each criterion and regulariser ignores NaN labels, such as the holes of a dense map:
  loss and gradients equal those of the other rows alone, and the rows of NaN labels get a gradient of exactly 0.
  Without any label the loss is 0 with gradient 0, by the first rule. Pointwise losses (L1, MSE, Huber, Focal-R,
  cost) mask the elements. All others drop the rows (:func:`labelled_rows`), which waits for the device in each step.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar, cast, get_args, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dir._checks import check_choice, check_not_negative, check_same_shape, message
from dir.bins import LabelBins

Reduction = Literal["mean", "sum", "none"]
# A constant: torch 2.6 cannot compile a call of get_args().
REDUCTIONS = get_args(Reduction)
Other = TypeVar("Other", bound=Tensor | None)


@runtime_checkable
class Criterion(Protocol):
    """A loss as the recipes and the plain training loop call it: ``criterion(output, target, weight=None)``.

    Each criterion of :mod:`dir.losses` is an ``nn.Module`` of this type. A criterion that needs the training labels
    also has a method ``fit(targets, bins)``, which returns the criterion itself.

    Attributes:
        corrects_imbalance: whether the loss corrects the imbalance by itself. The recipes refuse to combine such a
            loss with a reweighter.

    Shape:
        output: output of the head, ``[N]`` or ``[N, ...]``; target and weight ``[N]`` -> a scalar.
    """

    @property
    def corrects_imbalance(self) -> bool: ...

    def __call__(self, output: Tensor, target: Tensor, /, weight: Tensor | None = None) -> Tensor: ...


def checked_pair(
    pred: Tensor, target: Tensor, weight: Tensor | None, ignore_nan: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return pred and target in one type of at least single precision, and a mask of the labels to keep.

    Half-precision inputs are widened before the subtraction, as autocast does for PyTorch's own losses: ages such as
    71 and 71.2 are the same number in bfloat16 arithmetic.

    Args:
        pred, target, weight: predictions, labels, and weights or None.
        ignore_nan: set predictions and labels to 0 where the label is NaN. The mask is None without it.

    Raises:
        ValueError: shapes of pred, target or weight that differ (broadcasting [N] against [N, 1] gives [N, N]);
            several targets, [N, K] with K > 1.
    """
    check_same_shape("pred", pred, "target", target, "Reshape one of them, for example with pred.squeeze(-1).")
    if target.ndim == 2 and target.shape[1] > 1:
        advice = "For several targets, add up one loss per target: sum(loss(pred[:, k], target[:, k]) for k in ...)."
        raise ValueError(message("target", "expected [N], [N, 1] or maps [N, 1, H, W]", list(target.shape), advice))
    if weight is not None:
        check_same_shape("weight", weight, "pred", pred, "Give one weight per element.")
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    pred, target = pred.to(dtype), target.to(dtype)
    if not ignore_nan:
        return pred, target, None
    kept = ~target.isnan()
    # where() before the arithmetic: its gradient is exactly 0 at a hole, also if the prediction there is not finite.
    return torch.where(kept, pred, 0.0), torch.where(kept, target, 0.0), kept


def labelled_rows(target: Tensor, rows: Tensor, other: Other) -> tuple[Tensor, Tensor, Other]:
    """Return the rows whose label is not NaN. With several targets, one NaN drops the row.

    Args:
        target: labels, ``[N]`` or ``[N, D]``.
        rows: outputs or features, ``[N, ...]``.
        other: weights or predictions, ``[N, ...]``, or None.

    Raises:
        ValueError: numbers of rows that differ, or tensors without dimensions.

    Example:
        >>> labelled_rows(torch.tensor([1.0, float("nan")]), torch.tensor([3.0, 4.0]), None)
        (tensor([1.]), tensor([3.]), None)
    """
    shapes = [list(value.shape) for value in (target, rows, other) if value is not None]
    if any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(message("target", "expected as many labels as rows", shapes))
    kept = ~target.isnan().reshape(len(target), -1).any(dim=1)
    return target[kept], rows[kept], cast(Other, None if other is None else other[kept])


def reduce(loss: Tensor, weight: Tensor | None, reduction: Reduction, kept: Tensor | None = None) -> Tensor:
    """Return the weighted losses after the reduction.

    Args:
        loss: loss of each element.
        weight: weight of each element, or None.
        reduction: "mean" is ``(weight * loss).mean()``, or 0 without elements; "sum"; "none".
        kept: mask of the elements that count; the others are 0. Default: all elements count.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    weighted = loss if weight is None else weight * loss
    if kept is not None:
        weighted = torch.where(kept, weighted, 0.0)
    if reduction == "mean":
        return mean_or_zero(weighted) if kept is None else weighted.sum() / kept.sum().clamp(min=1)
    return weighted.sum() if reduction == "sum" else weighted


def mean_or_zero(loss: Tensor) -> Tensor:
    """Return the mean, or 0 (with a graph) without elements."""
    return loss.mean() if loss.numel() > 0 else loss.sum()


def nan_unless_finite(loss: Tensor, *values: Tensor | None) -> Tensor:
    """Return the loss, or NaN with a NaN gradient if one of the values is NaN or infinite; does not synchronise.

    Losses that compare, sort or bin the labels need this: comparisons with NaN are False, so a NaN label would change
    the loss without a trace.

    Example:
        >>> nan_unless_finite(torch.tensor(2.0), torch.tensor([1.0, float("nan")]))
        tensor(nan)
    """
    finite = torch.stack([value.isfinite().all() for value in values if value is not None]).all()
    return loss * torch.where(finite, loss.new_ones(()), loss.new_full((), torch.nan))


class WeightedLoss(nn.Module):
    """Base of the pointwise loss modules: holds the arguments of the function that the module calls.

    Args:
        reduction: "mean", "sum" or "none".
        ignore_nan: ignore NaN labels, see :mod:`dir.losses.base`.
    """

    corrects_imbalance = False

    def __init__(self, reduction: Reduction = "mean", ignore_nan: bool = False) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction: Reduction = reduction
        self.ignore_nan = ignore_nan

    def extra_repr(self) -> str:
        return _arguments(self)


class Regularizer(nn.Module):
    """Base of the regularisers: ``regularizer(features, labels, predictions)`` is a term to add to the loss.

    The term includes its factor ``weight``. A subclass computes it in :meth:`forward`, from the pure function in the
    same file. On several ranks, each rank uses the samples of its own batch, and DistributedDataParallel averages the
    gradients.

    Args:
        weight: factor of the term, finite and >= 0.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        features ``[N, D]`` (raw, before FDS), labels ``[N]`` and predictions ``[N]`` in the criterion's units ->
        a scalar. With two views of a batch, ``N`` is twice the number of samples.

    Raises:
        ValueError: a weight that is negative or not finite.
    """

    def __init__(self, weight: float, ignore_nan: bool = False) -> None:
        super().__init__()
        check_not_negative("weight", weight)
        self.weight = float(weight)
        self.ignore_nan = ignore_nan

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must implement forward(features, labels, predictions)")

    def fit(self, targets: Tensor, bins: LabelBins) -> Regularizer:
        """Fit to all training labels ``[N]`` and their bins, in the criterion's units; here: nothing to fit."""
        return self

    def end_epoch(self, process_group: dist.ProcessGroup | None = None) -> dict[str, float]:
        """End a training epoch over the ranks of ``process_group`` and return diagnostics (here: none)."""
        return {}

    def extra_repr(self) -> str:
        return _arguments(self)


def _arguments(module: nn.Module) -> str:
    """Return the public attributes of a module as ``name=value, ...``."""
    return ", ".join(f"{k}={v!r}" for k, v in vars(module).items() if k[0] != "_" and k != "training")
