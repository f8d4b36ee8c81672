"""Binning by arithmetic between evenly spaced edges: the index of a search, ten to twenty times faster."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class EvenEdges(NamedTuple):
    """``(label - shift) * inverse``, cut off, is the bin's index, or, where there are ``starts``, maybe one too high.

    Both steps round on their own, so that the result does not depend on whether a processor fuses them, and both keep
    order: what holds at the edges and at the numbers right below them holds for every label between.
    """

    shift: float
    inverse: float
    last: int
    starts: Tensor | None
    dtype: torch.dtype  # of the arithmetic; float64 is exact between whole numbers and a half where float32 is not

    @staticmethod
    def of(edges: Tensor) -> EvenEdges | None:
        """None where the edges (on the CPU) are not evenly spaced, or arithmetic in their type is too coarse."""
        num_bins = edges.shape[0] - 1
        low, high = edges[0].item(), edges[-1].item()
        inverse = num_bins / (high - low)
        if not math.isfinite(inverse):
            return None
        below = torch.nextafter(edges, torch.full_like(edges, -math.inf))
        for dtype in dict.fromkeys((edges.dtype, torch.float64)):
            exact = EvenEdges(low, inverse, num_bins - 1, None, dtype)
            if torch.equal(exact.bin_of(edges[:-1]), exact.bin_of(below[1:])) and torch.equal(
                exact.bin_of(edges[:-1]), torch.arange(num_bins, dtype=torch.int32, device=edges.device)
            ):
                return exact
        # An eighth of a bin upwards: labels between edges b and b + 1 land between b + 1/16 and b + 1 + 3/16, so that
        # cutting off the fraction gives b or b + 1, and comparing with the start of that bin tells which.
        starts = edges[:-1].clone()
        starts[0] = -math.inf
        close = EvenEdges(low - 0.125 / inverse, inverse, num_bins - 1, starts, edges.dtype)
        place = ((edges - close.shift) * inverse).double() - torch.arange(num_bins + 1, device=edges.device)
        rounding = torch.finfo(edges.dtype).eps * max(abs(low), abs(high)) * inverse
        return None if rounding > 1 / 64 or bool((place - 0.125).abs().max() > 1 / 32) else close

    def bin_of(self, values: Tensor, into: torch.dtype = torch.int32) -> Tensor:
        """Integers ``[N]`` for finite ``values [N]``; those beyond the edges are in the first or last bin."""
        place = values.to(self.dtype)
        if self.shift != 0:
            place = place - self.shift if place is values else place.sub_(self.shift)
        if self.inverse != 1:
            place = place * self.inverse if place is values else place.mul_(self.inverse)
        place = place.clamp(0, self.last) if place is values else place.clamp_(0, self.last)
        guess = place.to(into)
        if self.starts is None:
            return guess
        start = self.starts.index_select(0, guess)
        return guess.sub_(torch.lt(values, start, out=torch.empty_like(guess)))
