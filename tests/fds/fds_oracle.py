"""Test oracle: FDS in NumPy float64 with loops, written from the paper and the design.

Nothing here is shared with the package: windows come from SciPy, bins from searchsorted on given edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.signal.windows import triang


def window(kernel: str, size: int, sigma: float) -> np.ndarray:
    """Return the window before normalisation."""
    half = size // 2
    offsets = np.arange(-half, half + 1)
    if kernel == "gaussian":
        delta = np.zeros(size)
        delta[half] = 1.0
        return gaussian_filter1d(delta, sigma=sigma)
    if kernel == "exact_gaussian":
        return np.exp(-(offsets**2) / (2 * sigma**2))
    if kernel == "triangular":
        return triang(size)
    if kernel == "laplace":
        return np.exp(-np.abs(offsets) / sigma) / (2 * sigma)
    raise ValueError(kernel)


@dataclass
class OracleFDS:
    """Running statistics and tables after whole epochs of (features [N, D], bin index [N])."""

    num_bins: int
    num_features: int
    kernel: str = "gaussian"
    kernel_size: int = 5
    sigma: float = 2.0
    momentum: float | None = 0.9
    start_update: int = 0
    start_smooth: int | None = 1
    ratio_clip: tuple[float, float] = (0.1, 10.0)
    min_count: int = 2
    count_weighted: bool = False
    shrinkage: float | None = None
    statistics: str = "mean_var"
    epoch: int = 0
    mean: np.ndarray = field(init=False)
    var: np.ndarray = field(init=False)
    seen: np.ndarray = field(init=False)
    trusted: np.ndarray = field(init=False)
    total: np.ndarray = field(init=False)
    var_total: np.ndarray = field(init=False)
    last: np.ndarray = field(init=False)
    scale: np.ndarray = field(init=False)
    shift: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.num_bins, self.num_features)
        self.mean, self.var = np.zeros(shape), np.ones(shape)
        self.seen = np.zeros(self.num_bins, bool)
        self.trusted = np.zeros(self.num_bins, bool)
        self.total = np.zeros(self.num_bins)
        self.var_total = np.zeros(self.num_bins)
        self.last = np.zeros(self.num_bins)
        self.scale, self.shift = np.ones(shape), np.zeros(shape)

    def _old_weight(self, old_count: float, count: float) -> float:
        """Return the weight of the old value; without momentum, that of the cumulative average by counts."""
        return old_count / (old_count + count) if self.momentum is None else self.momentum

    def end_epoch(self, features: np.ndarray, index: np.ndarray) -> None:
        """Update with one whole epoch; rows with `index == num_bins` (excluded) are ignored."""
        if self.epoch >= self.start_update:
            for bin_ in range(self.num_bins):
                rows = features[index == bin_].astype(np.float64)
                if len(rows) and np.isfinite(rows).all():
                    self._update_bin(bin_, rows)
            if self.start_smooth is not None and self.epoch + 1 >= self.start_smooth:
                self._fold()
        self.epoch += 1

    def _update_bin(self, bin_: int, rows: np.ndarray) -> None:
        count = len(rows)
        mean = rows.mean(axis=0)
        if self.seen[bin_]:
            old = self._old_weight(self.total[bin_], count)
            mean = old * self.mean[bin_] + (1 - old) * mean
        self.mean[bin_] = mean
        if count >= self.min_count:
            var = rows.var(axis=0, ddof=1)
            if self.trusted[bin_]:
                old = self._old_weight(self.var_total[bin_], count)
                var = old * self.var[bin_] + (1 - old) * var
            self.var[bin_] = var
            self.trusted[bin_] = True
            self.var_total[bin_] += count
        self.seen[bin_] = True
        self.total[bin_] += count
        self.last[bin_] = count

    def _smooth(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        weights = window(self.kernel, self.kernel_size, self.sigma)
        half = self.kernel_size // 2
        out = np.zeros_like(values)
        for i in range(self.num_bins):
            total = 0.0
            for j in range(max(0, i - half), min(self.num_bins, i + half + 1)):
                weight = weights[j - i + half] * known[j]
                if self.count_weighted:
                    weight *= self.last[j]
                out[i] += weight * values[j]
                total += weight
            if total > 0:
                out[i] /= total
        return out

    def _fold(self) -> None:
        mean = self._smooth(self.mean, self.seen)
        var = self._smooth(self.var, self.trusted)
        if self.shrinkage is not None:
            own = (self.last / np.maximum(self.last + self.shrinkage, 1e-300))[:, None]
            mean = own * self.mean + (1 - own) * mean
            var = own * self.var + (1 - own) * var
        low, high = self.ratio_clip
        for i in range(self.num_bins):
            self.scale[i], self.shift[i] = 1.0, 0.0
            if not self.seen[i]:
                continue
            for d in range(self.num_features):
                scale = 1.0
                if self.trusted[i] and self.statistics == "mean_var":
                    if self.var[i, d] == 0:
                        continue
                    scale = np.sqrt(np.clip(var[i, d] / self.var[i, d], low, high))
                self.scale[i, d] = scale
                self.shift[i, d] = mean[i, d] - self.mean[i, d] * scale

    def calibrate(self, features: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return the output of a training step; excluded rows (`index == num_bins`) pass."""
        out = features.astype(np.float64).copy()
        inside = index < self.num_bins
        rows = index[inside]
        out[inside] = out[inside] * self.scale[rows] + self.shift[rows]
        return out


def skewed_epochs(
    num_bins: int, num_features: int, epochs: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(features, bin index) per epoch with all that is awkward: bins never seen, absent for an epoch, seen late,
    with one sample, a dimension without variance, and far more samples in some bins than in others."""
    rng = np.random.default_rng(seed)
    popularity = np.exp(-0.35 * np.arange(num_bins))
    popularity /= popularity.sum()
    center = rng.normal(size=(num_bins, num_features)) * 2
    spread = rng.uniform(0.3, 3.0, size=(num_bins, num_features))
    out = []
    for epoch in range(epochs):
        index = rng.choice(num_bins, size=120 + 13 * epoch, p=popularity)
        index = index[index != 4]  # never seen
        if epoch == 1:
            index = index[index != 2]  # absent for an epoch
        if epoch == 0:
            index = index[index != 3]  # seen late
        index = np.concatenate([index, [num_bins - 2]])  # mostly one sample
        features = center[index] + spread[index] * rng.normal(size=(len(index), num_features))
        features[:, -1] = index * 0.5  # no variance within a bin
        out.append((features, index))
    return out


def labels_of(bins: torch.nn.Module, index: np.ndarray) -> torch.Tensor:
    """Return a label inside each given bin."""
    return bins.centers[torch.from_numpy(index)]


def run_epoch(fds: torch.nn.Module, features: np.ndarray, labels: torch.Tensor, batch: int = 32) -> dict:
    """Feed one epoch in batches, gradients on, and close it."""
    rows = torch.from_numpy(features)
    fds.train()
    for part, part_labels in zip(rows.split(batch), labels.split(batch), strict=True):
        fds(part, part_labels)
    return fds.end_epoch()


def probe_tables(fds: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift [B, D], measured through forward, which is linear in the features."""
    fds.train()
    zeros = torch.zeros(fds.bins.num_bins, fds.num_features, dtype=torch.float64)
    with torch.no_grad():
        shift = fds(zeros, fds.bins.centers)
        scale = fds(zeros + 1, fds.bins.centers) - shift
    return scale.numpy(), shift.numpy()
