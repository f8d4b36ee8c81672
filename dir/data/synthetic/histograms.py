"""Label histograms of AgeDB-DIR and STS-B-DIR, which give the generated data a real imbalance.

Reference: Yang et al. 2021, "Delving into Deep Imbalanced Regression" (the splits). The counts come from the label
files of the authors' repository (MIT).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Tables of numbers: the formatter would put each number on its own line.
# fmt: off
AGEDB_DIR_AGES: dict[str, tuple[int, ...]] = {
    "train": (
        0, 1, 0, 4, 2, 2, 4, 5, 4, 2, 5, 8, 6, 8, 9, 15, 18, 28, 60, 50, 101, 103, 123, 152, 199,
        224, 215, 244, 287, 253, 325, 256, 318, 278, 302, 353, 287, 310, 322, 261, 326, 260, 296,
        265, 221, 282, 227, 229, 251, 207, 257, 227, 250, 190, 198, 234, 167, 183, 186, 153, 185,
        147, 178, 158, 133, 171, 117, 117, 155, 90, 156, 85, 115, 96, 78, 98, 49, 44, 46, 26, 31,
        26, 24, 19, 15, 20, 13, 10, 7, 7, 7, 7, 5, 5, 3, 3, 2, 1, 2, 1, 2, 1,
    ),
    "val": (
        0, 0, 0, 2, 0, 1, 2, 3, 2, 2, 4, 6, 4, 7, 7, 14, 17, 27, 30, 30, 30, 30, 30, 30, 30, 30, 30,
        30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
        30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
        30, 30, 30, 30, 30, 30, 25, 30, 25, 22, 19, 14, 19, 11, 10, 7, 6, 6, 5, 3, 5, 2, 3, 0, 0, 0,
        0, 0, 0,
    ),
    "test": (
        0, 0, 0, 2, 0, 1, 2, 3, 2, 2, 4, 6, 4, 7, 7, 14, 17, 27, 30, 30, 30, 30, 30, 30, 30, 30, 30,
        30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
        30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
        30, 30, 30, 30, 30, 30, 25, 30, 25, 22, 19, 14, 19, 11, 10, 7, 6, 6, 5, 3, 5, 2, 3, 0, 0, 0,
        0, 0, 0,
    ),
}
"""Faces per age 0, 1, ..., 101 in each split of AgeDB-DIR (12,208 / 2,140 / 2,140)."""

STSB_DIR_SCORES: dict[str, tuple[int, ...]] = {
    "train": (
        428, 4, 96, 2, 98, 9, 86, 14, 97, 1, 203, 1, 139, 7, 117, 22, 111, 17, 118, 1, 186, 3, 192,
        7, 111, 27, 150, 35, 143, 1, 357, 6, 332, 22, 239, 55, 209, 71, 257, 5, 352, 3, 229, 4, 126,
        20, 115, 25, 133, 263,
    ),
    "val": (
        35, 0, 17, 2, 46, 9, 41, 4, 46, 0, 31, 1, 22, 2, 44, 6, 43, 12, 39, 0, 29, 1, 27, 2, 41, 9,
        41, 11, 38, 1, 26, 0, 34, 3, 37, 10, 40, 6, 43, 1, 32, 0, 27, 3, 38, 7, 43, 2, 18, 30,
    ),
    "test": (
        45, 0, 11, 0, 44, 11, 39, 3, 45, 2, 23, 1, 32, 1, 43, 7, 42, 7, 44, 0, 28, 0, 28, 4, 40, 12,
        38, 7, 43, 0, 23, 0, 39, 2, 36, 10, 40, 14, 35, 1, 29, 2, 32, 5, 32, 12, 38, 4, 14, 32,
    ),
}
"""Sentence pairs per bin of 0.1 on [0, 5] in each split of STS-B-DIR (5,249 / 1,000 / 1,000)."""
# fmt: on


def shuffled_values(counts: tuple[int, ...], seed: int) -> Tensor:
    """Return each index as often as its count, in an order given by the seed.

    Args:
        counts: number of times that each index occurs.
        seed: draws the order.

    Shape: int64 [sum(counts)].

    Example:
        >>> shuffled_values((1, 0, 2), seed=0).sort().values
        tensor([0, 2, 2])
    """
    values = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.random.default_rng(seed).permutation(values))
