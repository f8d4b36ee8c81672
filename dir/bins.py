"""Label bins: continuous label -> bin index, the ground that LDS, FDS and the shot metrics stand on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dir._precision import KeepsPrecision

OutOfRange = Literal["clamp", "exclude"]

# Labels that are binned together by arithmetic: their temporaries stay in the cache.
_BLOCK = 32_768
# Fewer labels than this are searched for faster than computed.
_FEW = 2_048


class LabelBins(KeepsPrecision):
    """Half-open bins over a continuous label; the last one includes its top edge.

    ``bins(labels)[i] = b`` where ``edges[b] <= labels[i] < edges[b + 1]``. Edges are computed in float64 and
    kept in ``dtype``, and labels are compared in that type: with float32 this reproduces the published
    STS-B bins exactly.

    Build one with :meth:`uniform`, :meth:`integers`, :meth:`quantiles` or :meth:`from_edges`.

    Args:
        edges: strictly increasing bin edges, ``[num_bins + 1]``.
        out_of_range: ``"clamp"`` puts a label outside the edges into the nearest bin; ``"exclude"`` gives it
            the index ``num_bins``, which FDS passes through and LDS weighs with 1.
        dtype: float32 or float64 (for labels beyond 2^24).

    Shape:
        labels of any shape, floating (not half) or integer -> int64 indices of that shape, on that device,
        without a host synchronisation. A non-finite label gets the index ``num_bins``.

    State:
        edges: ``[num_bins + 1]``, written at construction (and by ``load_state_dict``).

    Raises:
        ValueError: edges that are not finite or do not increase in ``dtype``.
        TypeError: labels in half precision, bool or complex.

    Example:
        >>> bins = LabelBins.integers(0, 3)
        >>> bins(torch.tensor([0.0, 1.2, 3.0, 7.0])).tolist()
        [0, 1, 3, 3]
    """

    edges: Tensor

    def __init__(
        self,
        edges: ArrayLike | Tensor,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if out_of_range not in get_args(OutOfRange):
            raise ValueError(f"out_of_range must be 'clamp' or 'exclude', got {out_of_range!r}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        exact = _to_float64(edges)
        if exact.ndim != 1 or exact.size < 2:
            raise ValueError(f"edges must be one-dimensional with 2 or more values, got shape {exact.shape}")
        if not np.isfinite(exact).all():
            raise ValueError("edges must be finite, got NaN or infinity among them")
        kept = torch.from_numpy(exact).to(dtype)
        if not bool((kept[1:] > kept[:-1]).all()):
            raise ValueError(
                f"edges must increase strictly after rounding to {dtype}; "
                "use fewer bins, or dtype=torch.float64 for large or finely spaced labels"
            )
        self.out_of_range = out_of_range
        self.dtype = dtype
        self.register_buffer("edges", kept)
        self._grid = _Grid.of(kept)

    @classmethod
    def from_edges(
        cls,
        edges: ArrayLike | Tensor,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> LabelBins:
        """Bins between the given edges."""
        return cls(edges, out_of_range, dtype)

    @classmethod
    def uniform(
        cls,
        low: float,
        high: float,
        num_bins: int,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> LabelBins:
        """``num_bins`` bins of equal width on [low, high]."""
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"low and high must be finite with low < high, got low={low}, high={high}")
        if int(num_bins) != num_bins or num_bins < 1:
            raise ValueError(f"num_bins must be a whole number >= 1, got {num_bins}")
        return cls(np.linspace(low, high, int(num_bins) + 1), out_of_range, dtype)

    @classmethod
    def integers(
        cls, low: int, high: int, out_of_range: OutOfRange = "clamp", dtype: torch.dtype = torch.float32
    ) -> LabelBins:
        """One bin per whole number from ``low`` to ``high``, both included; bin k is [k - 0.5, k + 0.5)."""
        if int(low) != low or int(high) != high or low > high:
            raise ValueError(f"low and high must be whole numbers with low <= high, got {low} and {high}")
        return cls(np.arange(int(low), int(high) + 2, dtype=np.float64) - 0.5, out_of_range, dtype)

    @classmethod
    def quantiles(
        cls,
        labels: ArrayLike | Tensor,
        num_bins: int,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> LabelBins:
        """Bins that hold about equally many of ``labels``; edges that coincide are merged.

        ``num_bins`` of the result is therefore at most the one asked for. Labels that are all equal give one
        bin of width 1 around them.
        """
        if int(num_bins) != num_bins or num_bins < 1:
            raise ValueError(f"num_bins must be a whole number >= 1, got {num_bins}")
        values = _to_float64(labels).ravel()
        check_finite(values, "labels")
        rounded = values.astype(np.float32).astype(np.float64) if dtype == torch.float32 else values
        edges = np.quantile(rounded, np.linspace(0.0, 1.0, int(num_bins) + 1))
        edges = np.unique(edges.astype(np.float32) if dtype == torch.float32 else edges)
        if edges.size == 1:
            edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
        return cls(edges, out_of_range, dtype)

    @property
    def num_bins(self) -> int:
        """Number of bins, B."""
        return self.edges.shape[0] - 1

    @property
    def centers(self) -> Tensor:
        """Bin centres, ``[num_bins]``."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def forward(self, labels: Tensor) -> Tensor:
        """Bin index of every label; see the class."""
        if labels.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"labels must not be in half precision (it moves samples between bins), got {labels.dtype}; "
                "keep labels in float32 and let autocast treat the features alone"
            )
        if labels.dtype == torch.bool or labels.is_complex():
            raise TypeError(f"labels must be floating or integer, got {labels.dtype}")
        values = labels.detach().to(self.dtype)
        on_cpu = values.device.type == "cpu" and not torch.compiler.is_compiling()
        if on_cpu and self._grid is not None and values.numel() >= _FEW:
            return self._computed(values, self._grid)
        return self._searched(values)

    def _searched(self, values: Tensor) -> Tensor:
        # In the type the edges were rounded to, also after .double() has widened them.
        edges = self.edges.to(self.dtype)
        # Inner edges alone: everything below the first lands in bin 0 and above the last in bin B - 1, so
        # clamping and the closed top edge come for free.
        index = torch.bucketize(values.contiguous(), edges[1:-1], right=True)
        if self.out_of_range == "exclude":
            outside = ~((values >= edges[0]) & (values <= edges[-1]))  # NaN is in no range
        else:
            outside = values * 0 != 0  # what isfinite says, in fewer calls
        return index.masked_fill_(outside, self.num_bins)

    def _computed(self, values: Tensor, grid: _Grid) -> Tensor:
        """The same indices on the CPU, for evenly spaced edges, ten times faster where labels are many."""
        index = torch.empty(values.shape, dtype=torch.int64)
        for part, out in zip(torch.split(values.flatten(), _BLOCK), torch.split(index.view(-1), _BLOCK), strict=True):
            if not math.isfinite(part.sum().item()):  # or they are that large; then searching is right, too
                out.copy_(self._searched(part))
            elif self.out_of_range == "exclude":
                inside = (part >= grid.low) & (part <= grid.high)
                out.copy_(torch.where(inside, grid.bin_of(part), self.num_bins))
            else:
                out.copy_(grid.bin_of(part))
        return index

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._grid = None if self.edges.is_meta else _Grid.of(self.edges.detach().cpu().to(self.dtype))

    def counts(self, labels: Tensor) -> Tensor:
        """Number of labels per bin, int64 ``[num_bins]``; excluded and non-finite labels are left out."""
        index = self(labels).flatten()
        counts = torch.zeros(self.num_bins + 1, dtype=torch.int64, device=index.device)
        return counts.index_add_(0, index, torch.ones_like(index))[:-1]

    def extra_repr(self) -> str:
        low, high = self.edges[0].item(), self.edges[-1].item()
        return f"num_bins={self.num_bins}, low={low:g}, high={high:g}, out_of_range={self.out_of_range!r}"


