"""Interface between ``ShotMetrics`` and the metrics: the states of the shot groups, and a metric's use of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

# Per-bin states that ShotMetrics can keep. "samples" keeps all predictions and labels.
State = Literal["abs_error", "squared_error", "log_error", "moments", "samples"]


@dataclass(frozen=True)
class GroupStates:
    """States of G shot groups, split by the R rows (label bins, and one row for the labels in no bin).

    Args:
        count: samples of each group, int64 ``[G]``.
        hits: samples of each group with an error of exactly 0, int64 ``[G]``; counted for "log_error" alone.
        bin_count: samples of each group by row, int64 ``[G, R]``.
        bin_sums: sums of the errors of each group by row, float64 ``[G, R]``, by name of the state.
        moments: moments of each row in each group, ``[R, G, 6]``, or None.
        preds, target: all samples ``[N]``, or None.
        members: rows of each group, bool ``[G, R]``.
        row: row of each sample, ``[N]``, or None.
        epsilon: value that replaces an error of exactly 0 in the geometric mean.
    """

    count: Tensor
    hits: Tensor
    bin_count: Tensor
    members: Tensor
    bin_sums: dict[str, Tensor] = field(default_factory=dict)
    moments: Tensor | None = None
    preds: Tensor | None = None
    target: Tensor | None = None
    row: Tensor | None = None
    epsilon: float = 1e-10

    def total(self, name: str) -> Tensor:
        """Return the sum of a state over the rows of each group, ``[G]``."""
        return self.bin_sums[name].sum(1)

    def samples(self) -> tuple[Tensor, Tensor]:
        """Return all predictions and labels, ``[N]`` each."""
        assert self.preds is not None
        assert self.target is not None
        return self.preds, self.target

    def sample_masks(self) -> Iterator[Tensor]:
        """Return the mask of each group's samples, bool ``[N]``."""
        assert self.row is not None
        for member in self.members:
            yield member.index_select(0, self.row)


@dataclass(frozen=True)
class ByGroup:
    """Computation of a metric for all shot groups at once.

    Args:
        states: states that the metric reads.
        compute: maps the states to one value per group, ``[G]``.
    """

    states: tuple[State, ...]
    compute: Callable[[GroupStates], Tensor]


def from_samples(function: Callable[[Tensor, Tensor], Tensor]) -> ByGroup:
    """Return the computation by group of any ``function(preds, target)``, which keeps all samples."""

    def compute(states: GroupStates) -> Tensor:
        preds, target = states.samples()
        return torch.stack([function(preds[mask], target[mask]) for mask in states.sample_masks()])

    return ByGroup(("samples",), compute)
