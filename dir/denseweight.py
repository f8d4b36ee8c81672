"""DenseWeight: sample weights from a kernel estimate of the label density, used in place of LDS."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from dir._checks import check_interval, check_not_negative, check_positive
from dir._labels import USE_MASK, Labels, as_mask, as_tensor, check_finite, like_input
from dir.bins import LabelBins
from dir.reweighter import Reweighter, masked_weights

Bandwidth = Literal["silverman"] | float
_POINTS = 4096


def silverman_bandwidth(labels: np.ndarray) -> float:
    r"""Return the bandwidth of Silverman's rule, :math:`h = 1.06 \, \hat\sigma \, n^{-1/5}`; 1 for equal labels.

    Example:
        >>> round(silverman_bandwidth(np.array([0.0, 2.0])), 4)
        0.9228

    Reference:
        Silverman, Density Estimation for Statistics and Data Analysis, 1986, Eq. 3.28.
    """
    return float(1.06 * labels.std() * len(labels) ** -0.2) or 1.0


def kernel_reach(bandwidth: float) -> float:
    """Return the distance at which a Gaussian kernel is cut off, and by which the grid extends beyond the labels.

    The published rule depends on the unit of the labels: it cuts where the density of the kernel is 1e-4, found with
    a tolerance of 1e-3, plus 1e-3. The rule applies to bandwidths from 0.01 to 100. Outside this range it would cut
    into the kernel or leave most of the grid empty, and the result is 4 bandwidths.

    Example:
        >>> round(kernel_reach(1.0), 2), kernel_reach(1e4)
        (4.07, 40000.0)
    """
    if not 0.01 <= bandwidth <= 100:
        return 4 * bandwidth
    peak = 1 / (bandwidth * math.sqrt(2 * math.pi))
    root = brentq(
        lambda x: peak * math.exp(-0.5 * (x / bandwidth) ** 2) - 1e-4,
        a=0,
        b=8 * bandwidth,
        xtol=1e-3,
        full_output=False,
    )
    return float(root) + 1e-3


def density_on_grid(labels: np.ndarray, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return a Gaussian kernel estimate of the label density on 4096 points, scaled to [0, 1].

    .. math:: p(x) = \frac{1}{n h} \sum_i \phi\!\left(\frac{x - y_i}{h}\right), \qquad
        p' = \frac{p - \min p}{\max p - \min p}

    Each label is divided between the two nearest points (linear binning), and an FFT applies the kernel:
    O(n + 4096 log 4096).

    Args:
        labels: all training labels, float64.
        bandwidth: h, > 0, in the unit of the labels.

    Returns:
        Points and p', float64 ``[4096]`` each. The grid extends beyond the labels by 5 % of their range, or by
        :func:`kernel_reach` if that is more.

    Example:
        >>> points, density = density_on_grid(np.array([0.0, 0.0, 4.0]), bandwidth=0.5)
        >>> float(np.round(np.interp(4.0, points, density), 2))
        0.5

    Reference:
        Steininger et al., Density-based weighting for imbalanced regression, Machine Learning 2021, Sec. 3.
    """
    from scipy.signal import fftconvolve

    low, high = float(labels.min()), float(labels.max())
    reach = kernel_reach(bandwidth)
    margin = max(0.05 * (high - low), reach)
    points = np.linspace(low - margin, high + margin, _POINTS)
    width = (points[-1] - points[0]) / (_POINTS - 1)
    position = (labels - points[0]) / width
    left = np.floor(position).astype(np.int64).clip(0, _POINTS - 2)
    share = position - left
    mass = np.bincount(left, 1 - share, _POINTS) + np.bincount(left + 1, share, _POINTS)
    half = min(int(reach / width), _POINTS)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * width / bandwidth) ** 2)
    density = fftconvolve(mass, kernel, mode="full")[half : half + _POINTS]
    density = density - density.min()
    return points, density / density.max()


