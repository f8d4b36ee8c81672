"""Dist loss: distance of the sorted predictions of a batch to the sorted labels expected from the training set."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from dir._checks import check_choice, check_not_negative, check_positive
from dir._precision import KeepsPrecision
from dir.bins import LabelBins, check_finite
from dir.losses.base import labelled_rows
from dir.losses.l1 import weighted_l1
from dir.losses.mse import weighted_mse

Base = Literal["l1", "mse"]
_CELLS = 2048


def label_cdf(labels: np.ndarray, bandwidth: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the cumulative distribution of a Gaussian kernel estimate of the label density.

    .. math:: F(y) = \frac{1}{n} \sum_i \Phi\!\left(\frac{y - y_i}{h}\right)

    Args:
        labels: all training labels.
        bandwidth: h, above 0, in the labels' unit. None: Silverman's rule,
            ``0.9 * min(deviation, interquartile range / 1.34) * n**-0.2``.

    Shape:
        labels ``[n]`` -> grid and F, ``[2048]`` each; the grid spans the labels, and F is 0 at the lowest and 1 at
        the highest label: these two take the mass that the kernel puts beyond them. Labels are rounded to the grid.

    Raises:
        ValueError: no labels, labels that are not finite, or a bandwidth not above 0.

    Example:
        >>> grid, cdf = label_cdf(np.array([0.0, 1.0, 2.0]), bandwidth=0.1)
        >>> float(np.round(np.interp(1.0, grid, cdf), 2))
        0.5

    Reference:
        Silverman, Density Estimation for Statistics and Data Analysis, 1986, Eq. 3.31.
    """
    check_finite(labels, "labels")
    values = np.asarray(labels, dtype=np.float64).ravel()
    low, high = float(values.min()), float(values.max())
    if bandwidth is None:
        quarter, three = np.quantile(values, [0.25, 0.75])
        spread = min(values.std(), (three - quarter) / 1.34) or values.std()
        bandwidth = 0.9 * spread * len(values) ** -0.2 if spread > 0 else 1.0
    check_positive("bandwidth", bandwidth)
    grid = np.linspace(low, high, _CELLS)
    width = grid[1] - grid[0]
    cell = np.zeros(len(values), dtype=int) if width == 0 else np.rint((values - low) / width).astype(int)
    counts = np.bincount(cell, minlength=_CELLS)
    held = counts > 0
    cdf = ndtr((grid[:, None] - grid[None, held]) / bandwidth) @ (counts[held] / counts.sum())
    cdf[0], cdf[-1] = 0.0, 1.0
    return grid, cdf


def pseudo_labels(n: int, grid: Tensor, cdf: Tensor) -> Tensor:
    r"""Return the n sorted labels expected in a batch of n: :math:`F^{-1}((i - 1/2) / n)`, i from 1 to n.

    Shape:
        grid and cdf ``[G]``, cdf from 0 to 1 and not decreasing -> ``[n]``.

    Example:
        >>> pseudo_labels(2, torch.tensor([0.0, 4.0]), torch.tensor([0.0, 1.0]))
        tensor([1., 3.])
    """
    level = (torch.arange(n, device=cdf.device, dtype=cdf.dtype) + 0.5) / max(n, 1)
    right = torch.searchsorted(cdf, level).clamp(1, len(cdf) - 1)
    below, above = cdf[right - 1], cdf[right]
    share = (level - below) / (above - below).clamp(min=torch.finfo(cdf.dtype).tiny)
    return torch.lerp(grid[right - 1], grid[right], share.clamp(0, 1))


def distribution_loss(pred: Tensor, expected: Tensor, base: Base = "l1") -> Tensor:
    r"""Return the distance of the sorted predictions to the sorted labels expected in a batch of this size.

    .. math:: \frac{1}{N} \sum_i |\hat y_{(i)} - q_i|^p

    with p = 1 or 2: the Wasserstein distance of the two distributions, to the p-th power. 0 without predictions.

    Shape:
        pred ``[N]``, expected ``[N]`` sorted -> a scalar.

    Raises:
        ValueError: shapes that differ, or an unknown base.

    Example:
        >>> distribution_loss(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0]))
        tensor(0.5000)

    Reference:
        Nie et al., Dist Loss: Enhancing Regression in Few-Shot Region through Distribution Distance Constraint,
        ICLR 2025. The paper relaxes the sort. Here the sort is exact, and its gradient is that of the permutation,
        which is enough for this distance. On several ranks, each rank sorts its own batch.
    """
    check_choice("base", base, get_args(Base))
    if len(pred) == 0:
        return pred.sum()
    wide = pred.to(torch.promote_types(pred.dtype, torch.float32)).sort(stable=True).values
    return weighted_l1(wide, expected) if base == "l1" else weighted_mse(wide, expected)


