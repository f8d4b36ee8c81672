"""Label bins: continuous label -> bin index, the ground that LDS, FDS and the shot metrics stand on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dir._even_edges import EvenEdges
from dir._precision import KeepsPrecision

OutOfRange = Literal["clamp", "exclude"]

# Labels that are binned together by arithmetic: their temporaries stay in the cache.
_BLOCK = 131_072
# Up to here they are few enough that the operators themselves cost more than their work.
_BATCH = 16_384
# Fewer labels than this are searched for faster than computed.
_FEW = 1_024


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
        edges: ``[num_bins + 1]``, written at construction (and by ``load_state_dict``); walls, of the same shape, are
        made of them and not saved: the edges with open or closed ends.

    Raises:
        ValueError: edges that are not finite or do not increase in ``dtype``.
        TypeError: labels in half precision, bool or complex.

    Example:
        >>> bins = LabelBins.integers(0, 3)
        >>> bins(torch.tensor([0.0, 1.2, 3.0, 7.0])).tolist()
        [0, 1, 3, 3]
    """

    edges: Tensor
    walls: Tensor

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
        self._prepare()

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
        values = _checked(labels)
        if values.dtype != self.dtype:
            values = values.to(self.dtype)
        if not self._many(values):
            return self._searched(values)
        if values.numel() <= _BATCH:
            index = self._computed(values.flatten(), torch.int64)
            return index if values.ndim == 1 else index.view(values.shape)
        index = torch.empty(values.shape, dtype=torch.int64, device=values.device)
        for found, part in self.pieces(values, index.view(-1)):
            part.copy_(found)
        return index

    def take(self, values: Tensor, labels: Tensor) -> Tensor:
        """The value of every label's bin: ``values[bins(labels)]``, for values ``[num_bins + 1]``.

        The last value is that of labels in no bin. Many labels on the CPU take one pass that stays in the cache.

        Example:
            >>> LabelBins.integers(0, 1).take(torch.tensor([5.0, 6.0, 0.0]), torch.tensor([1, 0, 1])).tolist()
            [6.0, 5.0, 6.0]
        """
        if not self._many(labels):
            return values.index_select(0, self(labels).flatten()).view(labels.shape)
        taken = torch.empty(labels.shape, dtype=values.dtype, device=values.device)
        for index, part in self.pieces(labels, taken.view(-1)):
            torch.index_select(values, 0, index, out=part)
        return taken

    def pieces(self, labels: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Index of the labels and the same samples of ``others``, flat, piece by piece.

        On the CPU a piece and what is made of it stay in the cache, and its index may be int32; other devices take
        everything as one piece.

        Example:
            >>> for index, other in LabelBins.integers(0, 1).pieces(torch.tensor([0, 1, 1]), torch.arange(3)):
            ...     print(index.tolist(), other.tolist())
            [0, 1, 1] [0, 1, 2]
        """
        values = _checked(labels).detach().flatten()
        size = _BLOCK if values.device.type == "cpu" else max(1, len(values))
        for part, *rest in zip(*(torch.split(flat.flatten(), size) for flat in (values, *others)), strict=True):
            yield self._computed(part.to(self.dtype)), *rest

    def _many(self, labels: Tensor) -> bool:
        """Whether arithmetic is faster than a search."""
        # The compiler first: it would make one graph for fewer labels and another for more.
        here = not torch.compiler.is_compiling() and labels.is_cpu and labels.numel() >= _FEW
        return here and self._even is not None

    def _searched(self, values: Tensor) -> Tensor:
        # In the type the edges were rounded to, also after .double() has widened them. What is in no bin lies before
        # the first wall or after the last, on whichever side a search puts NaN: -1 and num_bins are the same row.
        walls = self.walls
        if walls.dtype != self.dtype:
            walls = walls.to(self.dtype)
        return torch.bucketize(values.contiguous(), walls, right=True).sub_(1).remainder_(walls.shape[0])

    def _computed(self, values: Tensor, into: torch.dtype = torch.int32) -> Tensor:
        """The same for flat values, for evenly spaced edges on the CPU by arithmetic."""
        even = self._even
        if even is None or not self._many(values) or not math.isfinite(values.sum().item()):
            return self._searched(values)  # right for every value, also where the sum alone is too large
        index = even.bin_of(values, into)
        if self.out_of_range == "exclude":
            outside = (values < self.walls[0]).logical_or_(values >= self.walls[-1])
            index.masked_fill_(outside, self.num_bins)
        return index

    def _prepare(self) -> None:
        """What forward needs, from the edges: walls around each bin, and the arithmetic where they are even."""
        edges = self.edges.detach().to(self.dtype)
        top = torch.full_like(edges[-1:], math.inf)
        if self.out_of_range == "exclude":
            ends = edges[:1], torch.nextafter(edges[-1:], top)
        else:
            ends = torch.full_like(edges[:1], torch.finfo(self.dtype).min), top
        self.register_buffer("walls", torch.cat([ends[0], edges[1:-1], ends[1]]), persistent=False)
        self._even = None if edges.is_meta else EvenEdges.of(edges.cpu())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._prepare()

    def counts(self, labels: Tensor) -> Tensor:
        """Number of labels per bin, int64 ``[num_bins]``; excluded and non-finite labels are left out."""
        return self.tally(labels)[:-1]

    def tally(self, labels: Tensor) -> Tensor:
        """:meth:`counts`, and as one value more the number of labels that are in no bin, int64 ``[num_bins + 1]``."""
        counts = torch.zeros(self.num_bins + 1, dtype=torch.int64, device=labels.device)
        for (index,) in self.pieces(labels):
            if index.device.type == "cpu":
                counts += torch.bincount(index, minlength=len(counts))
            else:  # there bincount would wait for the device
                counts.index_add_(0, index, torch.ones_like(index))
        return counts

    def extra_repr(self) -> str:
        low, high = self.edges[0].item(), self.edges[-1].item()
        return f"num_bins={self.num_bins}, low={low:g}, high={high:g}, out_of_range={self.out_of_range!r}"


def _checked(labels: Tensor) -> Tensor:
    if labels.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(
            f"labels must not be in half precision (it moves samples between bins), got {labels.dtype}; "
            "keep labels in float32 and let autocast treat the features alone"
        )
    if labels.dtype == torch.bool or labels.is_complex():
        raise TypeError(f"labels must be floating or integer, got {labels.dtype}")
    return labels


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
