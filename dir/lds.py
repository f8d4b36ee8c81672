"""Label distribution smoothing (LDS): from a label histogram to per-sample weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import WeightedRandomSampler

from dir._precision import KeepsPrecision
from dir.bins import LabelBins, check_finite
from dir.kernels import Kernel, kernel_window

Reweight = Literal["inverse", "sqrt_inverse"] | Callable[[Tensor], Tensor]
Padding = Literal["constant", "symmetric"]


def effective_density(values: Tensor, window: Tensor, padding: Padding = "constant") -> Tensor:
    r"""Smooth a per-bin value with a window: :math:`\tilde p_i = \sum_j k(i - j)\, p_j`.

    Args:
        values: one value per bin, ``[B]``.
        window: symmetric window ``[2h + 1]``, may be wider than ``B``.
        padding: what lies beyond the label range: ``"constant"`` zeros, ``"symmetric"`` the mirror image.

    Shape:
        float64 ``[B]``, on the CPU (this runs once, at fit).

    Example:
        >>> effective_density(torch.tensor([0.0, 4.0, 0.0]), torch.tensor([0.5, 1.0, 0.5])).tolist()
        [2.0, 4.0, 2.0]

    Reference:
        Yang et al. 2021, Eq. 1.
    """
    from scipy.ndimage import convolve1d

    mode: Literal["constant", "reflect"] = "constant" if padding == "constant" else "reflect"
    smoothed = convolve1d(values.detach().cpu().double().numpy(), window.cpu().double().numpy(), mode=mode)
    return torch.from_numpy(smoothed)


class LDS(KeepsPrecision):
    r"""Per-sample weights from the effective label density.

    In this order: clip the counts, take the reweighting's root, smooth over neighbouring bins, invert, scale to
    mean one over the fitted labels, cap:

    .. math:: w_i = \min\Big(c \Big/ \sum_j k(i - j)\, r(n_j),\; w_{\max}\Big),
        \qquad r(n) = n \text{ or } \sqrt n

    Args:
        bins: the label bins.
        kernel: ``"gaussian"`` (the published window), ``"exact_gaussian"``, ``"triangular"``, ``"laplace"``, or
            None for plain inverse-frequency weights without smoothing.
        kernel_size, sigma: see :func:`dir.kernels.kernel_window`. Published: 5 and 2.
        reweight: ``"inverse"``, ``"sqrt_inverse"``, or a callable that maps clipped counts ``[B]`` to what is
            smoothed and inverted.
        clip: (low, high) bounds of the counts, or None. Published for ages with ``"inverse"``: (5, 1000).
        padding: ``"constant"`` (published for ages and STS-B) or ``"symmetric"`` (published for depth).
        max_weight: cap, applied last (the mean may then fall below one), or None.

    Shape:
        labels of any shape -> weights of that shape, on that device; in the labels' dtype where they are
        floating, else in the default dtype. Labels excluded by the bins (or NaN) weigh 1. Bins without support
        take the weight of the nearest supported bin (the lower one of two equally near).

    State:
        counts ``[B]``, density ``[B]`` (effective), weights ``[B]``: float64, written by the fit methods.

    Raises:
        ValueError: labels to fit that are empty, not finite (with the rows) or all excluded; bad arguments.
        RuntimeError: called before it was fitted or loaded.

    Example:
        >>> lds = LDS(LabelBins.integers(0, 4), kernel=None).fit(torch.tensor([1.0, 1.0, 1.0, 3.0]))
        >>> lds(torch.tensor([1.0, 3.0])).tolist()
        [0.6666666865348816, 2.0]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.1. The published code
        truncates smoothed integer counts to integers; here everything is floating.
    """

    counts: Tensor
    density: Tensor
    weights: Tensor
    window: Tensor | None

    def __init__(
        self,
        bins: LabelBins,
        kernel: Kernel | None = "gaussian",
        kernel_size: int = 5,
        sigma: float = 2.0,
        reweight: Reweight = "inverse",
        clip: tuple[float, float] | None = None,
        padding: Padding = "constant",
        max_weight: float | None = None,
    ) -> None:
        super().__init__()
        if not callable(reweight) and reweight not in ("inverse", "sqrt_inverse"):
            raise ValueError(f"reweight must be 'inverse', 'sqrt_inverse' or a callable, got {reweight!r}")
        if padding not in ("constant", "symmetric"):
            raise ValueError(f"padding must be 'constant' or 'symmetric', got {padding!r}")
        if clip is not None and not (len(clip) == 2 and 0 <= clip[0] <= clip[1] and clip[1] > 0):
            raise ValueError(f"clip must be (low, high) with 0 <= low <= high and high > 0, got {clip!r}")
        if max_weight is not None and not max_weight > 0:
            raise ValueError(f"max_weight must be > 0, got {max_weight}")
        self.bins = bins
        self.kernel = kernel
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.reweight = reweight
        self.clip = None if clip is None else (float(clip[0]), float(clip[1]))
        self.padding: Padding = padding
        self.max_weight = max_weight
        window = None if kernel is None else kernel_window(kernel, kernel_size, sigma, normalize="max")
        self.register_buffer("window", window, persistent=False)
        for name in ("counts", "density", "weights"):
            self.register_buffer(name, torch.zeros(bins.num_bins, dtype=torch.float64))
        # A Python flag, because asking the buffers would synchronise in every step.
        self._fitted = False

    def fit(self, labels: Tensor | np.ndarray) -> LDS:
        """Fit to all training labels at once; returns itself."""
        return self._fit(self._count(labels))

    def partial_fit(self, labels: Tensor | np.ndarray) -> LDS:
        """Add a chunk of training labels to those already fitted; returns itself."""
        return self._fit(self.counts + self._count(labels))

    def fit_counts(self, counts: Tensor | np.ndarray) -> LDS:
        """Fit to a histogram, one count per bin; returns itself."""
        given = torch.as_tensor(counts).detach()
        if given.shape != self.counts.shape:
            raise ValueError(
                f"counts must have one value per bin, shape {tuple(self.counts.shape)}, "
                f"got shape {tuple(given.shape)}"
            )
        check_finite(given, "counts")
        if bool((given < 0).any()):
            raise ValueError("counts must not be negative")
        return self._fit(given.to(self.counts))

    def forward(self, labels: Tensor) -> Tensor:
        """Weight of every label; see the class."""
        if not self._fitted:
            raise RuntimeError("this LDS has not seen any labels: call fit(training_labels) before using it")
        dtype = labels.dtype if labels.is_floating_point() else torch.get_default_dtype()
        weights = torch.cat([self.weights, self.weights.new_ones(1)])  # labels in no bin weigh 1
        return self.bins.take(weights.to(dtype), labels)

    def sampler(self, labels: Tensor | np.ndarray, generator: Generator | None = None) -> WeightedRandomSampler:
        """A sampler that draws training samples in proportion to their weight, with replacement."""
        weights = self(torch.as_tensor(labels)).flatten().double().cpu()
        return WeightedRandomSampler(weights.tolist(), num_samples=len(weights), generator=generator)

    def _count(self, labels: Tensor | np.ndarray) -> Tensor:
        given = torch.as_tensor(labels)
        tally = self.bins.tally(given.to(self.bins.edges.device))
        if not given.numel() or tally[-1] > 0:  # the only ones that can be empty or not finite
            check_finite(given, "labels")
        return tally[:-1].to(self.counts)

    def _fit(self, counts: Tensor) -> LDS:
        if not bool(counts.sum() > 0):
            raise ValueError(
                "labels must put at least one sample into the bins, got none "
                f"(the bins span {self.bins.edges[0].item():g} to {self.bins.edges[-1].item():g})"
            )
        density, weights = self._density_and_weights(counts.detach().cpu())
        self.counts.copy_(counts)
        self.density.copy_(density)
        self.weights.copy_(weights)
        self._fitted = True
        return self

    def _density_and_weights(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        values = counts if self.clip is None else counts.clamp(*self.clip)
        if callable(self.reweight):
            values = self.reweight(values).double()
            if values.shape != counts.shape or not bool((torch.isfinite(values) & (values >= 0)).all()):
                raise ValueError("reweight must return one finite value >= 0 per bin")
        elif self.reweight == "sqrt_inverse":
            values = values.sqrt()
        density = values if self.window is None else effective_density(values, self.window, self.padding)
        supported = density > 0
        weights = 1.0 / density
        if not bool(supported.all()):
            if not bool(supported[counts > 0].all()):
                raise ValueError("reweight must be > 0 wherever there are labels")
            weights = weights[_nearest(supported)]
        weights = weights * (counts.sum() / (counts * weights).sum())
        return density, weights if self.max_weight is None else weights.clamp(max=self.max_weight)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._fitted = bool(self.counts.sum() > 0)

    def extra_repr(self) -> str:
        return (
            f"kernel={self.kernel!r}, kernel_size={self.kernel_size}, sigma={self.sigma}, "
            f"reweight={self.reweight!r}, clip={self.clip}, padding={self.padding!r}, "
            f"max_weight={self.max_weight}, fitted={self._fitted}"
        )


def _nearest(supported: Tensor) -> Tensor:
    """For every bin the index of the nearest supported bin (itself, where it is one)."""
    candidates = torch.nonzero(supported).flatten()
    position = torch.arange(len(supported), device=supported.device)
    right = torch.searchsorted(candidates, position).clamp(max=len(candidates) - 1)
    left = (right - 1).clamp(min=0)
    nearer_left = (position - candidates[left]).abs() <= (candidates[right] - position).abs()
    return torch.where(nearer_left, candidates[left], candidates[right])
