"""State of FDS: running statistics per bin, and the tables that they are smoothed and folded into."""

from __future__ import annotations

import torch
from torch import Tensor

from dir._epoch_sums import Sums
from dir._precision import KeepsPrecision
from dir.bins import LabelBins
from dir.fds import statistics as fs
from dir.kernels import Kernel, kernel_window, smoothing_matrix


class BinTables(KeepsPrecision):
    """Base of :class:`dir.fds.FDS`: the buffers, their update from the sums of an epoch, and the tables.

    The arguments are documented in :class:`dir.fds.FDS`, which sets them as attributes.
    """

    bins: LabelBins
    num_features: int
    kernel: Kernel
    kernel_size: int
    sigma: float
    momentum: float | None
    min_count: int
    ratio_clip: tuple[float, float]
    count_weighted: bool
    shrinkage: float | None
    statistics: fs.Statistics

    scale: Tensor
    shift: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_samples: Tensor
    num_samples_var: Tensor
    last_count: Tensor
    epoch: Tensor

    def _register_tables(self) -> None:
        b, d = self.bins.num_bins, self.num_features
        tables = torch.promote_types(torch.get_default_dtype(), torch.float32)
        for name in ("scale", "shift"):
            self.register_buffer(name, torch.empty(b + 1, d, dtype=tables))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(b, d, dtype=torch.float64))
        # Counters are float64: tools that average the buffers of a model would round integers down.
        for name in ("num_samples", "num_samples_var", "last_count"):
            self.register_buffer(name, torch.empty(b, dtype=torch.float64))
        self.register_buffer("epoch", torch.empty((), dtype=torch.float64))

    def _initial_state(self, name: str) -> Tensor | float:
        return 1.0 if name in ("scale", "running_var") else 0.0

    def _update(self, sums: Sums) -> int:
        """Move the running statistics; return the number of bins with sums that are not finite."""
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
        # A checkpoint that was assigned may hold counters of another dtype.
        self.num_samples.add_(seen.to(self.num_samples.dtype))
        self.num_samples_var.add_(trusted.to(self.num_samples_var.dtype))
        self.last_count.copy_(torch.where(seen > 0, seen, self.last_count.to(seen.dtype)))
        return int(n.index_select(0, lost).count_nonzero())

    def smoothed_statistics(self) -> tuple[Tensor, Tensor]:
        """Return the smoothed (and with ``shrinkage``, shrunk) running mean and variance, ``[B, D]`` each."""
        return self._smooth(*self._kernels(), self.running_mean, self.running_var)

    def _kernels(self) -> tuple[Tensor, Tensor]:
        """Return the matrices ``[B, B]`` that smooth (and shrink) the means and the variances."""
        window = kernel_window(self.kernel, self.kernel_size, self.sigma, "sum").to(self.running_mean)
        matrix = smoothing_matrix(window, self.bins.num_bins)
        weight = self.last_count.to(matrix.dtype) if self.count_weighted else None

        def kernel(seen: Tensor) -> Tensor:
            smoothing = fs.smoothing_kernel(matrix, seen, weight)
            n = torch.where(seen, self.last_count, 0)  # a bin without a trusted variance has none to keep
            return smoothing if self.shrinkage is None else fs.shrink(smoothing, n, self.shrinkage)

        return kernel(self.num_samples > 0), kernel(self.num_samples_var > 0)

    def _smooth(self, of_mean: Tensor, of_var: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        reach = int(self.kernel_size) // 2
        return fs.smooth(mean, of_mean, reach), fs.smooth(var, of_var, reach)

    def _write_tables(self, live: bool) -> dict[str, float]:
        """Return diagnostics of the smoothing, and write the tables if ``live``."""
        seen, trusted = self.num_samples > 0, self.num_samples_var > 0
        both = self.statistics == "mean_var"
        only_shifted = (~(trusted & both)).nonzero().flatten()
        unseen = ~seen.index_select(0, only_shifted)[:, None]
        kernels, sums, clip = self._kernels(), [], self.ratio_clip if both else (0.0, float("inf"))
        tables = self.running_mean, self.running_var, self.scale[:-1], self.shift[:-1]
        for own_mean, own_var, scale, shift in fs.columns(*tables):
            mean, var = self._smooth(*kernels, own_mean, own_var)
            ratio, still = fs.variance_ratio(own_var, var)
            sums.append(fs.smoothing_diagnostics(own_mean, mean, own_var, ratio, still, clip))
            if live:
                new_scale, new_shift = fs.fold_tables(own_mean, mean, ratio, still, self.ratio_clip, scale.dtype)
                gap = mean.index_select(0, only_shifted).sub_(own_mean.index_select(0, only_shifted))
                gap.masked_fill_(unseen, 0.0)
                scale.copy_(new_scale.index_fill_(0, only_shifted, 1.0))
                shift.copy_(new_shift.index_copy_(0, only_shifted, gap.to(shift.dtype)))
        return fs.diagnostics(seen, trusted, torch.stack(sums).sum(0))
