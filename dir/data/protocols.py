"""Evaluation protocols: labels that are removed from training, to measure interpolation and extrapolation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dir._checks import check_integer, message
from dir.bins import LabelBins


def check_intervals(intervals: Sequence[Sequence[float]], name: str) -> list[tuple[float, float]]:
    """Return the intervals as pairs (low, high).

    Raises:
        ValueError: if an interval is not two numbers with low <= high. Infinite ends are allowed.
    """
    for pair in intervals:
        if len(pair) != 2 or not all(isinstance(end, int | float) for end in pair) or not pair[0] <= pair[1]:
            raise ValueError(message(name, "expected intervals [low, high] with low <= high", list(pair)))
    return [(float(low), float(high)) for low, high in intervals]


class Protocol:
    """Choice of the training and validation rows that are kept; the test split stays whole.

    - **gaps**: labels in these closed intervals are removed and become zero-shot. A gap inside the label range tests
      interpolation, a gap at its ends extrapolation.
    - **cap**: at most this many training rows of each label bin are kept, drawn by the seed: a balanced training set.

    Args:
        gaps: closed intervals of labels; an end may be infinite.
        fractions: further intervals, as fractions of the range of the training labels (0 the lowest, 1 the highest).
        cap: largest number of training rows of a bin, >= 1, or None for no limit.
        seed: draws the rows under ``cap``.

    Raises:
        ValueError: for wrong intervals, a cap below 1, and a protocol that changes nothing.

    Example:
        >>> keep = Protocol(gaps=[[2, 3]]).keep(torch.arange(6.0), torch.arange(6.0))
        >>> keep.tolist()
        [True, True, False, False, True, True]

    Reference:
        Yang et al., ICML 2021, section 4.3 ("curated" gaps for interpolation and extrapolation). Blind spot (ages
        47 to 53), bimodal interpolation (36 to 64) and balanced extrapolation (tails) come from a review of 2026.
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
        if cap is not None:
            check_integer("protocol.cap", cap, advice="null means no limit.")
        if not self.gaps and not self.fractions and cap is None:
            raise ValueError(message("protocol", "expected gaps, fractions or a cap, got none of them"))
        self.cap = cap
        self.seed = seed

    def removed(self, train_labels: Tensor) -> list[tuple[float, float]]:
        """Return all intervals in label units."""
        low, high = train_labels.min().item(), train_labels.max().item()
        return self.gaps + [
            # An interval that reaches an end of the range includes all labels beyond this end.
            (
                low + a * (high - low) if a > 0 else -math.inf,
                low + b * (high - low) if b < 1 else math.inf,
            )
            for a, b in self.fractions
        ]

    def keep(self, labels: Tensor, train_labels: Tensor) -> Tensor:
        """Return which ``labels`` [N] lie in no gap, bool [N]. Fractions refer to the range of ``train_labels``."""
        kept = torch.ones(len(labels), dtype=torch.bool)
        for low, high in self.removed(train_labels):
            kept &= ~((labels >= low) & (labels <= high))
        return kept

    def train_rows(self, labels: Tensor, bins: LabelBins) -> Tensor:
        """Return the rows of the training split that are kept, ascending."""
        rows = torch.nonzero(self.keep(labels, labels)).flatten()
        if self.cap is None:
            return rows
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))
        index = bins(labels.index_select(0, rows.index_select(0, order)))
        # Position of each row among the rows of its bin, in the drawn order.
        by_bin = index.argsort(stable=True)
        first = torch.searchsorted(index.index_select(0, by_bin), index.index_select(0, by_bin))
        chosen = by_bin[torch.arange(len(rows)) - first < self.cap]
        return rows.index_select(0, order.index_select(0, chosen)).sort().values
