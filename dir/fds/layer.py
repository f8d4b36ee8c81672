"""Feature distribution smoothing (FDS): running per-bin feature statistics, and the calibration they give."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from dir._epoch_sums import EpochSums, Sums
from dir._precision import KeepsPrecision
from dir.bins import LabelBins
from dir.fds import statistics as fs
from dir.fds._inputs import check_features, eval_features
from dir.fds.calibration import calibrate
from dir.kernels import Kernel, kernel_window, smoothing_matrix


class FDS(KeepsPrecision):
    r"""Calibrate features toward the smoothed statistics of neighbouring label bins, in training.

    .. math:: \hat z = \sqrt{\mathrm{clip}(\tilde v_b / v_b)}\,(z - m_b) + \tilde m_b

    with :math:`m_b, v_b` the running mean and variance of the features of bin :math:`b` and
    :math:`\tilde m_b, \tilde v_b` their kernel average over the neighbouring bins that have been seen.

    **This module is stateful.** ``fds(features, labels)``

    * accumulates (count, sum, sum of squares per bin, of the raw detached features) if and only if it is in
      training mode, labels are given and gradients are enabled;
    * calibrates in training mode with the tables of the last closed epoch;
    * is the identity in eval mode, or without labels.

    ``fds.end_epoch()`` after each pass over the data closes the epoch: it updates the statistics and writes the
    tables, and nothing else does. Keep the module out of checkpointed segments (they run twice).

    Args:
        num_features: D.
        bins: the label bins.
        kernel, kernel_size, sigma: see :func:`dir.kernels.kernel_window`; normalised over the seen bins.
        momentum: weight of the *old* running value, in [0, 1); None for the cumulative average by counts.
        start_update: epochs before this one are discarded.
        start_smooth: first epoch that is calibrated; must lie after ``start_update``. None: collect only.
        ratio_clip: bounds of the variance ratio. Published: (0.1, 10) ages, (0.5, 2) STS-B, (0.2, 5) depth.
        min_count: under this many samples in an epoch a bin's mean moves and its variance does not; a variance
            never trusted stays out of the smoothing, and its bin is calibrated with scale 1.
        count_weighted: weigh the kernel by the samples of each bin.
        shrinkage: tau; the target becomes ``a * own + (1 - a) * smoothed`` with ``a = n / (n + tau)``, n the
            samples of the bin's last epoch, so that dense bins stay as they are. None: off.
        statistics: ``"mean_var"``, or ``"mean"`` to shift only (variances, also zero ones, then play no part).

    Shape:
        features ``[N, D]`` with labels ``[N]`` or ``[N, 1]``, or dense ``[N, D, H, W]`` with labels
        ``[N, 1, H, W]`` -> a new tensor of the features' shape and dtype.

    State:
        scale, shift: ``[B + 1, D]``, the tables, written by ``end_epoch``; the last row is the identity, for
        excluded and non-finite labels.
        running_mean, running_var: float64 ``[B, D]``; num_samples, num_samples_var: int64 ``[B]``, how many
        samples stand behind them; last_count: int64 ``[B]``, samples in the last epoch that saw the bin;
        epoch: int64, closed epochs. All written by ``end_epoch``.
        sums: the sums of the epoch in progress (:class:`dir._epoch_sums.EpochSums`), no buffers.

    Raises:
        ValueError: shapes that do not fit; bad arguments; in ``end_epoch``, labels that were not finite.
        TypeError: labels in half precision, features that are not floating.
        RuntimeError: ``end_epoch`` with nothing collected on any rank.

    Example:
        >>> fds = FDS(num_features=2, bins=LabelBins.integers(0, 9))
        >>> z, y = torch.randn(32, 2, requires_grad=True), torch.randint(0, 10, (32,))
        >>> torch.equal(fds(z, y), z)  # first epoch: collects
        True
        >>> diagnostics = fds.end_epoch()
        >>> torch.equal(fds(z, y), z)  # second epoch: calibrates
        False

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sec. 3.2, Eq. 2 to 6. The last three
        arguments are ours. Departures from the published code: whitening and colouring come from the same epoch,
        features are not edited in place, bins never seen do not take part, borders renormalise, out-of-range
        labels are binned alike in every batch.
    """

    scale: Tensor
    shift: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_samples: Tensor
    num_samples_var: Tensor
    last_count: Tensor
    epoch: Tensor
    window: Tensor

    def __init__(
        self,
        num_features: int,
        bins: LabelBins,
        kernel: Kernel = "gaussian",
        kernel_size: int = 5,
        sigma: float = 2.0,
        momentum: float | None = 0.9,
        start_update: int = 0,
        start_smooth: int | None = 1,
        ratio_clip: tuple[float, float] = (0.1, 10.0),
        min_count: int = 2,
        count_weighted: bool = False,
        shrinkage: float | None = None,
        statistics: fs.Statistics = "mean_var",
    ) -> None:
        super().__init__()
        if int(num_features) != num_features or num_features < 1:
            raise ValueError(f"num_features must be a whole number >= 1, got {num_features}")
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f"momentum (the weight of the old value) must be in [0, 1) or None, got {momentum}")
        if start_update < 0:
            raise ValueError(f"start_update must be >= 0, got {start_update}")
        if start_smooth is not None and start_smooth <= start_update:
            raise ValueError(f"start_smooth must be > start_update={start_update}, or None, got {start_smooth}")
        if not (len(ratio_clip) == 2 and 0 < ratio_clip[0] <= 1 <= ratio_clip[1]):
            raise ValueError(f"ratio_clip must be (low, high) with 0 < low <= 1 <= high, got {ratio_clip!r}")
        if min_count < 2:
            raise ValueError(f"min_count must be >= 2 (one sample has no variance), got {min_count}")
        if shrinkage is not None and not shrinkage >= 0:
            raise ValueError(f"shrinkage must be >= 0 or None, got {shrinkage}")
        if statistics not in get_args(fs.Statistics):
            raise ValueError(f"statistics must be 'mean_var' or 'mean', got {statistics!r}")
        self.num_features = int(num_features)
        self.bins = bins
        self.kernel, self.kernel_size, self.sigma = kernel, kernel_size, sigma
        self.momentum, self.min_count = momentum, min_count
        self.start_update, self.start_smooth = start_update, start_smooth
        self.ratio_clip = (float(ratio_clip[0]), float(ratio_clip[1]))
        self.count_weighted, self.shrinkage, self.statistics = count_weighted, shrinkage, statistics
        b, d = bins.num_bins, self.num_features
        self.register_buffer("window", kernel_window(kernel, kernel_size, sigma, "sum"), persistent=False)
        self.register_buffer("scale", torch.empty(b + 1, d))
        self.register_buffer("shift", torch.empty(b + 1, d))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(b, d, dtype=torch.float64))
        for name in ("num_samples", "num_samples_var", "last_count"):
            self.register_buffer(name, torch.empty(b, dtype=torch.int64))
        self.register_buffer("epoch", torch.empty((), dtype=torch.int64))
        self.sums = EpochSums(b + 1, d)
        self.reset()

    def reset(self) -> None:
        """Start over: forget all statistics, tables become the identity."""
        self.scale.fill_(1.0)
        for name in ("shift", "running_mean", "num_samples", "num_samples_var", "last_count", "epoch"):
            getattr(self, name).zero_()
        self.running_var.fill_(1.0)
        self.sums.clear()
        self._warned = False

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Accumulate and calibrate; see the class."""
        if labels is None or not self.training:
            return features.clone()
        check_features(features, labels, self.num_features)
        index = self.bins(labels).flatten()
        rows = self._rows(features)
        if torch.is_grad_enabled():
            self.sums.add(rows, labels, index, self._pivot())
        if self.start_smooth is None:
            return features.clone()
        calibrated = calibrate(rows, index, self.scale, self.shift)
        if features.ndim == 2:
            return calibrated
        shape = (features.shape[0], *features.shape[2:], self.num_features)
        return calibrated.view(shape).movedim(-1, 1)

    def _rows(self, features: Tensor) -> Tensor:
        return features if features.ndim == 2 else features.movedim(1, -1).reshape(-1, self.num_features)

    def _pivot(self) -> Tensor | None:
        # Only a device without float64 sums about the running mean.
        if self.sums.total.dtype != torch.float32:
            return None
        return torch.cat([self.running_mean, self.running_mean.new_zeros(1, self.num_features)])

    @torch.no_grad()
    def end_epoch(self, process_group: dist.ProcessGroup | None = None) -> dict[str, float]:
        """Close an FDS epoch: what was collected since the last call, on all ranks, becomes statistics and tables.

        Args:
            process_group: ranks to add up over; None is the default group, where one is initialised.

        Returns:
            diagnostics: ``bins_seen``, ``bins_empty``, ``bins_trusted``, ``bins_nonfinite`` (sums not finite:
            the bin keeps its old statistics for this epoch), ``labels_excluded``, ``mean_gap`` and ``var_gap``
            (root mean square of smoothed minus own mean in units of the own standard deviation; mean absolute
            log ratio of the variances), ``clipped`` (share of ratios at the clip).

        Raises:
            RuntimeError: nothing was collected on any rank; the state is unchanged.
            ValueError: labels that were not finite, with their number; the state is unchanged.
        """
        sums = self.sums.reduced(process_group)
        if sums.nonfinite > 0:
            raise ValueError(f"labels: {int(sums.nonfinite)} were not finite; fds.sums.clear() discards the epoch")
        if not sums.n[:-1].sum() > 0:
            raise RuntimeError(
                "end_epoch() found nothing collected in any bin: call fds(features, labels) in training mode with "
                "gradients enabled (or fds.collect) before it, and end_epoch() once per epoch"
            )
        closed, excluded = int(self.epoch), float(sums.n[-1])
        try:
            nonfinite = self._update(sums) if closed >= self.start_update else 0
        finally:
            self.sums.clear()  # used up
        diagnostics = self._write_tables(live=self.start_smooth is not None and closed + 1 >= self.start_smooth)
        diagnostics |= {"bins_nonfinite": float(nonfinite), "labels_excluded": excluded}
        self.epoch.add_(1)
        if (doubt := fs.doubt(diagnostics, self.bins.num_bins)) and closed >= self.start_update and not self._warned:
            self._warned = True
            warnings.warn(f"FDS: {doubt} ({diagnostics})", stacklevel=3)  # past the frame of no_grad
        return diagnostics

    def _update(self, sums: Sums) -> int:
        n, total, square = sums.n[:-1], sums.total[:-1], sums.square[:-1]
        lost = fs.nonfinite_rows(total, square)
        for sum_ in (total, square):
            sum_.index_fill_(0, lost, 0.0)
        seen = n.index_fill(0, lost, 0.0)
        trusted = torch.where(seen >= self.min_count, seen, 0.0)
        keep_mean = fs.kept_share(self.num_samples.to(seen.dtype), seen, self.momentum)
        keep_var = fs.kept_share(self.num_samples_var.to(seen.dtype), trusted, self.momentum)
        for mean, var, some, squares in fs.columns(self.running_mean, self.running_var, total, square):
            new_mean, new_var = fs.moments_(n, some, squares)
            fs.move_(mean, new_mean.add_(mean) if total.dtype == torch.float32 else new_mean, keep_mean)
            fs.move_(var, new_var, keep_var)
        self.num_samples.add_(seen.long())
        self.num_samples_var.add_(trusted.long())
        self.last_count.copy_(torch.where(seen > 0, seen.long(), self.last_count))
        return int(n.index_select(0, lost).count_nonzero())

    def smoothed_statistics(self) -> tuple[Tensor, Tensor]:
        """The smoothed (and, where asked for, shrunk) running mean and variance, ``[B, D]`` each."""
        return self._smooth(*self._kernels(), self.running_mean, self.running_var)

    def _kernels(self) -> tuple[Tensor, Tensor]:
        """What smooths (and shrinks) the means, and what smooths the variances, ``[B, B]``."""
        matrix = smoothing_matrix(self.window, self.bins.num_bins).to(self.running_mean.dtype)
        weight = self.last_count.to(matrix.dtype) if self.count_weighted else None

        def kernel(seen: Tensor) -> Tensor:
            smoothing = fs.smoothing_kernel(matrix, seen, weight)
            n = torch.where(seen, self.last_count, 0)  # a variance never trusted is none to keep
            return smoothing if self.shrinkage is None else fs.shrink(smoothing, n, self.shrinkage)

        return kernel(self.num_samples > 0), kernel(self.num_samples_var > 0)

    def _smooth(self, of_mean: Tensor, of_var: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        reach = self.window.shape[0] // 2
        return fs.smooth(mean, of_mean, reach), fs.smooth(var, of_var, reach)

    def _write_tables(self, live: bool) -> dict[str, float]:
        seen, trusted = self.num_samples > 0, self.num_samples_var > 0
        both = self.statistics == "mean_var"
        shifted = (~(trusted & both)).nonzero().flatten()  # and not scaled
        unseen = ~seen.index_select(0, shifted)[:, None]
        kernels, sums, clip = self._kernels(), [], self.ratio_clip if both else (0.0, float("inf"))
        tables = self.running_mean, self.running_var, self.scale[:-1], self.shift[:-1]
        for own_mean, own_var, scale, shift in fs.columns(*tables):
            mean, var = self._smooth(*kernels, own_mean, own_var)
            ratio, still = fs.variance_ratio(own_var, var)
            sums.append(fs.gaps(own_mean, mean, own_var, ratio, still, clip))
            if live:
                new_scale, new_shift = fs.fold_tables(own_mean, mean, ratio, still, self.ratio_clip, scale.dtype)
                gap = mean.index_select(0, shifted).sub_(own_mean.index_select(0, shifted)).masked_fill_(unseen, 0.0)
                scale.copy_(new_scale.index_fill_(0, shifted, 1.0))
                shift.copy_(new_shift.index_copy_(0, shifted, gap.to(shift.dtype)))
        return fs.diagnostics(seen, trusted, torch.stack(sums).sum(0))

    @torch.no_grad()
    def collect(self, loader: Iterable[Any], encoder: Callable[..., Tensor]) -> None:
        """Collect a whole epoch in one pass in eval mode, without gradients: the paper's protocol.

        Replaces what was accumulated since the last ``end_epoch``, which is to be called afterwards as usual.

        Args:
            loader: yields (inputs, labels).
            encoder: inputs -> features; where it is a Module, the mode of every submodule is restored.
        """
        self.sums.clear()
        try:
            for features, labels in eval_features(loader, encoder, self.scale.device):
                check_features(features, labels, self.num_features)
                self.sums.add(self._rows(features), labels, self.bins(labels).flatten(), self._pivot())
        except BaseException:
            self.sums.clear()
            raise

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in signature(FDS).parameters if name != "bins")
