"""The yardstick: LDS, FDS, losses and shot metrics as loops over labels, the way they are usually published.

Written from the paper and from a description of the published programs, their known defects included (statistics
read through an alias, smoothing that lags an epoch, integer bins, masks made once per label), and checked against
those programs' numbers in tests/benchmarks. Neither slower than the field's code nor cleverer: a mask is made once to
read and once to write, and a row is looked up wherever it is used, as in the published code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import convolve1d, gaussian_filter1d
from torch import Tensor, nn


def gaussian_window(size: int, sigma: float) -> np.ndarray:
    """A unit impulse of the window's length, filtered with its borders reflected."""
    impulse = np.zeros(size)
    impulse[size // 2] = 1.0
    return gaussian_filter1d(impulse, sigma=sigma)


def lds_weights(
    labels: np.ndarray, num_bins: int, reweight: str = "sqrt_inverse", size: int = 5, sigma: float = 2.0
) -> list[np.float32]:
    """Label distribution smoothing: one dictionary of counts, one look-up per label, and a list of weights."""
    count = dict.fromkeys(range(num_bins), 0)
    for label in labels:
        count[min(num_bins - 1, int(label))] += 1
    if reweight == "sqrt_inverse":
        count = {bin_: np.sqrt(n) for bin_, n in count.items()}
    else:
        count = {bin_: np.clip(n, 5, 1000) for bin_, n in count.items()}
    per_label = [count[min(num_bins - 1, int(label))] for label in labels]  # what holds without smoothing
    window = gaussian_window(size, sigma)
    window = window / window.max()
    smoothed = convolve1d(np.asarray(list(count.values())), weights=window, mode="constant")
    per_label = [smoothed[min(num_bins - 1, int(label))] for label in labels]
    weights = [np.float32(1 / value) for value in per_label]
    scaling = len(weights) / np.sum(weights)
    return [scaling * weight for weight in weights]


class NaiveFDS(nn.Module):
    """Feature distribution smoothing over whole-number labels from ``start`` to ``num_labels - 1``.

    ``smooth`` edits the features in place, one mask per label of the batch. The statistics need all features of an
    epoch at once (``update_statistics``), from a second pass over the training set (see :func:`second_pass`).
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int = 100,
        start: int = 0,
        size: int = 5,
        sigma: float = 2.0,
        momentum: float = 0.9,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        window = gaussian_window(size, sigma)
        self.window = torch.tensor(window / window.sum(), dtype=torch.float32)
        self.half = (size - 1) // 2
        self.num_labels, self.start, self.momentum = num_labels, start, momentum
        rows = num_labels - start
        self.register_buffer("epoch", torch.zeros(1))
        self.register_buffer("running_mean", torch.zeros(rows, num_features, dtype=dtype))
        self.register_buffer("running_var", torch.ones(rows, num_features, dtype=dtype))
        self.register_buffer("last_mean", torch.zeros(rows, num_features, dtype=dtype))
        self.register_buffer("last_var", torch.ones(rows, num_features, dtype=dtype))
        self.register_buffer("smoothed_mean", torch.zeros(rows, num_features, dtype=dtype))
        self.register_buffer("smoothed_var", torch.ones(rows, num_features, dtype=dtype))
        self.register_buffer("num_samples", torch.zeros(rows, dtype=dtype))

    def smooth(self, features: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """Calibrate the features of a batch in place; labels ``[N]``."""
        if epoch < 1:
            return features
        for label in torch.unique(labels):
            compare = self._comparison(label)
            if compare is None:
                continue
            features[compare(labels, label)] = calibrate_rows(
                features[compare(labels, label)],
                self.last_mean[self._row(label)],
                self.last_var[self._row(label)],
                self.smoothed_mean[self._row(label)],
                self.smoothed_var[self._row(label)],
            )
        return features

    def snapshot(self, epoch: int) -> None:
        """Smooth the statistics of the previous epoch, before a new epoch. The snapshot is an alias, as published."""
        if epoch == int(self.epoch) + 1:
            self.epoch += 1
            self.last_mean, self.last_var = self.running_mean, self.running_var
            self.smoothed_mean = self._convolve(self.running_mean)
            self.smoothed_var = self._convolve(self.running_var)

    def update_statistics(self, features: Tensor, labels: Tensor, epoch: int) -> None:
        """Mean and variance of the features of each label, over a whole epoch ``[N, D]``, moved by the momentum."""
        for label in torch.unique(labels):
            compare = self._comparison(label)
            if compare is None:
                continue
            chosen = features[compare(labels, label)]
            n = chosen.size(0)
            mean = torch.mean(chosen, 0)
            var = torch.var(chosen, 0, unbiased=n != 1)
            self.num_samples[self._row(label)] += n
            factor = 0.0 if epoch == 0 else self.momentum
            row_mean, row_var = self.running_mean[self._row(label)], self.running_var[self._row(label)]
            self.running_mean[self._row(label)] = (1 - factor) * mean + factor * row_mean
            self.running_var[self._row(label)] = (1 - factor) * var + factor * row_var

    def _row(self, label: Tensor) -> int:
        return int(label - self.start)

    def _comparison(self, label: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
        """How samples of a label are found; the first and the last take in what lies beyond, others are left out."""
        if label > self.num_labels - 1 or label < self.start:
            return None
        if label == self.start:
            return torch.le
        if label == self.num_labels - 1:
            return torch.ge
        return torch.eq

    def _convolve(self, values: Tensor) -> Tensor:
        columns = F.pad(values.t().unsqueeze(1), (self.half, self.half), mode="reflect")
        smoothed = F.conv1d(columns, self.window.to(values).view(1, 1, -1), padding=0)
        return smoothed.squeeze(1).t().contiguous()


def calibrate_rows(features: Tensor, mean: Tensor, var: Tensor, new_mean: Tensor, new_var: Tensor) -> Tensor:
    """Whiten with one mean and variance, colour with others; dimensions without variance stay."""
    if torch.sum(var) < 1e-10:
        return features
    if (var == 0.0).any():
        live = var != 0.0
        factor = torch.clamp(new_var[live] / var[live], 0.1, 10)
        features[:, live] = (features[:, live] - mean[live]) * torch.sqrt(factor) + new_mean[live]
        return features
    factor = torch.clamp(new_var / var, 0.1, 10)
    return (features - mean) * torch.sqrt(factor) + new_mean


def second_pass(fds: NaiveFDS, batches: object, epoch: int) -> None:
    """The end of an epoch: collect all features row by row, stack them, and only then compute the statistics.

    ``batches`` yields (features, labels): a second pass of the encoder over the training set.
    """
    features: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    with torch.no_grad():
        for batch, batch_labels in batches:
            features.extend(batch.detach().cpu().numpy())
            labels.extend(batch_labels.cpu().numpy())
        device = fds.running_mean.device
        all_features = torch.from_numpy(np.vstack(features)).to(device)
        all_labels = torch.from_numpy(np.hstack(labels)).to(device)
        fds.snapshot(epoch)
        fds.update_statistics(all_features, all_labels, epoch)


def shot_metrics(
    preds: np.ndarray,
    labels: np.ndarray,
    train_labels: np.ndarray,
    many: int = 100,
    few: int = 20,
    by_sample: bool = True,
) -> dict[str, dict[str, float]]:
    """MSE, MAE and geometric mean of the error by the number of training samples of each label.

    The published programs pool the errors of a group for its geometric mean sample by sample, in a list; without
    ``by_sample`` the arrays of the labels are pooled whole, as none of the ten programs looked at does.
    """
    train_count, test_count, squared, absolute, errors = [], [], [], [], []
    for label in np.unique(labels):
        train_count.append(len(train_labels[train_labels == label]))
        test_count.append(len(labels[labels == label]))
        squared.append(np.sum((preds[labels == label] - labels[labels == label]) ** 2))
        absolute.append(np.sum(np.abs(preds[labels == label] - labels[labels == label])))
        errors.append(np.abs(preds[labels == label] - labels[labels == label]))
    groups: dict[str, list[int]] = {"many": [], "median": [], "low": []}
    for i in range(len(train_count)):
        name = "many" if train_count[i] > many else "low" if train_count[i] < few else "median"
        groups[name].append(i)
    groups["overall"] = list(range(len(train_count)))
    result = {}
    for name, members in groups.items():
        n = sum(test_count[i] for i in members)
        parts = [error for i in members for error in (list(errors[i]) if by_sample else [errors[i]])]
        pooled = np.hstack(parts) if parts else np.array([])
        with np.errstate(divide="ignore"):
            gmean = float(np.exp(np.mean(np.log(pooled)))) if members else float("nan")
        result[name] = {
            "mse": float(sum(squared[i] for i in members)) / n if n else float("nan"),
            "l1": float(sum(absolute[i] for i in members)) / n if n else float("nan"),
            "gmean": gmean,
        }
    return result


def weighted_loss(name: str, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The losses straight from ``torch.nn.functional``, weighted, then the mean; focal with beta .2, gamma 1."""
    if name == "mse":
        loss = F.mse_loss(pred, target, reduction="none")
    elif name == "l1":
        loss = F.l1_loss(pred, target, reduction="none")
    elif name == "huber":
        loss = F.smooth_l1_loss(pred, target, reduction="none", beta=1.0)
    elif name == "focal_l1":
        loss = F.l1_loss(pred, target, reduction="none")
        loss = loss * (2 * torch.sigmoid(0.2 * torch.abs(pred - target)) - 1) ** 1
    else:
        raise ValueError(f"name must be mse, l1, huber or focal_l1, got {name!r}")
    return (loss if weight is None else loss * weight).mean()
