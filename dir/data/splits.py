"""Train, val and test: balanced over the label range as in the paper, or random; and reading given splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Not out of dir.data.base, which brings Lightning: preparing a csv needs neither that nor PyTorch.
SPLITS = ("train", "val", "test")
Names = NDArray[np.str_]


def held_out(count: int, cap: int) -> int:
    """How many of ``count`` samples with one label go to val, and again to test: ``min(cap, count // 3)``.

    This is the rule of the published age splits (cap 30 for AgeDB-DIR, 150 for IMDB-WIKI-DIR): common labels
    give ``cap``, rare ones a third, and a label seen once or twice stays in train.

    Example:
        >>> [held_out(count, cap=30) for count in (2, 8, 52, 380)]
        [0, 2, 17, 30]
    """
    return min(cap, count // 3)


def cap_for_share(groups: NDArray[np.int64], share: float) -> int:
    """The largest cap for which :func:`balanced_split` puts at most ``share`` of all samples into val.

    On AgeDB-DIR's ages and a share of 0.13, what the published split has, this finds the published cap.

    Args:
        groups: group (label bin) of every sample, [N].
        share: of the samples, for val and again for test; in (0, 0.33].

    Returns:
        the cap, at least 1 (which may exceed the share where groups are many and samples few).
    """
    if not 0.0 < share <= 0.33:
        raise ValueError(f"share must lie in (0, 0.33] (val and test take that much each); got {share}")
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
    """Split so that val and test are balanced over the groups, :func:`held_out` of each.

    Args:
        groups: group (integer age, label bin) of every sample, [N].
        cap: most samples of one group in val, and in test; at least 1.
        seed: which samples these are; the same seed and groups give the same split.

    Returns:
        "train", "val" or "test" for every sample, [N].

    Raises:
        ValueError: for a cap under 1.

    Example:
        >>> import numpy as np
        >>> names = balanced_split(np.array([1] * 9 + [2] * 2), cap=2, seed=0)
        >>> [int((names == split).sum()) for split in ("train", "val", "test")]
        [7, 2, 2]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (balanced validation and test sets).
    """
    if cap < 1:
        raise ValueError(f"cap must be at least 1; got {cap}")
    names = np.full(len(groups), "train", dtype="<U5")
    rng = np.random.default_rng(seed)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        size = held_out(len(members), cap)
        names[members[:size]] = "val"
        names[members[size : 2 * size]] = "test"
    return names


def random_split(count: int, share: float, seed: int) -> Names:
    """Split at random: ``round(share * count)`` samples for val, as many for test, the rest for train."""
    if not 0.0 < share <= 0.33:
        raise ValueError(f"share must lie in (0, 0.33] (val and test take that much each); got {share}")
    names = np.full(count, "train", dtype="<U5")
    order = np.random.default_rng(seed).permutation(count)
    size = round(share * count)
    names[order[:size]] = "val"
    names[order[size : 2 * size]] = "test"
    return names


def group_split(groups: NDArray[Any], share: float, seed: int) -> Names:
    """Split whole groups at random: no group (person, patient, site) is in two splits.

    Groups are taken in a random order, into test until it holds ``share`` of the samples, then into val, then train;
    the shares are met up to one group.

    Args:
        groups: group of every sample, [N], numbers or strings.
        share: of the samples, for val and for test, about; in (0, 0.33].
        seed: draws the order.

    Returns:
        "train", "val" or "test" for every sample, [N].

    Raises:
        ValueError: fewer than three groups, a share out of range, or groups so large that none is left for a split.

    Example:
        >>> import numpy as np
        >>> names = group_split(np.array(list("aaabbbccddee")), share=0.2, seed=0)
        >>> all(len(set(names[group])) == 1 for group in (slice(0, 3), slice(3, 6), slice(6, 8)))
        True
    """
    if not 0.0 < share <= 0.33:
        raise ValueError(f"share must lie in (0, 0.33] (val and test take that much each); got {share}")
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    before = np.concatenate([[0], np.cumsum(counts[order])[:-1]])
    # The split of a group is told by how many samples stand before it.
    split_of = np.full(len(counts), "train", dtype="<U5")
    split_of[order[before < 2 * share * len(groups)]] = "val"
    split_of[order[before < share * len(groups)]] = "test"
    names: Names = split_of[index]
    for name in SPLITS:
        if not np.any(names == name):
            raise ValueError(
                f"groups: {len(counts)} groups of up to {counts.max(initial=0)} of {len(groups)} samples leave none "
                f"for {name}; give more groups or a smaller share"
            )
    return names


def read_split(values: NDArray[Any], where: str, first_row: int = 0) -> Names:
    """Read a split column: the names train, val, test, or 0, 1, 2.

    Args:
        values: [N], strings, bytes or whole numbers.
        where: what the column is called in an error.
        first_row: number of the first row in an error: 0 for arrays, 1 for files below a header.

    Returns:
        "train", "val" or "test" for every sample, [N].

    Raises:
        ValueError: for any other value (the first ones are listed), or a split without samples.

    Example:
        >>> import numpy as np
        >>> read_split(np.array([0, 2, 1]), where="split").tolist()
        ['train', 'test', 'val']
    """
    if values.ndim != 1:
        raise ValueError(f"{where} must have one entry per sample, shape [N]; got shape {list(values.shape)}")
    text = values.astype("U") if values.dtype.kind != "S" else np.char.decode(values, "utf-8")
    names = np.full(len(values), "", dtype="<U5")
    for code, name in enumerate(SPLITS):
        names[(text == name) | (text == str(code)) | (text == f"{code}.0")] = name
    wrong = np.flatnonzero(names == "")
    if len(wrong):
        shown = ", ".join(f"'{text[row][:30]}' (row {row + first_row})" for row in wrong[:20])
        raise ValueError(f"{where} must be train, val, test or 0, 1, 2; {len(wrong)} entries are not: {shown}")
    for name in SPLITS:
        if not np.any(names == name):
            raise ValueError(f"{where} gives no sample to {name}; each of train, val and test needs some")
    return names
