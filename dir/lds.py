"""LDS, label distribution smoothing: sample weights from the smoothed histogram of the training labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dir._checks import check_choice, check_positive, message
from dir._labels import USE_MASK, Labels, as_mask, as_tensor, check_finite, like_input
from dir.bins import LabelBins
from dir.kernels import Kernel, kernel_window
from dir.reweighter import Reweighter, masked_weights

Reweight = Literal["inverse", "sqrt_inverse"] | Callable[[Tensor], Tensor]
Padding = Literal["constant", "symmetric"]


def effective_density(values: Tensor, window: Tensor, padding: Padding = "constant") -> Tensor:
    r"""Smooth one value per bin with a window: :math:`\tilde p_i = \sum_j k(i - j)\, p_j`.

    Args:
        values: one value per bin, ``[B]``.
        window: symmetric window ``[2h + 1]``, which may be wider than ``B``.
        padding: values beyond the label range: zeros for ``"constant"``, the mirror image for ``"symmetric"``.

    Returns:
        float64 ``[B]`` on the CPU, because LDS smooths only once, in ``fit``.

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


class LDS(Reweighter):
    r"""Sample weights from the effective label density.

    ``fit`` clips the counts, applies ``reweight``, smooths over neighbouring bins, inverts, scales the weights to
    mean one over the fitted labels, and applies ``max_weight``, in this order:

    .. math:: w_i = \min\Big(c \Big/ \sum_j k(i - j)\, r(n_j),\; w_{\max}\Big),
        \qquad r(n) = n \text{ or } \sqrt n

    Args:
        bins: the label bins.
        kernel: ``"gaussian"`` (the published window), ``"exact_gaussian"``, ``"triangular"``, ``"laplace"``, or
            None for plain inverse-frequency weights without smoothing.
        kernel_size, sigma: see :func:`dir.kernels.kernel_window`. Published: 5 and 2.
        reweight: ``"inverse"``, ``"sqrt_inverse"``, or a callable that maps clipped counts ``[B]`` to the values
            ``[B]`` that are smoothed and inverted.
        clip: (low, high) bounds of the counts, or None. Published for ages with ``"inverse"``: (5, 1000).
        padding: ``"constant"`` (published for ages and STS-B) or ``"symmetric"`` (published for depth).
        max_weight: upper bound of the weights, or None. It is applied last, so that the mean may fall below one.

    Shape:
        - labels: any shape, as a tensor, NumPy array, pandas Series or list. Several targets ``[N, K]`` are refused.
        - mask: bool, of the labels' shape, True for labels that count. Default: all labels count.
        - Output: weights of the labels' shape and device, a NumPy array unless the labels are a tensor. They have the
          dtype of floating labels, otherwise the default dtype. Labels that the bins exclude and labels that are not
          finite get the weight 1; labels where the mask is False get 0. Bins without density use the weight of the
          nearest bin with density (the lower of two equally near bins).

    State:
        counts ``[B]``, density ``[B]`` (effective), weights ``[B]``: float64, written by the fit methods.

    Raises:
        ValueError: wrong arguments; in ``fit``, labels that are empty, not finite (with the rows) or all excluded.
        RuntimeError: a call before the weights were fitted or loaded.

    Example:
        >>> lds = LDS(LabelBins.integers(0, 4), kernel=None).fit(torch.tensor([1.0, 1.0, 1.0, 3.0]))
        >>> lds(torch.tensor([1.0, 3.0])).tolist()
        [0.6666666865348816, 2.0]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.1. The published code rounds smoothed
        counts down to integers; this class computes in floating point.
    """

    counts: Tensor
    density: Tensor
    weights: Tensor

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
        if not callable(reweight):
            check_choice("reweight", reweight, ("inverse", "sqrt_inverse"), "A callable on the counts works, too.")
        check_choice("padding", padding, get_args(Padding))
        if clip is not None and not (len(clip) == 2 and 0 <= clip[0] <= clip[1] and clip[1] > 0):
            raise ValueError(message("clip", "expected (low, high) with 0 <= low <= high and high > 0", clip))
        if max_weight is not None:
            check_positive("max_weight", max_weight)
        if kernel is not None:
            kernel_window(kernel, kernel_size, sigma)  # checks the three arguments
        self.bins = bins
        self.kernel = kernel
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.reweight = reweight
        self.clip = None if clip is None else (float(clip[0]), float(clip[1]))
        self.padding: Padding = padding
        self.max_weight = max_weight
        for name in ("counts", "density", "weights"):
            self.register_buffer(name, torch.zeros(bins.num_bins, dtype=torch.float64))

    def fit(self, labels: Labels, mask: Any = None) -> LDS:
        """Fit to all training labels and return the module; see the class for the arguments."""
        return self._fit(self._count(labels, mask))

    def partial_fit(self, labels: Labels, mask: Any = None) -> LDS:
        """Add a chunk of training labels to the labels fitted so far, and return the module."""
        return self._fit(self.counts + self._count(labels, mask))

    def fit_counts(self, counts: Tensor | ArrayLike) -> LDS:
        """Fit to a histogram with one count per bin, and return the module."""
        given = torch.as_tensor(counts).detach()
        if given.shape != self.counts.shape:
            raise ValueError(
                message("counts", f"expected one value per bin, shape {list(self.counts.shape)}", list(given.shape))
            )
        check_finite(given, "counts")
        if bool((given < 0).any()):
            raise ValueError(message("counts", "expected values >= 0", given[given < 0][0].item()))
        return self._fit(given.to(self.counts))

    def forward(self, labels: Labels, mask: Any = None) -> Any:
        """Return the weight of each label; see the class."""
        self._check_fitted()
        given = as_tensor(labels)
        dtype = given.dtype if given.is_floating_point() else torch.get_default_dtype()
        if not isinstance(labels, Tensor):
            given = given.to(self.bins.edges.device)
        weights = torch.cat([self.weights, self.weights.new_ones(1)])  # labels in no bin get the weight 1
        return like_input(masked_weights(self.bins.lookup(weights.to(dtype), given), mask), labels)

    def _count(self, labels: Labels, mask: Any) -> Tensor:
        given = as_tensor(labels).to(self.bins.edges.device)
        counted = given if mask is None else given[as_mask(mask, given)]
        tally = self.bins.tally(counted)
        if not counted.numel() or tally[-1] > 0:  # only then can labels be empty or not finite
            check_finite(counted, "labels", USE_MASK)
        return tally[:-1].to(self.counts)

    def _fit(self, counts: Tensor) -> LDS:
        if not bool(counts.sum() > 0):
            low, high = self.bins.edges[0].item(), self.bins.edges[-1].item()
            raise ValueError(f"labels: expected at least one label in the bins ({low:g} to {high:g}), got none.")
        density, weights = self._density_and_weights(counts.detach().cpu())
        self.counts.copy_(counts)
        self.density.copy_(density)
        self.weights.copy_(weights)
        self._known_fitted = True
        return self

    def _density_and_weights(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        values = counts if self.clip is None else counts.clamp(*self.clip)
        if callable(self.reweight):
            values = self.reweight(values).double()
            if values.shape != counts.shape or not bool((torch.isfinite(values) & (values >= 0)).all()):
                raise ValueError(message("reweight", "expected one finite value >= 0 per bin", values.tolist()))
        elif self.reweight == "sqrt_inverse":
            values = values.sqrt()
        density = values
        if self.kernel is not None:
            window = kernel_window(self.kernel, self.kernel_size, self.sigma, normalize="max")
            density = effective_density(values, window, self.padding)
        supported = density > 0
        weights = 1.0 / density
        if not bool(supported.all()):
            if not bool(supported[counts > 0].all()):
                raise ValueError("reweight: expected values > 0 in all bins with labels, got a density of 0.")
            weights = weights[_nearest(supported)]
        weights = weights * (counts.sum() / (counts * weights).sum())
        return density, weights if self.max_weight is None else weights.clamp(max=self.max_weight)

    def extra_repr(self) -> str:
        return (
            f"kernel={self.kernel!r}, kernel_size={self.kernel_size}, sigma={self.sigma}, "
            f"reweight={self.reweight!r}, clip={self.clip}, padding={self.padding!r}, "
            f"max_weight={self.max_weight}, fitted={self.fitted}"
        )


def _nearest(supported: Tensor) -> Tensor:
    """Return the index of the nearest supported bin for every bin; a supported bin is its own nearest."""
    candidates = torch.nonzero(supported).flatten()
    position = torch.arange(len(supported), device=supported.device)
    right = torch.searchsorted(candidates, position).clamp(max=len(candidates) - 1)
    left = (right - 1).clamp(min=0)
    nearer_left = (position - candidates[left]).abs() <= (candidates[right] - position).abs()
    return torch.where(nearer_left, candidates[left], candidates[right])
