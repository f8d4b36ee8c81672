"""Smoothing windows over neighbouring bins, and the smoothing matrix of a window."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dir._checks import as_integer, check_choice, check_positive, message

Kernel = Literal["gaussian", "exact_gaussian", "triangular", "laplace"]


def kernel_window(
    kernel: Kernel,
    kernel_size: int = 5,
    sigma: float = 2.0,
    normalize: Literal["max", "sum"] = "max",
) -> Tensor:
    r"""Return the symmetric window k(d) for d = -h..h, h = (kernel_size - 1) / 2.

    * ``"gaussian"``: the window of the published code, ``scipy.ndimage.gaussian_filter1d`` of a unit impulse of
      length ``kernel_size`` with reflected tails. For small sizes this window is almost a box
      (size 5, sigma 2: .858 .946 1 .946 .858), and published settings depend on this shape.
    * ``"exact_gaussian"``: :math:`\exp(-d^2 / 2\sigma^2)`.
    * ``"triangular"``: :math:`1 - |d| / (h + 1)`; sigma is ignored.
    * ``"laplace"``: :math:`\exp(-|d| / \sigma)`.

    Args:
        kernel: one of the names above.
        kernel_size: odd number of bins, >= 1; may exceed the number of bins.
        sigma: width in bins, > 0.
        normalize: ``"max"`` divides by the maximum (LDS), ``"sum"`` by the sum (FDS).

    Returns:
        float64 ``[kernel_size]``, on the CPU.

    Raises:
        ValueError: an even size, a sigma that is not positive, or an unknown name.

    Example:
        >>> [round(v, 3) for v in kernel_window("gaussian", 5, 2.0).tolist()]
        [0.858, 0.946, 1.0, 0.946, 0.858]

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Eq. 1.
    """
    check_choice("kernel", kernel, get_args(Kernel))
    if as_integer("kernel_size", kernel_size) % 2 == 0:
        raise ValueError(
            message("kernel_size", "expected an odd number", kernel_size, "An even window has no centre.")
        )
    check_positive("sigma", sigma)
    check_choice("normalize", normalize, ("max", "sum"))
    half = int(kernel_size) // 2
    # On the CPU also where another device is the default: NumPy and SciPy compute the window.
    distance = torch.arange(-half, half + 1, dtype=torch.float64, device="cpu").abs()
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
    # Import here, because scipy.ndimage would take most of the time of importing the package.
    from scipy.ndimage import gaussian_filter1d

    impulse = np.zeros(2 * half + 1)
    impulse[half] = 1.0
    return torch.from_numpy(gaussian_filter1d(impulse, sigma=sigma))


def smoothing_matrix(window: Tensor, num_bins: int) -> Tensor:
    """Return the banded matrix ``K[i, j] = window[j - i + h]``, which is 0 outside the window.

    Args:
        window: ``[2h + 1]``.
        num_bins: number of rows and columns.

    Returns:
        ``[num_bins, num_bins]``, of the window's dtype and device. Rows are not normalised.

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
