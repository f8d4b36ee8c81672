"""The maths of FDS as pure functions: moments, running update, smoothing, tables, calibration."""

from __future__ import annotations

import functools
import threading
from types import ModuleType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Statistics = Literal["mean_var", "mean"]


class Moments(NamedTuple):
    """Per-bin statistics of one epoch: count ``[B]``, mean ``[B, D]``, unbiased variance ``[B, D]``, and which
    bins had finite sums ``[B]``."""

    n: Tensor
    mean: Tensor
    var: Tensor
    finite: Tensor


def moments(count: Tensor, total: Tensor, square: Tensor) -> Moments:
    r"""Mean and unbiased variance from count, sum and sum of squares.

    .. math:: m = s / n, \qquad v = (q - s^2 / n) / (n - 1)

    A difference within the rounding of the sums (``n * eps * q``, n at most 2^16) is exactly 0, so identical samples
    have variance zero and no variance is negative. Bins with fewer than two samples have variance 0.

    Shape:
        count ``[B]``, total and square ``[B, D]``.

    Example:
        >>> m = moments(torch.tensor([2.0]), torch.tensor([[4.0]]), torch.tensor([[10.0]]))
        >>> m.mean.item(), m.var.item()
        (2.0, 2.0)
    """
    # The largest is NaN where one is. Here and below in place on what is new: fresh memory is most of the cost.
    finite = (total.abs().amax(dim=1) < torch.inf) & (square.amax(dim=1) < torch.inf)
    if not bool(finite.all()):
        total = torch.where(finite[:, None], total, 0.0)
        square = torch.where(finite[:, None], square, 0.0)
    n = count[:, None]
    mean = total / n.clamp(min=1)
    spread = total * mean
    torch.sub(square, spread, out=spread)
    # What sums of n equal terms can be off by; bounded, or large bins would lose real variances to it.
    rounding = n.clamp(max=2**16) * torch.finfo(square.dtype).eps * square
    var = spread.masked_fill_(spread <= rounding, 0.0).div_((n - 1).clamp(min=1))
    return Moments(count, mean, var, finite)


def move(old: Tensor, new: Tensor, n_old: Tensor, n_new: Tensor, momentum: float | None) -> Tensor:
    """Running update of a ``[B, D]`` statistic; ``momentum`` weighs the *old* value.

    A bin's first epoch (``n_old == 0``) replaces; a bin absent from this epoch (``n_new == 0``) keeps its own;
    ``momentum=None`` is the cumulative average by counts.

    Example:
        >>> one, two = torch.ones(1, 1), torch.full((1, 1), 2.0)
        >>> move(one, two, torch.tensor([5.0]), torch.tensor([5.0]), momentum=0.9).item()
        1.100000023841858
    """
    cumulative = n_old / (n_old + n_new).clamp(min=1)
    keep = cumulative if momentum is None else torch.full_like(n_old, momentum)
    keep = torch.where(n_old > 0, keep, 0.0)
    keep = torch.where(n_new > 0, keep, 1.0)[:, None]
    return (keep * old).add_((1 - keep) * new)