class _Grid(NamedTuple):
    """Evenly spaced edges: ``label * inverse + offset`` is the bin's index and a bit, or the next one's."""

    offset: Tensor
    inverse: float
    starts: Tensor
    low: float
    high: float

    @staticmethod
    def of(edges: Tensor) -> _Grid | None:
        """None where the edges are not evenly spaced, or arithmetic in their type is too coarse for them."""
        num_bins = edges.shape[0] - 1
        low, high = edges[0].item(), edges[-1].item()
        inverse = num_bins / (high - low)
        offset = torch.tensor(0.125 - low * inverse, dtype=edges.dtype)
        place = torch.add(offset, edges, alpha=inverse).double() - torch.arange(num_bins + 1)
        rounding = torch.finfo(edges.dtype).eps * max(abs(low), abs(high)) * inverse
        # Arithmetic keeps order: labels between edges b and b + 1 land between b + 1/16 and b + 1 + 3/16, so that
        # cutting off the fraction gives b or b + 1, and comparing with the start of that bin tells which.
        if rounding > 1 / 64 or bool((place - 0.125).abs().max() > 1 / 32):
            return None
        starts = edges[:-1].clone()
        starts[0] = -math.inf
        return _Grid(offset, inverse, starts, low, high)

    def bin_of(self, values: Tensor) -> Tensor:
        """int32 ``[N]`` for finite ``values [N]``."""
        last = self.starts.shape[0] - 1
        guess = torch.add(self.offset, values, alpha=self.inverse).clamp_(0, last).to(torch.int32)
        return guess.add_(values < self.starts.index_select(0, guess), alpha=-1)


def check_finite(values: np.ndarray | Tensor | Sequence[float], name: str) -> None:
    """Raise a ValueError that names the first rows of ``values`` that are NaN or infinite, or if it is empty."""
    array = _to_float64(values)
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one value, got none")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        rows = ", ".join(str(position[0]) for position in bad[:10])
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise ValueError(
            f"{name} must be finite, got {array[tuple(bad[0])]} in row {bad[0][0]} "
            f"({len(bad)} bad values; rows {rows}{more})"
        )


def _to_float64(values: ArrayLike | Tensor) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