class DenseWeight(Reweighter):
    r"""Sample weights that decrease linearly with the density of the labels.

    .. math:: w_i = \frac{1}{c} \max(1 - \alpha p'(y_i), \epsilon)

    with p' the density scaled to [0, 1], and c such that the weights of the fitted labels have mean one. The weights
    are bounded: LDS divides by the density, whereas the weight of the rarest label here is 1 / c.

    Args:
        bins: label bins, or None. Labels that the bins exclude get the weight 1 and are not fitted. None: all labels
            are fitted.
        alpha: strength, >= 0. With 0 all weights are 1, with 1 the weight of the densest label vanishes, and with
            more the weights of a range of dense labels vanish.
        bandwidth: bandwidth of the kernel, > 0, in the unit of the labels; or ``"silverman"``.
        eps: smallest weight before scaling, in (0, 1]. No sample is ignored completely.

    Shape:
        - labels: any shape, as a tensor, NumPy array, pandas Series or list. Several targets ``[N, K]`` are refused.
        - mask: bool, of the labels' shape, True for labels that count. Default: all labels count.
        - Output: weights of the labels' shape and device, a NumPy array unless the labels are a tensor. They have the
          dtype of floating labels, otherwise the default dtype. Labels that are not finite get the weight 1, labels
          beyond the grid the weight of its end, and labels where the mask is False the weight 0.

    State:
        grid, density, weights: float64 ``[4096]``, the points, p' and w, written by ``fit``. A label uses the values
        of the point to its left, as in the published code.

    Raises:
        ValueError: wrong arguments; in ``fit``, labels that are empty, not finite (with the rows) or all excluded.
        TypeError: labels in half precision.
        RuntimeError: a call before the weights were fitted or loaded.

    Example:
        >>> dense = DenseWeight(bandwidth=0.5).fit(torch.tensor([0.0, 0.0, 0.0, 4.0]))
        >>> [round(w, 3) for w in dense(torch.tensor([0.0, 4.0])).tolist()]
        [0.0, 4.0]

    Reference:
        Steininger et al., Density-based weighting for imbalanced regression, Machine Learning 2021, Sec. 3.
    """

    grid: Tensor
    density: Tensor
    weights: Tensor

    def __init__(
        self,
        bins: LabelBins | None = None,
        alpha: float = 1.0,
        bandwidth: Bandwidth = "silverman",
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        check_not_negative("alpha", alpha)
        if bandwidth != "silverman":
            check_positive("bandwidth", bandwidth, "Or choose 'silverman'.")
        check_interval("eps", eps, "(0, 1]")
        self.bins = bins
        self.alpha = float(alpha)
        self.bandwidth = bandwidth
        self.eps = float(eps)
        for name in ("grid", "density", "weights"):
            self.register_buffer(name, torch.zeros(_POINTS, dtype=torch.float64))

    def fit(self, labels: Labels, mask: Any = None) -> DenseWeight:
        """Fit to all training labels and return the module; see the class for the arguments."""
        given = as_tensor(labels).detach().to(self.grid.device)
        given = given.flatten() if mask is None else given[as_mask(mask, given)]
        check_finite(given, "labels", USE_MASK)
        kept = given[self._inside(given)].cpu().double()
        if len(kept) == 0:
            raise ValueError("labels: expected at least one label in the bins, got none.")
        values = kept.numpy()
        bandwidth = silverman_bandwidth(values) if self.bandwidth == "silverman" else float(self.bandwidth)
        grid, density = (torch.from_numpy(array) for array in density_on_grid(values, bandwidth))
        raw = (1 - self.alpha * density).clamp(min=self.eps)
        self.grid.copy_(grid)
        self.density.copy_(density)
        self.weights.copy_(raw / raw[_point_left_of(kept, grid)].mean())
        self._known_fitted = True
        return self

    def forward(self, labels: Labels, mask: Any = None) -> Any:
        """Return the weight of each label; see the class."""
        self._check_fitted()
        given = as_tensor(labels)
        dtype = given.dtype if given.is_floating_point() else torch.get_default_dtype()
        if not isinstance(labels, Tensor):
            given = given.to(self.grid.device)
        weights = self.weights[_point_left_of(given.to(self.grid.dtype), self.grid)]
        weights = torch.where(self._inside(given), weights, 1.0).to(dtype)
        return like_input(masked_weights(weights, mask), labels)

    def _inside(self, labels: Tensor) -> Tensor:
        if self.bins is None:
            return torch.isfinite(labels)
        index: Tensor = self.bins(labels)
        return index < self.bins.num_bins

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, bandwidth={self.bandwidth!r}, eps={self.eps}, fitted={self.fitted}"


def _point_left_of(labels: Tensor, grid: Tensor) -> Tensor:
    """Return the index of the last grid point that is not above each label, clamped to the grid."""
    after = torch.searchsorted(grid, labels.contiguous(), right=True)
    return (after - 1).clamp(0, len(grid) - 1)


class DenseLoss(nn.Module):
    """Criterion that weights its samples by DenseWeight, for training loops without a place for a reweighter.

    In the recipes, DenseWeight is used in place of LDS, with the same result.

    Args:
        base: criterion called with ``weight=``, such as ``dir.losses.WeightedMSE()`` (the published choice).
        dense: the reweighter, for targets in the unit of the criterion.

    Shape:
        - pred, target: ``[N]``.
        - weight: ``[N]`` or None; multiplied with the weights of DenseWeight.
        - Output: the output of ``base``.

    State:
        The state of ``dense``.

    Example:
        >>> from dir.losses import WeightedMSE
        >>> loss = DenseLoss(WeightedMSE(), DenseWeight(bandwidth=0.5)).fit(torch.tensor([0.0, 0.0, 0.0, 4.0]))
        >>> loss(torch.tensor([1.0]), torch.tensor([0.0])) < loss(torch.tensor([5.0]), torch.tensor([4.0]))
        tensor(True)

    Reference:
        Steininger et al. 2021, Sec. 3, with a squared error.
    """

    # Other weights by rarity would correct the imbalance twice.
    corrects_imbalance = True

    def __init__(self, base: nn.Module, dense: DenseWeight) -> None:
        super().__init__()
        self.base = base
        self.dense = dense

    def fit(self, targets: Tensor, bins: LabelBins | None = None) -> DenseLoss:
        """Fit the weights to all training targets; the bins are ignored."""
        self.dense.fit(targets)
        return self

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted loss of ``pred`` against ``target``."""
        dense = self.dense(target)
        loss: Tensor = self.base(pred, target, weight=dense if weight is None else weight * dense)
        return loss