def smooth_statistics(values: Tensor, matrix: Tensor, seen: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Kernel-smooth per-bin statistics over the bins that have been seen.

    .. math:: \tilde s_i = \frac{\sum_j k_{ij} c_j s_j}{\sum_j k_{ij} c_j}

    with :math:`c_j` 1 for a seen bin (or its ``weight``) and 0 for one never seen: the kernel is masked, then
    renormalised, at the borders of the label range as well.

    Args:
        values: ``[B, D]``.
        matrix: ``[B, B]`` of :func:`dir.kernels.smoothing_matrix`.
        seen: bool ``[B]``.
        weight: ``[B]``, samples per bin (``count_weighted``), or None.

    Shape:
        ``[B, D]``; rows whose window holds no seen bin keep their value.

    Example:
        >>> k = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
        >>> smooth_statistics(torch.tensor([[2.0], [4.0]]), k, torch.tensor([True, False])).tolist()
        [[2.0], [2.0]]

    Reference:
        Yang et al. 2021, Eq. 4 and 5. The published code reflects at the borders and lets empty bins in.
    """
    column = seen.to(matrix) if weight is None else weight.to(matrix) * seen
    kernel = matrix * column[None, :]
    norm = kernel.sum(dim=1, keepdim=True)
    values = values.to(matrix.dtype)
    smoothed = (kernel / norm.clamp(min=torch.finfo(norm.dtype).tiny)) @ values
    return smoothed if bool((norm > 0).all()) else torch.where(norm > 0, smoothed, values)


def shrink(own: Tensor, smoothed: Tensor, count: Tensor, tau: float) -> Tensor:
    r"""Keep dense bins as they are: :math:`a\,s + (1 - a)\,\tilde s` with :math:`a = n / (n + \tau)`."""
    a = (count / (count + tau).clamp(min=torch.finfo(own.dtype).tiny))[:, None]
    return a * own + (1 - a) * smoothed


def fold_tables(
    mean: Tensor,
    var: Tensor,
    smoothed_mean: Tensor,
    smoothed_var: Tensor,
    ratio_clip: tuple[float, float],
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    r"""Fold whitening and re-colouring into one scale and one shift per bin and dimension.

    .. math:: \text{scale} = \sqrt{\mathrm{clip}(\tilde v / v)}, \qquad \text{shift} = \tilde m - m \cdot \text{scale}

    A dimension whose own variance is 0 gets scale 1 and shift 0. The shift is computed with the scale as rounded
    to ``dtype``, so that large means do not leave the rounding error of the scale in the features.

    Shape:
        all ``[B, D]``; two ``[B, D]`` of ``dtype``.

    Reference:
        Yang et al. 2021, Eq. 6; the clip of the ratio is the published code's.
    """
    still = ~(var > 0)
    ratio = (smoothed_var / var.masked_fill(still, 1.0)).clamp_(*ratio_clip)
    scale = ratio.sqrt_().masked_fill_(still, 1.0).to(dtype)
    shift = mean * scale
    torch.sub(smoothed_mean, shift, out=shift)
    return scale, shift.masked_fill_(still, 0.0).to(dtype)


def diagnostics(
    own_mean: Tensor,
    own_var: Tensor,
    mean: Tensor,
    var: Tensor,
    seen: Tensor,
    trusted: Tensor,
    ratio_clip: tuple[float, float],
) -> dict[str, float]:
    """How much the smoothing changes: bins seen, empty and trusted, and the gaps that ``FDS.end_epoch`` returns."""
    live = trusted & (own_var > 0)
    still = ~live
    safe = own_var.masked_fill(still, 1.0)
    ratio = (var / safe).masked_fill_(still, 1.0)
    gap = (mean - own_mean).square_().div_(safe).masked_fill_(still, 0.0)
    share = live.sum().clamp(min=1)
    clipped = live & ((ratio <= ratio_clip[0]) | (ratio >= ratio_clip[1]))
    tiny = torch.finfo(ratio.dtype).tiny
    return {
        "bins_seen": float(seen.sum()),
        "bins_empty": float((~seen).sum()),
        "bins_trusted": float(trusted.sum()),
        "mean_gap": float((gap.sum() / share).sqrt()),
        "var_gap": float(ratio.clamp_(min=tiny).log_().abs_().sum() / share),
        "clipped": float(clipped.sum() / share),
    }


def doubt(found: dict[str, float], num_bins: int) -> str | None:
    """In words, why a calibration with these diagnostics rests on little; None where it does not."""
    if found["bins_empty"] > num_bins / 2:
        return "most bins are empty: use fewer or wider bins, or drop those outside the range of the labels"
    if found["clipped"] > 0.5:
        return "most variance ratios are at ratio_clip: use wider bins, a larger min_count, or statistics='mean'"
    return None


@functools.cache
def _kernel() -> ModuleType | None:
    try:
        from dir import _calibrate_kernel
    except ImportError:  # torch comes without Triton on some platforms
        return None
    return _calibrate_kernel


def _in_one_pass(values: Tensor, index: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor | None:
    """``values * scale[index] (+ shift[index])`` by one kernel; None where plain operators have to do it."""
    if not values.is_cuda or torch.compiler.is_compiling():  # compilers fuse the plain operators themselves
        return None
    kernel = _kernel()
    tables = (scale,) if shift is None else (scale, shift)
    if kernel is None or not kernel.fits(values, index, *tables):
        return None
    result: Tensor = kernel.scaled_rows(values, index, scale, shift)
    return result


# Gathered rows of the batch in hand, one block of memory per thread: fresh memory costs more than the arithmetic.
_kept = threading.local()
_KEPT_BYTES = 8 << 20


def _gathered(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` to be read at once: the next call of this thread overwrites it."""
    numel = index.numel() * table.shape[1]
    plain = type(table) is Tensor and type(index) is Tensor and not torch.compiler.is_compiling()
    if not plain or table.device.type != "cpu" or numel * table.element_size() > _KEPT_BYTES:
        return table.index_select(0, index)
    kept: Tensor | None = getattr(_kept, "rows", None)
    if kept is None or kept.dtype != table.dtype or kept.numel() < numel:
        with torch.inference_mode(False):
            kept = _kept.rows = torch.empty(numel, dtype=table.dtype)
    return torch.index_select(table, 0, index, out=kept[:numel].view(-1, table.shape[1]))


class _Calibrate(torch.autograd.Function):
    # Saves only the index and the scale table; autograd on the plain expression would keep the features too.
    @staticmethod
    def forward(ctx: Any, features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(index, scale)
        fused = _in_one_pass(features, index, scale, shift)
        if fused is not None:
            return fused
        # In place on the gathered rows, which nobody else holds: an allocation costs more than the arithmetic.
        rows, calibrated = _gathered(scale, index), shift.index_select(0, index)
        if features.dtype == scale.dtype:
            return calibrated.addcmul_(features, rows)
        dtype = torch.promote_types(features.dtype, scale.dtype)
        return calibrated.to(dtype).addcmul_(features, rows.to(dtype)).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, scale = ctx.saved_tensors
        fused = _in_one_pass(grad, index, scale)
        if fused is not None:
            return fused, None, None, None
        rows = scale.index_select(0, index).to(torch.promote_types(grad.dtype, scale.dtype))
        return rows.mul_(grad).to(grad.dtype), None, None, None


def calibrate(features: Tensor, index: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    r"""Calibrate each row with its bin's row of the tables: :math:`\hat z = z \cdot \text{scale}_b + \text{shift}_b`.

    Args:
        features: ``[N, D]``, floating.
        index: int64 ``[N]``, rows of the tables.
        scale, shift: ``[R, D]``; constants, no gradient flows into them.

    Shape:
        ``[N, D]``, a new tensor of the features' dtype.

    Example:
        >>> calibrate(torch.ones(1, 1), torch.tensor([0]), torch.tensor([[2.0]]), torch.tensor([[1.0]])).item()
        3.0

    Reference:
        Yang et al. 2021, Eq. 6, with the whitening and colouring folded into one multiply-add.
    """
    calibrated: Tensor = _Calibrate.apply(features, index, scale, shift)
    return calibrated
