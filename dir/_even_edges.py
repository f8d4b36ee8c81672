"""Search of label bins: one call that picks the fastest way to the index of each label.

Most labels lie between evenly spaced edges, and their index is arithmetic: ten to twenty times faster than a search
on the CPU. :class:`EvenEdges` is the arithmetic, and :class:`BinSearch` decides when it applies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Labels per block of the arithmetic, so that its temporaries stay in the processor's cache.
_BLOCK = 131_072
# Up to this number of labels, the overhead of each operator costs more than the work: one block of int64.
ONE_BLOCK = 16_384
# Fewer labels than this are searched faster than computed.
_FEW = 1_024


class EvenEdges(NamedTuple):
    """Arithmetic for evenly spaced edges: ``(label - shift) * inverse``, rounded down, is the index of the bin.

    With ``starts``, the result may be one too high, and a comparison with the start of the bin corrects it.

    Subtraction and product are rounded separately, so the result does not depend on whether a processor fuses them.
    Both keep the order of labels: an index that is right at all edges and at the numbers just below them is right for
    every label in between.
    """

    shift: float
    inverse: float
    last: int
    starts: Tensor | None
    dtype: torch.dtype  # of the arithmetic; float64 is exact for half-integer edges where float32 is not

    @staticmethod
    def of(edges: Tensor) -> EvenEdges | None:
        """Return the arithmetic for edges on the CPU, or None if they are uneven or too close for their dtype."""
        num_bins = edges.shape[0] - 1
        low, high = edges[0].item(), edges[-1].item()
        inverse = num_bins / (high - low)
        if not math.isfinite(inverse):
            return None
        below = torch.nextafter(edges, torch.full_like(edges, -math.inf))
        for dtype in dict.fromkeys((edges.dtype, torch.float64)):
            exact = EvenEdges(low, inverse, num_bins - 1, None, dtype)
            if torch.equal(exact.bin_index(edges[:-1]), exact.bin_index(below[1:])) and torch.equal(
                exact.bin_index(edges[:-1]), torch.arange(num_bins, dtype=torch.int32, device=edges.device)
            ):
                return exact
        # Shift by an eighth of a bin: labels between edges b and b + 1 then land between b + 1/16 and b + 1 + 3/16.
        # Rounding down gives b or b + 1, and comparing the label with the start of that bin tells which.
        starts = edges[:-1].clone()
        starts[0] = -math.inf
        close = EvenEdges(low - 0.125 / inverse, inverse, num_bins - 1, starts, edges.dtype)
        position = ((edges - close.shift) * inverse).double() - torch.arange(num_bins + 1, device=edges.device)
        rounding = torch.finfo(edges.dtype).eps * max(abs(low), abs(high)) * inverse
        return None if rounding > 1 / 64 or bool((position - 0.125).abs().max() > 1 / 32) else close

    def bin_index(self, values: Tensor, dtype: torch.dtype = torch.int32) -> Tensor:
        """Return the bin index of finite values ``[N]``; values beyond the edges get the first or last bin."""
        position = values.to(self.dtype)
        if self.shift != 0:
            position = position - self.shift if position is values else position.sub_(self.shift)
        if self.inverse != 1:
            position = position * self.inverse if position is values else position.mul_(self.inverse)
        position = position.clamp(0, self.last) if position is values else position.clamp_(0, self.last)
        guess = position.to(dtype)
        if self.starts is None:
            return guess
        start = self.starts.index_select(0, guess)
        return guess.sub_(torch.lt(values, start, out=torch.empty_like(guess)))


class BinSearch:
    """Index of labels between ``edges``, by arithmetic where possible and by a search otherwise.

    Labels that are not finite, and with ``exclude`` labels beyond the edges, get the index ``num_bins``. No call
    waits for a device. The object keeps the arithmetic of the last edges and checks in each call that the edges are
    still the same, so that loaded or moved edges need no notification.

    Args:
        exclude: whether labels beyond the edges get the index ``num_bins``. Otherwise they get the nearest bin.
    """

    def __init__(self, exclude: bool) -> None:
        self.exclude = exclude
        self._known: tuple[Tensor, EvenEdges | None] | None = None

    def index(self, values: Tensor, edges: Tensor) -> Tensor:
        """Return the bin index, int64, of values of any shape in the dtype of the edges."""
        even = self.arithmetic(values, edges)
        if even is None:
            return self._searched(values, edges)
        if values.numel() <= ONE_BLOCK:
            index = self._computed(values.flatten(), edges, even, torch.int64)
            return index if values.ndim == 1 else index.view(values.shape)
        index = torch.empty(values.shape, dtype=torch.int64, device=values.device)
        for found, part in self.in_blocks(values, edges, index.view(-1)):
            part.copy_(found)
        return index

    def in_blocks(self, values: Tensor, edges: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield the index of a block of values, flat, with the same elements of ``others``."""
        even = self.arithmetic(values, edges)
        values = values.detach().flatten()
        size = _BLOCK if values.device.type == "cpu" else max(1, len(values))
        for part, *rest in zip(*(torch.split(flat.flatten(), size) for flat in (values, *others)), strict=True):
            part = part.to(edges.dtype)
            yield self._searched(part, edges) if even is None else self._computed(part, edges, even), *rest

    def arithmetic(self, values: Tensor, edges: Tensor) -> EvenEdges | None:
        """Return the arithmetic for these values, or None if a search is faster or the edges are uneven."""
        # Check is_compiling() first: branching on numel() would make one graph for few and one for many labels.
        if torch.compiler.is_compiling() or not values.is_cpu or values.numel() < _FEW:
            return None
        known = self._known  # one read: another thread may replace the attribute
        if known is None or known[0].dtype != edges.dtype or not torch.equal(known[0], edges):
            known = self._known = (edges.clone(), EvenEdges.of(edges))
        return known[1]

    def _searched(self, values: Tensor, edges: Tensor) -> Tensor:
        num_bins = edges.shape[0] - 1
        index = torch.bucketize(values.contiguous(), edges[1:-1], right=True)
        if self.exclude:  # comparisons with NaN are False
            outside = (values >= edges[0]).logical_and_(values <= edges[-1]).logical_not_()
        else:  # a product with 0 is 0 for finite values only
            outside = values * 0 != 0
        return index.masked_fill_(outside, num_bins)

    def _computed(self, values: Tensor, edges: Tensor, even: EvenEdges, dtype: torch.dtype = torch.int32) -> Tensor:
        # An infinite sum may also come from large finite values, which the search handles as well.
        if not math.isfinite(values.sum().item()):
            return self._searched(values, edges)
        index = even.bin_index(values, dtype)
        if self.exclude:
            outside = (values < edges[0]).logical_or_(values > edges[-1])
            index.masked_fill_(outside, edges.shape[0] - 1)
        return index
