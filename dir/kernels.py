"""Smoothing windows over neighbouring bins, and the matrix that applies one."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Kernel = Literal["gaussian", "exact_gaussian", "triangular", "laplace"]


def kernel_window(
    kernel: Kernel,
    kernel_size: int = 5,
    sigma: float = 2.0,
    normalize: Literal["max", "sum"] = "max",
) -> Tensor:
    r"""Symmetric window k(d) for d = -h..h, h = (kernel_size - 1) / 2.

    * ``"gaussian"``: the window of the published code, ``scipy.ndimage.gaussian_filter1d`` of a unit impulse of
      length ``kernel_size`` with reflected tails. For small sizes it is nearly a box
      (size 5, sigma 2: .858 .946 1 .946 .858), which published settings rely on.
    * ``"exact_gaussian"``: :math:`\exp(-d^2 / 2\sigma^2)`.
    * ``"triangular"``: :math:`1 - |d| / (h + 1)`; sigma is not used.
    * ``"laplace"``: :math:`\exp(-|d| / \sigma)`.

    Args:
        kernel: one of the names above.
        kernel_size: odd number of bins, 1 or more; may exceed the number of bins.
        sigma: width in bins, > 0.
        normalize: LDS divides by the maximum, FDS by the sum.

    Shape:
        float64 ``[kernel_size]``.

    Raises:
        ValueError: an even size, a sigma that is not positive, an unknown name.

    Example:
        >>> [round(v, 3) for v in kernel_window("gaussian", 5, 2.0).tolist()]
        [0.858, 0.946, 1.0, 0.946, 0.858]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Eq. 1.
    """
    if kernel not in get_args(Kernel):
        raise ValueError(f"kernel must be one of {', '.join(get_args(Kernel))}, got {kernel!r}")
    if int(kernel_size) != kernel_size or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be an odd number >= 1 (an even window has no centre), got {kernel_size}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be finite and > 0, got {sigma}")
    if normalize not in ("max", "sum"):
        raise ValueError(f"normalize must be 'max' or 'sum', got {normalize!r}")
    half = int(kernel_size) // 2
    distance = torch.arange(-half, half + 1, dtype=torch.float64).abs()
    if kernel == "gaussian":
        window = _reflected_gaussian(half, sigma)
    elif kernel == "exact_gaussian":
        window = torch.exp(-(distance**2) / (2 * sigma**2))
    elif kernel == "triangular":
        window = 1 - distance / (half + 1)
    else:
        window = torch.exp(-distance / sigma)
    return window / (window.max() if normalize == "max" else window.sum())


def _reflected_gaussian(half: int, sigma: float) -> Tensor:
    # Here and not at the top: scipy.ndimage would be the dearest part of importing the package.
    from scipy.ndimage import gaussian_filter1d

    impulse = torch.zeros(2 * half + 1, dtype=torch.float64)
    impulse[half] = 1.0
    return torch.from_numpy(gaussian_filter1d(impulse.numpy(), sigma=sigma))


def smoothing_matrix(window: Tensor, num_bins: int) -> Tensor:
    """The banded matrix ``K[i, j] = window[j - i + h]``, zero outside the window.

    Shape:
        window ``[2h + 1]`` -> ``[num_bins, num_bins]``, same dtype and device. Rows are not normalised.

    Example:
        >>> smoothing_matrix(torch.tensor([1.0, 2.0, 1.0]), 3).tolist()
        [[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]]
    """
    half = window.shape[0] // 2
    bins = torch.arange(num_bins, device=window.device)
    offset = bins[None, :] - bins[:, None] + half
    inside = (offset >= 0) & (offset < window.shape[0])
    band = window.index_select(0, offset.clamp(0, window.shape[0] - 1).flatten()).view(num_bins, num_bins)
    return band * inside
