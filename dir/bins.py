"""LabelBins, which assigns each continuous label to a bin. LDS, FDS and the shot metrics are built on these bins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dir._checks import as_integer, check_choice, message
from dir._even_edges import ONE_BLOCK, BinSearch
from dir._labels import Labels, as_mask, as_tensor, like_input, to_numpy64
from dir._labels import check_finite as check_finite
from dir._plain_state import PlainState

OutOfRange = Literal["clamp", "exclude"]


class LabelBins(PlainState):
    """Half-open bins over a continuous label; the last bin includes its top edge.

    ``bins(labels)[i] = b`` where ``edges[b] <= labels[i] < edges[b + 1]``. The edges are computed in float64 and
    rounded to ``dtype``, and labels are compared in that dtype. With float32 this reproduces the published STS-B bins
    exactly.

    Build bins with :meth:`uniform`, :meth:`integers`, :meth:`quantiles` or :meth:`from_edges`.

    Args:
        edges: strictly increasing bin edges, ``[num_bins + 1]``.
        out_of_range: ``"clamp"`` puts labels outside the edges into the nearest bin. ``"exclude"`` gives them the
            index ``num_bins``: FDS does not change their features, and LDS gives them the weight 1.
        dtype: float32, or float64 for labels beyond 2^24.

    Shape:
        - labels: any shape, float32, float64 or integers; as a tensor, NumPy array, pandas Series or list. Labels
          ``[N, K]`` of several targets are refused.
        - Output: int64 indices of the labels' shape and device, without a host synchronisation. A NumPy array unless
          the labels are a tensor. Labels that are not finite get the index ``num_bins``.

    State:
        edges: ``[num_bins + 1]``, written at construction and by ``load_state_dict``. A plain tensor and no buffer,
        so that averaging the weights of a model does not move the edges.

    Raises:
        ValueError: edges that are not finite or do not increase in ``dtype``; labels of several targets.
        TypeError: labels in half precision, bool, complex, or no numbers at all.

    Example:
        >>> bins = LabelBins.integers(0, 3)
        >>> bins(torch.tensor([0.0, 1.2, 3.0, 7.0])).tolist()
        [0, 1, 3, 3]
    """

    edges: Tensor
    plain_state = ("edges",)

    def __init__(
        self,
        edges: ArrayLike | Tensor,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_choice("out_of_range", out_of_range, get_args(OutOfRange))
        check_choice("dtype", dtype, (torch.float32, torch.float64))
        exact = np.array(to_numpy64(edges))  # a copy: the bins must not change with the caller's array
        if exact.ndim != 1 or exact.size < 2:
            raise ValueError(message("edges", "expected a vector of 2 or more values", list(exact.shape)))
        if not np.isfinite(exact).all():
            raise ValueError(message("edges", "expected finite values", exact[~np.isfinite(exact)][0].item()))
        kept = torch.from_numpy(exact).to(dtype)
        if not bool((kept[1:] > kept[:-1]).all()):
            bad = int((kept[1:] <= kept[:-1]).nonzero()[0])
            raise ValueError(
                message(
                    "edges",
                    f"expected values that increase strictly after rounding to {dtype}",
                    exact[bad : bad + 2].tolist(),
                    "Use fewer bins, or dtype=torch.float64 for large or finely spaced labels.",
                )
            )
        self.out_of_range = out_of_range
        self.dtype = dtype
        self._first_edges = kept.numpy()
        # The default device: models are built inside ``with torch.device("cuda")`` or on the meta device.
        # get_default_device() of torch 2.6 does not know the device of such a block.
        self.edges = kept.to(torch.empty(0).device, copy=True)
        self._search = BinSearch(exclude=out_of_range == "exclude")

    @classmethod
    def from_edges(
        cls,
        edges: ArrayLike | Tensor,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> LabelBins:
        """Return bins between the given edges."""
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
        """Return ``num_bins`` bins of equal width on [low, high]."""
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(message("low, high", "expected finite values with low < high", (low, high)))
        return cls(np.linspace(low, high, as_integer("num_bins", num_bins) + 1), out_of_range, dtype)

    @classmethod
    def integers(
        cls, low: int, high: int, out_of_range: OutOfRange = "clamp", dtype: torch.dtype = torch.float32
    ) -> LabelBins:
        """Return one bin per integer from ``low`` to ``high``, both included; bin k is [k - 0.5, k + 0.5)."""
        if int(low) != low or int(high) != high or low > high:
            raise ValueError(message("low, high", "expected integers with low <= high", (low, high)))
        return cls(np.arange(int(low), int(high) + 2, dtype=np.float64) - 0.5, out_of_range, dtype)

    @classmethod
    def quantiles(
        cls,
        labels: Labels,
        num_bins: int,
        out_of_range: OutOfRange = "clamp",
        dtype: torch.dtype = torch.float32,
    ) -> LabelBins:
        """Return bins with about equal numbers of ``labels``. Equal edges are merged.

        The result therefore has at most ``num_bins`` bins. Labels that are all equal give one bin of width 1 around
        their value.
        """
        num_bins = as_integer("num_bins", num_bins)
        values = to_numpy64(as_tensor(labels)).ravel()
        check_finite(values, "labels")
        rounded = values.astype(np.float32).astype(np.float64) if dtype == torch.float32 else values
        edges = np.quantile(rounded, np.linspace(0.0, 1.0, num_bins + 1))
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

    def forward(self, labels: Labels) -> Any:
        """Return the bin index of each label; see the class."""
        return like_input(self._search.index(self._tensor(labels).to(self.dtype), self._edges()), labels)

    def lookup(self, values: Tensor, labels: Tensor) -> Tensor:
        """Return the value of each label's bin, ``values[bins(labels)]``.

        Args:
            values: one value per bin, and a last value for labels in no bin, ``[num_bins + 1]``.
            labels: any shape.

        Returns:
            A tensor of the labels' shape and the dtype of ``values``.

        Example:
            >>> LabelBins.integers(0, 1).lookup(torch.tensor([5.0, 6.0, 0.0]), torch.tensor([1, 0, 1])).tolist()
            [6.0, 5.0, 6.0]
        """
        # Check is_compiling() first: branching on numel() would make one graph for few and one for many labels.
        if torch.compiler.is_compiling() or not labels.is_cpu or labels.numel() <= ONE_BLOCK:
            return values.index_select(0, self(labels).flatten()).view(labels.shape)
        found = torch.empty(labels.shape, dtype=values.dtype, device=values.device)
        for index, part in self.index_in_blocks(labels, found.view(-1)):
            torch.index_select(values, 0, index, out=part)
        return found

    def index_in_blocks(self, labels: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield the bin index of a block of labels, flat, together with the same samples of ``others``.

        On the CPU, a block and its temporaries fit into the processor's cache, and the index may be int32. On other
        devices all labels are one block.

        Example:
            >>> bins, labels = LabelBins.integers(0, 1), torch.tensor([0, 1, 1])
            >>> for index, other in bins.index_in_blocks(labels, torch.arange(3)):
            ...     print(index.tolist(), other.tolist())
            [0, 1, 1] [0, 1, 2]
        """
        return self._search.in_blocks(as_tensor(labels), self._edges(), *others)

    def counts(self, labels: Labels, mask: Any = None) -> Any:
        """Return the number of labels per bin, int64 ``[num_bins]``, without excluded and non-finite labels.

        Args:
            labels: any shape.
            mask: bool, of the labels' shape, True for labels that count. Default: all labels count.
        """
        return like_input(self.tally(self._tensor(labels), mask)[:-1], labels)

    def tally(self, labels: Tensor, mask: Any = None) -> Tensor:
        """Return :meth:`counts` followed by the number of labels in no bin, int64 ``[num_bins + 1]``."""
        counted = labels if mask is None else labels[as_mask(mask, labels)]
        counts = torch.zeros(self.num_bins + 1, dtype=torch.int64, device=labels.device)
        for (index,) in self.index_in_blocks(counted):
            if index.device.type == "cpu":
                counts += torch.bincount(index, minlength=len(counts))
            else:  # bincount would wait for the device
                counts.index_add_(0, index, torch.ones_like(index))
        return counts

    def _tensor(self, labels: Labels) -> Tensor:
        tensor = as_tensor(labels)
        return tensor if isinstance(labels, Tensor) else tensor.to(self.edges.device)

    def _edges(self) -> Tensor:
        # In the dtype that the edges were rounded to, also after .double() has widened them.
        return self.edges.to(self.dtype)

    def _initial_state(self, name: str) -> Tensor | float:
        return torch.from_numpy(self._first_edges)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        # A copy, because safetensors refuses a state_dict in which two keys share memory, and LDS and FDS often share
        # their bins.
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "edges"] = destination[prefix + "edges"].detach().clone()

    def extra_repr(self) -> str:
        if self.edges.is_meta:
            return f"num_bins={self.num_bins}, device=meta, out_of_range={self.out_of_range!r}"
        low, high = self.edges[0].item(), self.edges[-1].item()
        return f"num_bins={self.num_bins}, low={low:g}, high={high:g}, out_of_range={self.out_of_range!r}"
