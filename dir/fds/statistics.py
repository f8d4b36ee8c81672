"""Pure functions of FDS: moments of a bin, running update, smoothing, and tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

Statistics = Literal["mean_var", "mean"]

# Entries of a table per block, so that temporaries stay in the cache and the allocator reuses their pages.
_TOGETHER = 2**17


def columns(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of the same block of columns of all tables ``[B, D]``, so that temporaries stay small."""
    parts = max(1, -(-tables[0].numel() // _TOGETHER))
    return zip(*(table.chunk(parts, dim=1) for table in tables), strict=True)


def nonfinite_rows(total: Tensor, square: Tensor) -> Tensor:
    """Return the indices of bins with sums that are not finite, int64 ``[n]``."""
    # amax and amin return NaN if any value is NaN, and comparisons with NaN are False.
    finite = (total.amax(dim=1) < torch.inf) & (total.amin(dim=1) > -torch.inf) & (square.amax(dim=1) < torch.inf)
    return (~finite).nonzero().flatten()


def moments_(count: Tensor, total: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return mean and unbiased variance from count, sum and sum of squares.

    .. math:: m = s / n, \qquad v = (q - s^2 / n) / (n - 1)

    A difference smaller than the rounding error of the sums (``n * eps * q``, n at most 2^16) counts as 0, so that
    identical samples have variance 0 and no variance is negative. Bins with fewer than two samples have variance 0.

    Args:
        count: n, ``[B]``.
        total, square: s and q, ``[B, D]``. Both are overwritten.

    Returns:
        Mean and variance, ``[B, D]`` each.

    Example:
        >>> mean, var = moments_(torch.tensor([2.0]), torch.tensor([[4.0]]), torch.tensor([[10.0]]))
        >>> mean.item(), var.item()
        (2.0, 2.0)
    """
    n = count[:, None]
    mean = total / n.clamp(min=1)
    # In place, here and below, because allocating new memory takes most of the time.
    spread = torch.addcmul(square, total, mean, value=-1, out=total)
    # Rounding error of a sum of n equal terms. The bound on n keeps real variances of large bins. Bins with fewer
    # than two samples need no mask, because their variance is divided by infinity below.
    off = torch.where(n < 2, 0.0, n.clamp(max=2**16) * torch.finfo(square.dtype).eps)
    short = square.mul_(off).sub_(spread)
    if not (short.device.type == "cpu" and bool(short.amax() <= 0)):  # on the CPU a check is cheaper than a mask
        spread.masked_fill_(short > 0, 0.0)
    return mean, spread.div_(torch.where(n < 2, torch.inf, n - 1))


def kept_share(n_old: Tensor, n_new: Tensor, momentum: float | None) -> Tensor:
    """Return the weight of the old value in a running update, ``[B, 1]``.

    The weight is ``momentum``, or the share of old samples for ``momentum=None`` (the cumulative average by counts).
    It is 0 in the first epoch of a bin (``n_old == 0``) and 1 for a bin without samples (``n_new == 0``).
    """
    cumulative = n_old / (n_old + n_new).clamp(min=1)
    keep = cumulative if momentum is None else torch.full_like(n_old, momentum)
    keep = torch.where(n_old > 0, keep, 0.0)
    return torch.where(n_new > 0, keep, 1.0)[:, None]


def move_(old: Tensor, new: Tensor, keep: Tensor) -> Tensor:
    """Update a ``[B, D]`` statistic in place to ``keep * old + (1 - keep) * new`` and return it.

    Example:
        >>> one, two = torch.ones(1, 1), torch.full((1, 1), 2.0)
        >>> move_(one, two, kept_share(torch.tensor([5.0]), torch.tensor([5.0]), momentum=0.9)).item()
        1.100000023841858
    """
    # Convert to one dtype: load_state_dict(assign=True) may have given the old statistic another one.
    return old.lerp_(new.to(old.dtype), (1 - keep).to(old.dtype))


def smoothing_kernel(matrix: Tensor, seen: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return the matrix that smooths statistics over the bins that have been seen.

    .. math:: \tilde s_i = \frac{\sum_j k_{ij} c_j s_j}{\sum_j k_{ij} c_j}

    with :math:`c_j` equal to 1 (or ``weight``) for seen bins and 0 for other bins. The masked kernel is renormalised,
    which also handles the borders of the label range.

    Args:
        matrix: ``[B, B]`` of :func:`dir.kernels.smoothing_matrix`.
        seen: bool ``[B]``.
        weight: ``[B]``, samples per bin (``count_weighted``), or None.

    Returns:
        ``[B, B]`` with rows of sum 1. A row whose window has no seen bin is a row of the identity.

    Example:
        >>> k = smoothing_kernel(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([True, False]))
        >>> (k @ torch.tensor([[2.0], [4.0]])).tolist()
        [[2.0], [2.0]]

    Reference:
        Yang et al. 2021, Eq. 4 and 5. The published code reflects at the borders and includes empty bins.
    """
    column = seen.to(matrix) if weight is None else weight.to(matrix) * seen
    kernel = matrix * column[None, :]
    norm = kernel.sum(dim=1, keepdim=True)
    kernel.div_(norm.clamp(min=torch.finfo(norm.dtype).tiny))
    kernel.diagonal().masked_fill_(~(norm.squeeze(1) > 0), 1.0)
    return kernel


def shrink(kernel: Tensor, count: Tensor, tau: float) -> Tensor:
    r"""Return the kernel of :math:`a s + (1 - a) \tilde s` with :math:`a = n / (n + \tau)`."""
    n = count.to(kernel.dtype)
    a = n / (n + tau).clamp(min=torch.finfo(kernel.dtype).tiny)
    shrunk = (1 - a)[:, None] * kernel
    shrunk.diagonal().add_(a)
    return shrunk


def smooth(values: Tensor, kernel: Tensor, reach: int) -> Tensor:
    """Return ``kernel @ values`` for values ``[B, D]`` and a kernel ``[B, B]`` that is 0 beyond ``reach`` bins."""
    if 4 * (2 * reach + 1) > len(kernel):
        return kernel @ values
    smoothed = kernel.diagonal()[:, None] * values
    for step in range(1, reach + 1):
        smoothed[:-step].addcmul_(kernel.diagonal(step)[:, None], values[step:])
        smoothed[step:].addcmul_(kernel.diagonal(-step)[:, None], values[:-step])
    return smoothed


def variance_ratio(var: Tensor, smoothed_var: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return ``smoothed_var / var``, with 1 where ``var`` is 0, and a bool mask of these entries (None: no entry)."""
    ratio = smoothed_var / var
    if var.device.type == "cpu" and bool(var.amin() > 0):  # a check is cheaper than a mask
        return ratio, None
    still = ~(var > 0)
    return ratio.masked_fill_(still, 1.0), still


def fold_tables(
    mean: Tensor,
    smoothed_mean: Tensor,
    ratio: Tensor,
    still: Tensor | None,
    ratio_clip: tuple[float, float],
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    r"""Return one scale and one shift per bin and dimension, which combine whitening and re-colouring.

    .. math:: \text{scale} = \sqrt{\mathrm{clip}(\tilde v / v)}, \qquad \text{shift} = \tilde m - m \cdot \text{scale}

    A dimension with variance 0 gets scale 1 and shift 0. The shift uses the scale after rounding to ``dtype``, so
    that large means do not multiply the rounding error of the scale.

    Args:
        mean, smoothed_mean: running and smoothed mean.
        ratio, still: results of :func:`variance_ratio`.
        ratio_clip: bounds of the ratio.
        dtype: dtype of the tables.

    Shape:
        All tensors are ``[B, D]``.

    Reference:
        Yang et al. 2021, Eq. 6; the clip of the ratio is from the published code.
    """
    scale = ratio.clamp(*ratio_clip).sqrt_().to(dtype)
    shift = scale.to(mean.dtype, copy=True).mul_(mean)  # one dtype: mixed dtypes are many times slower
    torch.sub(smoothed_mean, shift, out=shift)
    return scale, (shift if still is None else shift.masked_fill_(still, 0.0)).to(dtype)


def smoothing_diagnostics(
    mean: Tensor,
    smoothed_mean: Tensor,
    var: Tensor,
    ratio: Tensor,
    still: Tensor | None,
    ratio_clip: tuple[float, float],
) -> Tensor:
    """Return four sums over a block of columns, ``[4, B]``.

    The rows are: number of entries with a variance; squared difference of smoothed and own mean, divided by the
    variance; absolute log ratio of the variances; number of ratios at the clip.

    Args:
        mean, smoothed_mean, var: ``[B, D]``.
        ratio, still: results of :func:`variance_ratio`.
        ratio_clip: bounds of the ratio.
    """
    gap = (smoothed_mean - mean).square_().div_(var)
    clipped = (ratio <= ratio_clip[0]) | (ratio >= ratio_clip[1])
    entries = torch.full_like(var[:, 0], var.shape[1])
    if still is not None:
        gap.masked_fill_(still, 0.0)
        clipped &= ~still
        entries -= still.sum(dim=1)
    limits = torch.finfo(torch.float32)  # precise enough for a diagnostic
    log_ratio = ratio.to(torch.float32, copy=True).clamp_(limits.tiny, limits.max).log_().abs_()
    return torch.stack([entries, gap.sum(dim=1), log_ratio.sum(dim=1), clipped.sum(dim=1)])


def diagnostics(seen: Tensor, trusted: Tensor, sums: Tensor) -> dict[str, float]:
    """Return the diagnostics of ``FDS.end_epoch`` from the summed results of :func:`smoothing_diagnostics`."""
    entries, gap, log_ratio, clipped = torch.where(trusted, sums, 0.0).sum(dim=1).tolist()
    entries = max(entries, 1.0)
    return {
        "bins_seen": float(seen.sum()),
        "bins_empty": float((~seen).sum()),
        "bins_trusted": float(trusted.sum()),
        "mean_gap": (gap / entries) ** 0.5,
        "var_gap": log_ratio / entries,
        "clipped": clipped / entries,
    }


def calibration_warning(found: dict[str, float], num_bins: int) -> str | None:
    """Return a warning if these diagnostics mean that the calibration is unreliable, otherwise None."""
    if found["bins_empty"] > num_bins / 2:
        return "most bins are empty: use fewer or wider bins, or drop bins outside the range of the labels"
    if found["clipped"] > 0.5:
        return "most variance ratios are at ratio_clip: use wider bins, a larger min_count, or statistics='mean'"
    return None