class DistLoss(KeepsPrecision):
    r"""Pointwise loss plus ``alignment`` times :func:`distribution_loss` against the training labels.

    .. math:: \frac{1}{N} \sum_i w_i |\hat y_i - y_i|^p + \lambda \frac{1}{N} \sum_i |\hat y_{(i)} - q_i|^p

    Weights apply to the first term only. The second term assumes that batches follow the distribution of the training
    labels, so do not combine it with a sampler that balances the batches. (If a method resamples the rows, ``fit``
    gets the resampled labels.) On several ranks, each rank sorts the predictions of its own batch.

    Args:
        base: "l1" or "mse", for both terms.
        alignment: lambda, >= 0.
        bandwidth: bandwidth of the kernel estimate of the label density, in the labels' unit; None: Silverman's rule.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        output ``[N]``, target ``[N]``, weight ``[N]`` or None -> a scalar.

    State:
        grid, cdf: float64 ``[2048]``, the distribution of the training labels, written by ``fit``.

    Raises:
        ValueError: shapes that differ, or bad arguments.
        RuntimeError: a call before ``fit``.

    Example:
        >>> labels = torch.tensor([0.0, 1.0, 2.0, 9.0])
        >>> loss = DistLoss().fit(labels, LabelBins.integers(0, 9))
        >>> bool(loss(labels, labels) < loss(torch.full((4,), 3.0), labels))
        True

    Reference:
        See :func:`distribution_loss`. The paper rounds the expected number of each label in a batch; quantiles of the
        same kernel estimate need no list of possible labels.
    """

    corrects_imbalance = False
    grid: Tensor
    cdf: Tensor
    # Remembered in Python, because reading a buffer in each step would synchronise with the device.
    _known_fitted = False

    def __init__(
        self,
        base: Base = "l1",
        alignment: float = 1.0,
        bandwidth: float | None = None,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__()
        check_choice("base", base, get_args(Base))
        check_not_negative("alignment", alignment)
        if bandwidth is not None:
            check_positive("bandwidth", bandwidth)
        self.base: Base = base
        self.alignment, self.bandwidth = float(alignment), bandwidth
        self.ignore_nan = ignore_nan
        self.register_buffer("grid", torch.zeros(_CELLS, dtype=torch.float64))
        self.register_buffer("cdf", torch.zeros(_CELLS, dtype=torch.float64))

    @property
    def fitted(self) -> bool:
        """Whether ``fit`` was called or a fitted state was loaded."""
        if not self._known_fitted and not self.cdf.is_meta:
            self._known_fitted = bool(self.cdf[-1] > 0)
        return self._known_fitted

    def fit(self, targets: Tensor, bins: LabelBins) -> DistLoss:
        """Estimate the distribution of all training targets; the bins are ignored."""
        grid, cdf = label_cdf(targets.detach().cpu().double().numpy(), self.bandwidth)
        self.grid.copy_(torch.from_numpy(grid))
        self.cdf.copy_(torch.from_numpy(cdf))
        self._known_fitted = True
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the sum of both terms."""
        if not self.fitted:
            raise RuntimeError("DistLoss is not fitted. Call fit(targets, bins) first.")
        if self.ignore_nan:
            target, output, weight = labelled_rows(target, output, weight)
        single = weighted_l1(output, target, weight) if self.base == "l1" else weighted_mse(output, target, weight)
        expected = pseudo_labels(len(output), self.grid, self.cdf).to(single.dtype)
        return single + self.alignment * distribution_loss(output, expected, self.base)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._known_fitted = False
        _ = self.fitted  # look now, so that the first training step does not wait for the device

    def extra_repr(self) -> str:
        names = ("base", "alignment", "bandwidth", "ignore_nan", "fitted")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
