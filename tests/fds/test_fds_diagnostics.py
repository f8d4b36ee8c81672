"""Tests of the diagnostics of `end_epoch` against NumPy on the statistics of the epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.statistics import moments_

B, D = 12, 7


def closed(
    still: bool, statistics: str, shrinkage: float | None, clip: tuple[float, float]
) -> tuple[FDS, dict[str, float]]:
    """Return full bins, a bin of one sample, two empty bins, and dimensions that are constant in some bins."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, B - 3, (240,), generator=generator).float()
    features = torch.randn(len(labels), D, generator=generator) * (1 + labels[:, None] ** 2) + labels[:, None]
    if still:
        features[:, 2] = 1.5
        features[labels == 4, 5] = -3.0
        features[labels == 7] = 0.0
        features[labels == 3, 1] *= 1e-25  # the ratio of its variances is beyond float32
    fds = FDS(D, LabelBins.integers(0, B - 1), ratio_clip=clip, statistics=statistics, shrinkage=shrinkage)
    fds(torch.cat([features, torch.full((1, D), 9.0)]), torch.cat([labels, torch.tensor([B - 3.0])]))
    return fds, fds.end_epoch()


@pytest.mark.filterwarnings("ignore:FDS. most")
@pytest.mark.parametrize("shrinkage", [None, 20.0])
@pytest.mark.parametrize("statistics", ["mean_var", "mean"])
@pytest.mark.parametrize("clip", [(0.5, 2.0), (0.5, 1.0)])
@pytest.mark.parametrize("still", [False, True])
def test_diagnostics_of_means_variances_and_clipped_ratios(
    still: bool, statistics: str, shrinkage: float | None, clip: tuple[float, float]
) -> None:
    fds, found = closed(still, statistics, shrinkage, clip)
    mean, var = (tensor.numpy() for tensor in fds.smoothed_statistics())
    own_mean, own_var = fds.running_mean.numpy(), fds.running_var.numpy()
    live = (own_var > 0) & (fds.num_samples_var > 0).numpy()[:, None]
    assert live.sum() == (B - 3) * D - (((B - 3) + 1 + D - 1) if still else 0)
    ratio = var[live] / own_var[live]
    limits = np.finfo(np.float32)
    bounded = np.clip(ratio, limits.tiny, limits.max)
    assert found["mean_gap"] == pytest.approx(
        np.sqrt(np.mean((mean - own_mean)[live] ** 2 / own_var[live])), rel=1e-9
    )
    assert found["var_gap"] == pytest.approx(np.mean(np.abs(np.log(bounded))), rel=1e-5)
    at_clip = ((ratio <= clip[0]) | (ratio >= clip[1])) if statistics == "mean_var" else np.zeros_like(ratio)
    assert found["clipped"] == pytest.approx(at_clip.mean(), rel=1e-12)
    assert 0 < at_clip.mean() < 1 or statistics == "mean"
    assert [found[name] for name in ("bins_seen", "bins_trusted", "bins_empty")] == [B - 2, B - 3, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_samples_have_no_variance_to_the_last_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    total = torch.randn(64, 512, dtype=dtype, generator=generator) * 10
    count = torch.ones(64, dtype=dtype)
    count[::2] = 3  # beside bins that do vary
    square = total * total
    square[::2] = total[::2] ** 2 / 3 + 1
    mean, var = moments_(count, total.clone(), square)
    assert torch.equal(mean[1::2], total[1::2])
    assert (var[1::2] == 0).all()
    assert (var[::2] > 0).all()
