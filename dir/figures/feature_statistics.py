"""Mean and variance of the features in each label bin, and how alike those of two bins are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dir._checks import message
from dir._labels import Labels, as_tensor
from dir.bins import LabelBins
from dir.fds import FDS


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics of features by label bin, float64 on the CPU.

    Args:
        edges: edges of the bins, ``[B + 1]``.
        count: samples per bin, ``[B]``.
        mean: mean of each feature, ``[B, D]``; NaN for a bin without samples.
        var: unbiased variance, ``[B, D]``; NaN for a bin with fewer than two samples.
    """

    edges: Tensor
    count: Tensor
    mean: Tensor
    var: Tensor

    @property
    def centers(self) -> Tensor:
        """Centres of the bins, ``[B]``."""
        return (self.edges[1:] + self.edges[:-1]) / 2


def feature_statistics(features: Tensor, labels: Labels, bins: LabelBins) -> FeatureStatistics:
    """Return the statistics of the features of any model.

    Args:
        features: ``[N, D]``, such as the output of an encoder on the training rows.
        labels: ``[N]`` or ``[N, 1]``.
        bins: label bins. Labels that the bins exclude are left out.

    Raises:
        ValueError: shapes that do not belong together, or features that are not finite.

    Example:
        >>> found = feature_statistics(torch.tensor([[1.0], [3.0], [5.0]]), [0, 0, 1], LabelBins.integers(0, 2))
        >>> found.mean.flatten().tolist(), found.var.flatten().tolist()
        ([2.0, 5.0, nan], [2.0, nan, nan])
    """
    values = as_tensor(labels).detach()
    if features.ndim != 2 or values.numel() != len(features):
        problem = f"expected [N, D] for labels of the shape {list(values.shape)}"
        raise ValueError(message("features", problem, list(features.shape)))
    rows = features.detach().double().cpu()
    if not bool(torch.isfinite(rows).all()):
        raise ValueError(message("features", "expected finite values"))
    index = bins(values.to(bins.edges.device)).flatten().cpu()
    rows, index = rows[index < bins.num_bins], index[index < bins.num_bins]
    count = torch.bincount(index, minlength=bins.num_bins).double()
    zeros = torch.zeros(bins.num_bins, rows.shape[1], dtype=torch.float64)
    mean = zeros.index_add(0, index, rows) / count[:, None]
    squares = zeros.index_add(0, index, (rows - mean[index]).square())
    var = squares / (count - 1).clamp(min=0)[:, None]
    return FeatureStatistics(bins.edges.double().cpu(), count, mean, var.masked_fill(count[:, None] < 2, torch.nan))


def fds_statistics(fds: FDS) -> tuple[FeatureStatistics, FeatureStatistics]:
    r"""Return the running statistics of an FDS before and after its calibration.

    The calibration :math:`\hat z = s_b z + t_b` of the layer's tables moves the mean of bin b to
    :math:`s_b m_b + t_b` and its variance to :math:`s_b^2 v_b`.

    Returns:
        Two statistics. Bins that the layer has never seen are NaN, as are variances that it does not trust (fewer
        than ``min_count`` samples in every epoch). ``count`` holds the samples of the last epoch that saw the bin.

    Raises:
        RuntimeError: no epoch of the layer is closed yet.

    Example:
        >>> fds = FDS(num_features=2, bins=LabelBins.integers(0, 9))
        >>> _ = fds(torch.randn(64, 2), torch.arange(64) % 10)
        >>> _ = fds.end_epoch()
        >>> before, after = fds_statistics(fds)
        >>> before.mean.shape
        torch.Size([10, 2])
    """
    if not bool((fds.num_samples > 0).any()):
        raise RuntimeError("FDS has no statistics yet. Call fds.end_epoch() after the first epoch.")
    names = ("running_mean", "running_var", "scale", "shift", "num_samples", "num_samples_var", "last_count")
    return calibrated(fds.bins.edges, **{name: getattr(fds, name) for name in names})


def calibrated(
    edges: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    scale: Tensor,
    shift: Tensor,
    num_samples: Tensor,
    num_samples_var: Tensor,
    last_count: Tensor,
) -> tuple[FeatureStatistics, FeatureStatistics]:
    """Return :func:`fds_statistics` from the buffers of an FDS, such as those of a checkpoint.

    Args:
        edges: edges of its bins.
        running_mean, running_var, scale, shift, num_samples, num_samples_var, last_count: see :class:`dir.fds.FDS`.
    """
    mean, var, scales, shifts = (
        table.detach().double().cpu() for table in (running_mean, running_var, scale[:-1], shift[:-1])
    )
    unseen, untrusted = (count.cpu()[:, None] <= 0 for count in (num_samples, num_samples_var))

    def kept(mean: Tensor, var: Tensor) -> FeatureStatistics:
        return FeatureStatistics(
            edges.double().cpu(),
            last_count.double().cpu(),
            mean.masked_fill(unseen, torch.nan),
            var.masked_fill(untrusted, torch.nan),
        )

    return kept(mean, var), kept(scales * mean + shifts, scales.square() * var)


def cosine_similarity_of_bins(statistic: Tensor) -> Tensor:
    r"""Return the cosine between the statistics of each two bins.

    .. math:: c_{ij} = \frac{s_i \cdot s_j}{\lVert s_i \rVert \, \lVert s_j \rVert}

    Args:
        statistic: means or variances, ``[B, D]``.

    Returns:
        ``[B, B]``, symmetric; NaN where a bin has no statistic, or where the statistic is zero.

    Example:
        >>> cosine_similarity_of_bins(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))[0]
        tensor([1.0000, 0.7071,    nan])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Section 3.2.
    """
    unit = statistic / statistic.norm(dim=1, keepdim=True)
    cosine: Tensor = unit @ unit.T
    return cosine.clamp(-1, 1)
