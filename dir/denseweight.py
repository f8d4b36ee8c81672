"""DenseWeight: from a kernel estimate of the label density to per-sample weights; stands where LDS stands."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Generator, Tensor, nn
from torch.utils.data import WeightedRandomSampler

from dir._precision import KeepsPrecision
from dir.bins import LabelBins, check_finite

Bandwidth = Literal["silverman"] | float
_POINTS = 4096


def silverman_bandwidth(labels: np.ndarray) -> float:
    r"""Silverman's rule :math:`h = 1.06 \, \hat\sigma \, n^{-1/5}`; 1 for labels that are all equal.

    Example:
        >>> round(silverman_bandwidth(np.array([0.0, 2.0])), 4)
        0.9228

    Reference:
        Silverman, Density Estimation for Statistics and Data Analysis, 1986, Eq. 3.28.
    """
    return float(1.06 * labels.std() * len(labels) ** -0.2) or 1.0


def kernel_reach(bandwidth: float) -> float:
    """How far a Gaussian kernel is followed, and how far the grid goes beyond the labels at least.

    The rule of the published weights has units: to where the kernel's density is 1e-4, found to 1e-3, plus 1e-3. It
    is kept for bandwidths from 0.01 to 100, and 4 bandwidths are taken beyond, where it would cut into the kernel or
    leave the grid mostly empty.

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
    r"""Gaussian kernel estimate of the labels' density on 4096 points, scaled to [0, 1].

    .. math:: p(x) = \frac{1}{n h} \sum_i \phi\!\left(\frac{x - y_i}{h}\right), \qquad
        p' = \frac{p - \min p}{\max p - \min p}

    Labels are shared between the two nearest points (linear binning) and convolved by FFT: O(n + 4096 log 4096).

    Args:
        labels: all training labels, float64.
        bandwidth: h, above 0, in the labels' unit.

    Shape:
        ``[n]`` -> points and p', float64 ``[4096]`` each. The grid goes beyond the labels by 5 % of their range, or
        by :func:`kernel_reach` if that is more.

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


class DenseWeight(KeepsPrecision):
    r"""Per-sample weights that fall linearly with the density of the labels.

    .. math:: w_i = \frac{1}{c} \max(1 - \alpha p'(y_i), \epsilon)

    with p' the density scaled to [0, 1], and c such that the weights of the fitted labels have mean one. A bounded
    counterpart of LDS: where LDS divides by the density, the weight of the rarest label here is 1 / c.

    Args:
        bins: label bins, or None. They only say which labels are out: those that they exclude weigh 1 and are not
            fitted. None: all labels are in.
        alpha: strength, 0 or more: 0 gives all weights 1, 1 lets the densest label's weight vanish, more lets
            those of a range of dense labels vanish.
        bandwidth: of the kernel, above 0, in the labels' unit; or ``"silverman"``.
        eps: least weight before scaling, above 0: no sample is ignored altogether.

    Shape:
        labels of any shape -> weights of that shape, on that device; in the labels' dtype where they are floating,
        else in the default dtype. Labels that are not finite weigh 1, labels beyond the grid weigh what its ends do.

    State:
        grid, density, weights: float64 ``[4096]``, the points, p' and w at them, written by ``fit``. A label takes
        the values of the point to its left, as published.

    Raises:
        ValueError: labels to fit that are empty, not finite (with the rows) or all excluded; bad arguments.
        TypeError: labels in half precision.
        RuntimeError: called before it was fitted or loaded.

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
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha must be finite and 0 or more, got {alpha}")
        if bandwidth != "silverman" and (isinstance(bandwidth, str) or not 0 < bandwidth < math.inf):
            raise ValueError(f"bandwidth must be 'silverman' or a finite number above 0, got {bandwidth!r}")
        if not 0 < eps <= 1:
            raise ValueError(f"eps must be above 0 and at most 1, got {eps}")
        self.bins = bins
        self.alpha = float(alpha)
        self.bandwidth = bandwidth
        self.eps = float(eps)
        for name in ("grid", "density", "weights"):
            self.register_buffer(name, torch.zeros(_POINTS, dtype=torch.float64))
        # A Python flag, because asking the buffers would synchronise in every step.
        self._fitted = False

    def fit(self, labels: Tensor | np.ndarray) -> DenseWeight:
        """Fit to all training labels at once; returns itself."""
        given = torch.as_tensor(labels).detach().flatten().to(self.grid.device)
        check_finite(given, "labels")
        kept = given[self._inside(given)].cpu().double()
        if len(kept) == 0:
            raise ValueError("labels must put at least one sample into the bins, got none")
        values = kept.numpy()
        bandwidth = silverman_bandwidth(values) if self.bandwidth == "silverman" else float(self.bandwidth)
        grid, density = (torch.from_numpy(array) for array in density_on_grid(values, bandwidth))
        raw = (1 - self.alpha * density).clamp(min=self.eps)
        self.grid.copy_(grid)
        self.density.copy_(density)
        self.weights.copy_(raw / raw[_point_left_of(kept, grid)].mean())
        self._fitted = True
        return self

    def forward(self, labels: Tensor) -> Tensor:
        """Weight of every label; see the class."""
        if not self._fitted:
            raise RuntimeError("this DenseWeight has not seen any labels: call fit(training_labels) before using it")
        inside = self._inside(labels)
        weights = self.weights[_point_left_of(labels.to(self.grid.dtype), self.grid)]
        dtype = labels.dtype if labels.is_floating_point() else torch.get_default_dtype()
        return torch.where(inside, weights, 1.0).to(dtype)

    def sampler(self, labels: Tensor | np.ndarray, generator: Generator | None = None) -> WeightedRandomSampler:
        """A sampler that draws training samples in proportion to their weight, with replacement."""
        weights = self(torch.as_tensor(labels)).flatten().double().cpu()
        return WeightedRandomSampler(weights.tolist(), num_samples=len(weights), generator=generator)

    def _inside(self, labels: Tensor) -> Tensor:
        if labels.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(f"labels must not be in half precision (it moves labels), got {labels.dtype}")
        if self.bins is None:
            return torch.isfinite(labels)
        index: Tensor = self.bins(labels)
        return index < self.bins.num_bins

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._fitted = bool(self.weights.sum() > 0)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, bandwidth={self.bandwidth!r}, eps={self.eps}, fitted={self._fitted}"


def _point_left_of(labels: Tensor, grid: Tensor) -> Tensor:
    """Index of the last grid point that is not above each label; of the ends for labels beyond them."""
    after = torch.searchsorted(grid, labels.contiguous(), right=True)
    return (after - 1).clamp(0, len(grid) - 1)


class DenseLoss(nn.Module):
    """A criterion whose samples DenseWeight weighs: for a criterion's place where there is none for a reweighter.

    In the recipes DenseWeight stands where LDS stands, which comes to the same.

    Args:
        base: criterion called with ``weight=`` (such as ``dir.losses.WeightedMSE()``, the published choice).
        dense: the reweighter, of targets in the criterion's unit.

    Shape:
        pred, target ``[N]``, weight ``[N]`` or None -> what ``base`` gives. A weight multiplies that of DenseWeight.

    State:
        that of ``dense``.

    Example:
        >>> from dir.losses import WeightedMSE
        >>> loss = DenseLoss(WeightedMSE(), DenseWeight(bandwidth=0.5)).fit(torch.tensor([0.0, 0.0, 0.0, 4.0]))
        >>> loss(torch.tensor([1.0]), torch.tensor([0.0])) < loss(torch.tensor([5.0]), torch.tensor([4.0]))
        tensor(True)

    Reference:
        Steininger et al. 2021, Sec. 3, there on a squared error.
    """

    # Weights from elsewhere would correct it once more.
    corrects_imbalance = True

    def __init__(self, base: nn.Module, dense: DenseWeight) -> None:
        super().__init__()
        self.base = base
        self.dense = dense

    def fit(self, targets: Tensor, bins: LabelBins | None = None) -> DenseLoss:
        """Fit the weights to all training targets; the bins play no part."""
        self.dense.fit(targets)
        return self

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The weighted loss of ``pred`` against ``target``."""
        dense = self.dense(target)
        loss: Tensor = self.base(pred, target, weight=dense if weight is None else weight * dense)
        return loss
