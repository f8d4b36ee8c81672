"""Which label bins are many, median, few and zero shot: by thresholds on training counts or by a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

SHOTS = ("many", "median", "few", "zero")

# The published list for STS-B-DIR, bins of LabelBins.uniform(0, 5, 50). It equals more than 100, 30 to 100
# and fewer than 30 training samples (the age benchmarks' lower threshold is 20).
STSB_DIR_SHOTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "many": (0, *range(10, 25, 2), 26, *range(28, 49, 2), 49),
        "median": (2, 4, 6, 8, 27, 35, 37),
        "few": (1, 3, 5, 7, 9, *range(11, 26, 2), 29, 31, 33, 39, 41, 43, 45, 47),
    }
)


def shot_of_bins(
    counts: Tensor | None,
    num_bins: int,
    many: int = 100,
    few: int = 20,
    zero_shot: bool = True,
    groups: Mapping[str, Sequence[int]] | None = None,
) -> Tensor:
    """Which shot group each bin belongs to.

    Args:
        counts: training samples per bin, whole numbers, [num_bins]; not read when ``groups`` is given.
        num_bins: number of bins.
        many: bins with more than this are "many".
        few: bins with fewer than this are "few"; between the two, both included, they are "median".
        zero_shot: False counts bins without training samples among "few", as the published tables do.
        groups: a published list, bin indices by group name, in place of counts and thresholds.

    Shape:
        Output: bool [len(SHOTS), num_bins], rows in the order of ``SHOTS``. No bin is in two rows; with
        ``groups`` a bin may be in none.

    Raises:
        ValueError: counts of another shape, negative or not whole; few > many or few < 1; unknown group names,
            indices out of range or listed twice; neither counts nor groups.

    Example:
        >>> rows = shot_of_bins(torch.tensor([101, 100, 20, 19, 0]), num_bins=5)
        >>> {name: row.nonzero().flatten().tolist() for name, row in zip(SHOTS, rows)}
        {'many': [0], 'median': [1, 2], 'few': [3], 'zero': [4]}
    """
    if groups is not None:
        return _listed(groups, num_bins)
    if counts is None:
        raise ValueError("give counts (bins.counts(train_labels)), or groups with the bins of every shot group")
    if tuple(counts.shape) != (num_bins,):
        raise ValueError(
            f"counts must have one entry per bin, shape [{num_bins}], got {list(counts.shape)}; "
            "use bins.counts(train_labels)"
        )
    if bool((counts < 0).any()) or bool((counts != counts.round()).any()):
        raise ValueError("counts must be whole numbers of 0 or more; use bins.counts(train_labels)")
    if not 1 <= few <= many:
        raise ValueError(f"thresholds must satisfy 1 <= few <= many, got few={few} and many={many}")
    zero = counts == 0 if zero_shot else torch.zeros_like(counts, dtype=torch.bool)
    return torch.stack(
        [counts > many, (counts >= few) & (counts <= many), (counts < few) & ~zero, zero],
    )


def _listed(groups: Mapping[str, Sequence[int]], num_bins: int) -> Tensor:
    """The rows of a published list."""
    unknown = set(groups) - set(SHOTS)
    if unknown:
        raise ValueError(f"groups must be named {', '.join(SHOTS)}, got {', '.join(sorted(map(str, unknown)))}")
    rows = torch.zeros(len(SHOTS), num_bins, dtype=torch.bool)
    for row, name in zip(rows, SHOTS, strict=True):
        listed = [int(index) for index in groups.get(name, ())]
        outside = [index for index in listed if not 0 <= index < num_bins]
        if outside:
            raise ValueError(f"groups[{name!r}] must hold bin indices from 0 to {num_bins - 1}, got {outside}")
        row[listed] = True
    twice = (rows.sum(0) > 1).nonzero().flatten().tolist()
    if twice:
        raise ValueError(f"groups must not share bins, got bins {twice} in more than one")
    return rows
