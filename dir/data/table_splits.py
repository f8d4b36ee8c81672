"""Random, balanced and grouped splits of the rows of a table."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dir.data.arrays import automatic_bins
from dir.data.label_types import needs_float64
from dir.data.splits import Names, balanced_split, cap_for_share, group_split, random_split


def split_table(
    table: pd.DataFrame,
    target: str,
    split: Literal["balanced", "random"],
    share: float,
    num_bins: int,
    seed: int,
    groups: NDArray[np.str_] | None = None,
) -> Names:
    """Return the split of each row, the same for all copies of a row.

    Args:
        table: rows with features and target.
        target: column of the labels.
        split: ``"random"``, or ``"balanced"`` for about equally many val and test rows in each label bin.
        share: share of the rows for val and for test.
        num_bins: label bins of the balanced split, unless labels are whole numbers.
        seed: seed of the split.
        groups: identity of each row; no identity is in two splits. ``split`` is ignored then.
    """
    if groups is not None:
        return group_split(groups, share, seed)
    # Rows are numbered in the order of their first appearance, and NaN equals NaN.
    copies = table.groupby(list(table.columns), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(copies, return_index=True)[1]
    if split == "random":
        return random_split(len(first), share, seed)[copies]
    wide = table[target].to_numpy(np.float64)
    labels = torch.from_numpy((wide if needs_float64(wide) else wide.astype(np.float32))[first])
    bins = automatic_bins(labels, num_bins)(labels).numpy()
    return balanced_split(bins, cap_for_share(bins, share), seed)[copies]
