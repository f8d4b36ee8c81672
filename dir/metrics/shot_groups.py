"""The shot groups of label bins (many, median, few and zero shot), by thresholds or by a published list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from dir._checks import message
from dir.metrics.functional._inputs import as_tensor
from dir.metrics.shot_thresholds import shot_thresholds
from dir.metrics.table import SHOTS as SHOTS

# The published list for STS-B-DIR, as bins of LabelBins.uniform(0, 5, 50). It corresponds to more than 100, 30 to 100
# and fewer than 30 training samples. (The lower threshold of the age benchmarks is 20.)
STSB_DIR_SHOTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "many": (0, *range(10, 25, 2), 26, *range(28, 49, 2), 49),
        "median": (2, 4, 6, 8, 27, 35, 37),
        "few": (1, 3, 5, 7, 9, *range(11, 26, 2), 29, 31, 33, 39, 41, 43, 45, 47),
    }
)
_FROM_LABELS = "Use bins.counts(train_labels)."


def shot_of_bins(
    counts: Tensor | np.ndarray | None,
    num_bins: int,
    many: float | None = None,
    few: float | None = None,
    zero_shot: bool = True,
    groups: Mapping[str, Sequence[int]] | None = None,
    by: str = "count",
    edges: Tensor | None = None,
) -> Tensor:
    """Return the shot group of each bin as rows of a mask.

    Args:
        counts: training samples per bin, whole numbers, [num_bins]; ignored if ``groups`` is given.
        num_bins: number of bins.
        many: bins with more training samples than this are "many". None: 100, or the default of another rule.
        few: bins with fewer training samples than this are "few"; from few to many, both included, they are "median".
            None: 20, or the default of another rule.
        zero_shot: False counts bins without training samples among "few", as the published tables do.
        groups: a published list, bin indices by group name, in place of counts and thresholds.
        by: meaning of ``many`` and ``few``, see :class:`dir.metrics.ShotMetrics`.
        edges: edges of the bins, [num_bins + 1]; only read by "density". None: all bins have one width.

    Shape:
        Output: bool [len(SHOTS), num_bins] on the CPU, rows in the order of ``SHOTS``. No bin is in two rows; with
        ``groups`` a bin may be in none.

    Raises:
        ValueError: counts of another shape, negative or not whole; thresholds that the rule refuses; unknown group
            names, bin indices out of range or listed twice; neither counts nor groups.

    Example:
        >>> rows = shot_of_bins(torch.tensor([101, 100, 20, 19, 0]), num_bins=5)
        >>> {name: row.nonzero().flatten().tolist() for name, row in zip(SHOTS, rows)}
        {'many': [0], 'median': [1, 2], 'few': [3], 'zero': [4]}
    """
    if groups is not None:
        return _listed(groups, num_bins)
    counts = checked_counts(counts, num_bins)
    thresholds, values = shot_thresholds(counts, many, few, by, edges)
    zero = counts == 0 if zero_shot else torch.zeros_like(counts, dtype=torch.bool)
    low, high = values < thresholds.few, values > thresholds.many
    return torch.stack([high, ~low & ~high, low & ~zero, zero])


def checked_counts(counts: Tensor | np.ndarray | None, num_bins: int) -> Tensor:
    """Return training counts on the CPU, after a check of their shape and values."""
    if counts is None:
        raise ValueError(message("counts", "expected training counts", None, f"{_FROM_LABELS} Or set groups."))
    counts = as_tensor("counts", counts).cpu()
    if tuple(counts.shape) != (num_bins,):
        problem = f"expected one entry per bin, [{num_bins}]"
        raise ValueError(message("counts", problem, list(counts.shape), _FROM_LABELS))
    bad = counts[~((counts >= 0) & (counts == counts.round()))]
    if len(bad):
        raise ValueError(message("counts", "expected whole numbers >= 0", bad[0].item(), _FROM_LABELS))
    return counts


def _listed(groups: Mapping[str, Sequence[int]], num_bins: int) -> Tensor:
    """Return the mask of a published list."""
    unknown = sorted(str(name) for name in set(groups) - set(SHOTS))
    if unknown:
        raise ValueError(message("groups", f"expected names out of {', '.join(SHOTS)}", unknown))
    rows = torch.zeros(len(SHOTS), num_bins, dtype=torch.bool)
    for row, name in zip(rows, SHOTS, strict=True):
        listed = [int(index) for index in groups.get(name, ())]
        outside = [index for index in listed if not 0 <= index < num_bins]
        if outside:
            raise ValueError(message(f"groups[{name!r}]", f"expected bin indices from 0 to {num_bins - 1}", outside))
        row[listed] = True
    twice = (rows.sum(0) > 1).nonzero().flatten().tolist()
    if twice:
        raise ValueError(message("groups", "expected each bin in one group, found in several", twice))
    return rows
