"""Evaluation protocols: labels that training never sees, so that the test split tells how far a model carries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dir.bins import LabelBins


def check_intervals(intervals: Sequence[Sequence[float]], name: str) -> list[tuple[float, float]]:
    """The intervals as (low, high).

    Raises:
        ValueError: one that is not two numbers with low <= high (infinite ends are allowed).
    """
    for pair in intervals:
        if len(pair) != 2 or not all(isinstance(end, int | float) for end in pair) or not pair[0] <= pair[1]:
            raise ValueError(f"{name}: expected intervals [low, high] with low <= high, got {list(pair)}")
    return [(float(low), float(high)) for low, high in intervals]


class Protocol:
    """Which training and validation rows are kept; the test split stays whole.

    - **gaps**: labels in these closed intervals are removed. Inside the range that is interpolation (bimodal, with
      the middle gone, or a blind spot), at its ends extrapolation. The labels removed become zero-shot.
    - **cap**: of every label bin at most so many training rows are kept, drawn by the seed: a balanced training set.

    Args:
        gaps: closed intervals of labels; an end may be infinite.
        fractions: intervals of the training labels' range, 0 its lowest and 1 its highest label, in addition.
        cap: most training rows of a bin, >= 1, or None.
        seed: draws the rows under ``cap``.

    Raises:
        ValueError: intervals that are none, a cap below 1, a protocol that changes nothing.

    Example:
        >>> keep = Protocol(gaps=[[2, 3]]).keep(torch.arange(6.0), torch.arange(6.0))
        >>> keep.tolist()
        [True, True, False, False, True, True]

    Reference:
        LDS's "curated" gaps: Yang et al., ICML 2021, section 4.3 (interpolation and extrapolation). Blind spot (ages
        47 to 53), bimodal interpolation (36 to 64) and balanced extrapolation (tails) are those of a review of 2026.
    """

    def __init__(
        self,
        gaps: Sequence[Sequence[float]] = (),
        fractions: Sequence[Sequence[float]] = (),
        cap: int | None = None,
        seed: int = 0,
    ) -> None:
        self.gaps = check_intervals(gaps, "protocol.gaps")
        self.fractions = check_intervals(fractions, "protocol.fractions")
        if cap is not None and cap < 1:
            raise ValueError(f"protocol.cap: expected at least 1 or null, got {cap}")
        if not self.gaps and not self.fractions and cap is None:
            raise ValueError("protocol: expected gaps, fractions or a cap, got none of them")
        self.cap = cap
        self.seed = seed

    def removed(self, train_labels: Tensor) -> list[tuple[float, float]]:
        """All intervals in label units."""
        low, high = train_labels.min().item(), train_labels.max().item()
        return self.gaps + [
            # Beyond the ends of the range everything belongs to the tail.
            (
                low + a * (high - low) if a > 0 else -math.inf,
                low + b * (high - low) if b < 1 else math.inf,
            )
            for a, b in self.fractions
        ]

    def keep(self, labels: Tensor, train_labels: Tensor) -> Tensor:
        """Which of ``labels`` [N] lie in no gap; bool [N]. Fractions are of the range of ``train_labels``."""
        kept = torch.ones(len(labels), dtype=torch.bool)
        for low, high in self.removed(train_labels):
            kept &= ~((labels >= low) & (labels <= high))
        return kept

    def train_rows(self, labels: Tensor, bins: LabelBins) -> Tensor:
        """The rows of the training split that are kept, ascending."""
        rows = torch.nonzero(self.keep(labels, labels)).flatten()
        if self.cap is None:
            return rows
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))
        index = bins(labels.index_select(0, rows.index_select(0, order)))
        # A row's place among those of its bin, in the drawn order.
        by_bin = index.argsort(stable=True)
        first = torch.searchsorted(index.index_select(0, by_bin), index.index_select(0, by_bin))
        chosen = by_bin[torch.arange(len(rows)) - first < self.cap]
        return rows.index_select(0, order.index_select(0, chosen)).sort().values
