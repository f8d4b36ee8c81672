"""LabelChunks: what a run learns from the labels of a split, chunk by chunk, without holding all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.reweighter import Reweighter


class LabelChunks:
    """The labels of a split, read chunk by chunk as often as they are needed.

    The labels of most data are one chunk. Those of maps have one label for each pixel and come in many chunks.

    Args:
        read: returns the chunks from the first one on, float ``[n]`` each, finite and in raw units.

    Example:
        >>> labels = LabelChunks(lambda: iter([torch.tensor([3.0, 1.0]), torch.tensor([2.0])]))
        >>> labels.range, labels.moments(), labels.counts(LabelBins.integers(1, 3)).tolist()
        ((1.0, 3.0), (2.0, 1.0), [1, 1, 1])
    """

    def __init__(self, read: Callable[[], Iterator[Tensor]]) -> None:
        self.read = read
        self._ends: Tensor | None = None

    def by_target(self, targets: int) -> list[LabelChunks]:
        """Return the labels of each of several targets, whose chunks are ``[n, K]``; of one target, the labels."""
        return [self] if targets < 2 else [LabelChunks(partial(self._column, place)) for place in range(targets)]

    def _column(self, place: int) -> Iterator[Tensor]:
        return (chunk[:, place].contiguous() for chunk in self.read())

    def all(self) -> Tensor:
        """Return all labels, ``[N]``, or ``[N, K]`` of several targets."""
        chunks = list(self.read())
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def first(self, count: int) -> Tensor:
        """Return the first labels, at most ``count``."""
        found: list[Tensor] = []
        for chunk in self.read():
            found.append(chunk[: count - sum(map(len, found))])
            if sum(map(len, found)) == count:
                break
        return torch.cat(found)

    def ends(self) -> Tensor:
        """Return the lowest and the highest label, and a label that is no whole number where there is one.

        These are all that :func:`dir.data.automatic_bins` reads.
        """
        if self._ends is None:
            low, high, fractions = [], [], []
            for chunk in self.read():
                if len(chunk):
                    low.append(chunk.min())
                    high.append(chunk.max())
                    fractions.append(chunk[chunk != chunk.round()][:1])
            self._ends = torch.cat([torch.stack(low).min()[None], torch.stack(high).max()[None], *fractions])[:3]
        return self._ends

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest label."""
        low, high = self.ends()[:2].tolist()
        return low, high

    def counts(self, bins: LabelBins) -> Tensor:
        """Return the number of labels in each bin, int64 ``[num_bins]``."""
        total = torch.zeros(bins.num_bins, dtype=torch.int64)
        for chunk in self.read():
            total += bins.counts(chunk)
        return total

    def moments(self, transform: Callable[[Tensor], Tensor] | None = None) -> tuple[float, float]:
        """Return the mean and the (unbiased) standard deviation of all labels, after ``transform`` where given."""
        count, mean, deviation = 0, 0.0, 0.0
        for chunk in self.read():
            wide = (chunk if transform is None else transform(chunk)).double()
            n, own = len(wide), float(wide.mean()) if len(wide) else 0.0
            spread = float(wide.std()) if n > 1 else 0.0
            if count == 0:
                count, mean, deviation = n, own, spread
            elif n:
                # Chan et al.: the sums of squares about two means add up to the one about their common mean.
                squares = (
                    deviation**2 * (count - 1) + spread**2 * (n - 1) + (own - mean) ** 2 * count * n / (count + n)
                )
                mean += (own - mean) * n / (count + n)
                count += n
                deviation = (squares / (count - 1)) ** 0.5
        return mean, deviation

    def fit(self, weights: Reweighter) -> Reweighter:
        """Fit weights to all labels: chunk by chunk where their class can, else to all labels at once."""
        add = getattr(weights, "partial_fit", None)
        if add is None:
            return weights.fit(self.all())
        for chunk in self.read():
            if len(chunk):
                add(chunk)
        return weights
