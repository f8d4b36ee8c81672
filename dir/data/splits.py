"""Splits into train, val and test: balanced over the label range, random, by group, or given by a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_integer, check_interval, message

# Not imported from dir.data.base: preparing a csv needs neither Lightning nor PyTorch.
SPLITS = ("train", "val", "test")
# Other names of the validation split in published files.
VALIDATION = ("dev", "valid", "validation", "trial")
Names = NDArray[np.str_]


def check_share(share: float) -> None:
    """Raise ValueError unless the share, which val and test take each, lies in (0, 0.33]."""
    check_interval("data.share", share, "(0, 0.33]", "Val and test take this share each.")


def held_out(count: int, cap: int) -> int:
    """Return how many of ``count`` samples with one label go to val, and again to test: ``min(cap, count // 3)``.

    This is the rule of the published age splits (cap 30 for AgeDB-DIR, 150 for IMDB-WIKI-DIR): frequent labels
    give ``cap`` samples, rare labels a third, and a label with one or two samples stays in train.

    Example:
        >>> [held_out(count, cap=30) for count in (2, 8, 52, 380)]
        [0, 2, 17, 30]
    """
    return min(cap, count // 3)


def cap_for_share(groups: NDArray[np.int64], share: float) -> int:
    """Return the largest cap for which :func:`balanced_split` puts at most ``share`` of all samples into val.

    For AgeDB-DIR's ages and the share of the published split, 0.13, this is the published cap.

    Args:
        groups: group (label bin) of each sample, [N].
        share: of the samples, for val and again for test; in (0, 0.33].

    Returns:
        the cap, at least 1. A cap of 1 may exceed the share if there are many groups and few samples.

    Raises:
        ValueError: if the share is out of range.
    """
    check_share(share)
    counts = np.unique(groups, return_counts=True)[1]
    budget = share * len(groups)
    low, high = 1, int(counts.max(initial=1))
    while low < high:
        cap = (low + high + 1) // 2
        if sum(held_out(int(count), cap) for count in counts) <= budget:
            low = cap
        else:
            high = cap - 1
    return low


def balanced_split(groups: NDArray[np.int64], cap: int, seed: int) -> Names:
    """Split so that val and test are balanced over the groups: each takes :func:`held_out` samples of a group.

    Args:
        groups: group (integer age, label bin) of each sample, [N].
        cap: largest number of samples of one group in val, and in test; at least 1.
        seed: draws the samples; the same seed and groups give the same split.

    Returns:
        "train", "val" or "test" for each sample, [N].

    Raises:
        ValueError: if the cap is below 1.

    Example:
        >>> import numpy as np
        >>> names = balanced_split(np.array([1] * 9 + [2] * 2), cap=2, seed=0)
        >>> [int((names == split).sum()) for split in ("train", "val", "test")]
        [7, 2, 2]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (balanced validation and test sets).
    """
    check_integer("cap", cap)
    names = np.full(len(groups), "train", dtype="<U5")
    rng = np.random.default_rng(seed)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        size = held_out(len(members), cap)
        names[members[:size]] = "val"
        names[members[size : 2 * size]] = "test"
    return names


def rarest_bins(bins: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return a group for each sample with several labels: the bin of its rarest label, for :func:`balanced_split`.

    A sample of one target belongs to its bin.

    Args:
        bins: bin of each sample, [N], for each target.

    Example:
        >>> import numpy as np
        >>> rarest_bins([np.array([0, 0, 0, 1]), np.array([0, 0, 2, 0])]).tolist()  # bins 0 to 1, then 0 to 2
        [0, 0, 4, 1]
    """
    sizes = np.stack([np.bincount(target)[target] for target in bins])
    starts = np.cumsum([0, *(int(target.max()) + 1 for target in bins[:-1])])
    rarest = sizes.argmin(axis=0)
    groups: NDArray[np.int64] = (np.stack(bins) + starts[:, None])[rarest, np.arange(sizes.shape[1])]
    return groups


def random_split(count: int, share: float, seed: int) -> Names:
    """Split at random: ``round(share * count)`` samples for val, as many for test, the rest for train."""
    check_share(share)
    names = np.full(count, "train", dtype="<U5")
    order = np.random.default_rng(seed).permutation(count)
    size = round(share * count)
    names[order[:size]] = "val"
    names[order[size : 2 * size]] = "test"
    return names


def group_split(groups: NDArray[Any], share: float, seed: int) -> Names:
    """Split whole groups at random: no group (person, patient, site) is in two splits.

    Groups are taken in a random order: into test until it holds ``share`` of the samples, then into val, then into
    train. The size of a split differs from the share by less than one group.

    Args:
        groups: group of each sample, [N], numbers or strings.
        share: approximate share of the samples for val, and for test; in (0, 0.33].
        seed: draws the order.

    Returns:
        "train", "val" or "test" for each sample, [N].

    Raises:
        ValueError: if the share is out of range, or a split gets no group.

    Example:
        >>> import numpy as np
        >>> names = group_split(np.array(list("aaabbbccddee")), share=0.2, seed=0)
        >>> all(len(set(names[group])) == 1 for group in (slice(0, 3), slice(3, 6), slice(6, 8)))
        True
    """
    check_share(share)
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    before = np.concatenate([[0], np.cumsum(counts[order])[:-1]])
    # The number of samples before a group decides its split.
    split_of = np.full(len(counts), "train", dtype="<U5")
    split_of[order[before < 2 * share * len(groups)]] = "val"
    split_of[order[before < share * len(groups)]] = "test"
    names: Names = split_of[index]
    for name in SPLITS:
        if not np.any(names == name):
            largest = counts.max(initial=0)
            problem = f"{len(counts)} groups of up to {largest} of {len(groups)} samples leave none for {name}"
            raise ValueError(message("data.group", problem, advice="Give more groups or a smaller data.share."))
    return names


def read_split(values: NDArray[Any], where: str, first_row: int = 0) -> Names:
    """Read a split column: the names train, val, test, or 0, 1, 2; dev, valid, validation and trial mean val.

    Args:
        values: [N], strings, bytes or whole numbers.
        where: name of the column in error messages.
        first_row: number of the first row in error messages: 0 for arrays, 1 for files below a header.

    Returns:
        "train", "val" or "test" for each sample, [N].

    Raises:
        ValueError: for other values (the first twenty are listed), and for a split without samples.

    Example:
        >>> import numpy as np
        >>> read_split(np.array([0, 2, 1]), where="split").tolist()
        ['train', 'test', 'val']
    """
    if values.ndim != 1:
        raise ValueError(message(where, "expected one entry for each sample, shape [N]", list(values.shape)))
    text = values.astype("U") if values.dtype.kind != "S" else np.char.decode(values, "utf-8")
    names = np.full(len(values), "", dtype="<U5")
    for code, name in enumerate(SPLITS):
        names[(text == name) | (text == str(code)) | (text == f"{code}.0")] = name
    names[np.isin(text, VALIDATION)] = "val"
    wrong = np.flatnonzero(names == "")
    if len(wrong):
        shown = ", ".join(f"'{text[row][:30]}' (row {row + first_row})" for row in wrong[:20])
        raise ValueError(
            message(where, f"expected train, val, test or 0, 1, 2; {len(wrong)} entries differ: {shown}")
        )
    for name in SPLITS:
        if not np.any(names == name):
            raise ValueError(
                message(where, f"no sample of {name}", advice="Each of train, val and test needs samples.")
            )
    return names


def refuse_shared_groups(names: Names, groups: NDArray[np.str_], where: str) -> None:
    """Raise a ValueError for groups with rows in two splits.

    Args:
        names: split of each row, [N].
        groups: group of each row, [N].
        where: name of the column of groups in the error message.
    """
    found, index = np.unique(groups, return_inverse=True)
    spread = sum((np.bincount(index, names == name, len(found)) > 0).astype(int) for name in SPLITS)
    shared = found[spread > 1]
    if len(shared):
        problem = (
            f"{len(shared)} groups are in more than one split, such as {', '.join(map(repr, shared[:5].tolist()))}"
        )
        advice = "Remove data.split_column to draw splits of whole groups, or remove data.group."
        raise ValueError(message(where, problem, advice=advice))
