"""Tests of LDS against weights of the published code, with the tolerances of shared/data/golden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.lds import LDS

NAMES = {"gaussian": "gaussian", "triang": "triangular", "laplace": "laplace"}
REWEIGHT = {"inverse": "inverse", "sqrt_inv": "sqrt_inverse"}
SIZES = {"ks5_s2": (5, 2.0), "ks9_s1": (9, 1.0)}


def published_bins(data: str) -> LabelBins:
    return LabelBins.integers(0, 120) if data == "agedb" else LabelBins.uniform(0.0, 5.0, 50)


def published_clip(data: str, reweight: str) -> tuple[float, float] | None:
    """Return the published clip: 5 to 1000 for ages with inverse frequency, otherwise None."""
    return (5.0, 1000.0) if (data, reweight) == ("agedb", "inverse") else None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("reweight", REWEIGHT)
@pytest.mark.parametrize("data", ["agedb", "sts"])
def test_published_smoothed_weights(golden, data: str, reweight: str, kernel: str, size: str) -> None:
    z = golden("lds_weights.npz", key="agedb/labels")
    prefix = f"{data}/{reweight}/{kernel}/{size}"
    kernel_size, sigma = SIZES[size]
    labels = torch.from_numpy(z[f"{data}/labels"])
    lds = LDS(
        published_bins(data),
        kernel=NAMES[kernel],
        kernel_size=kernel_size,
        sigma=sigma,
        reweight=REWEIGHT[reweight],
        clip=published_clip(data, reweight),
    ).fit(labels)
    np.testing.assert_allclose(lds(labels.double()).numpy(), z[f"{prefix}/weights_float"], rtol=1e-9)
    np.testing.assert_allclose(lds(labels.float()).numpy(), z[f"{prefix}/weights_float"], rtol=2e-6)
    np.testing.assert_allclose(lds.density.numpy(), z[f"{prefix}/bin_smoothed_float"], rtol=1e-9)
    assert lds.counts.tolist() == z[f"{data}/bin_counts"].tolist()


@pytest.mark.parametrize("reweight", REWEIGHT)
@pytest.mark.parametrize("data", ["agedb", "sts"])
def test_published_weights_without_smoothing(golden, data: str, reweight: str) -> None:
    z = golden("lds_weights.npz", key="agedb/labels")
    labels = torch.from_numpy(z[f"{data}/labels"])
    lds = LDS(
        published_bins(data), kernel=None, reweight=REWEIGHT[reweight], clip=published_clip(data, reweight)
    ).fit(labels)
    np.testing.assert_allclose(lds(labels).numpy(), z[f"{data}/{reweight}/off/weights"], rtol=2e-6)


@pytest.mark.parametrize("case", ["off", *(f"{kernel}/{size}" for kernel in NAMES for size in SIZES)])
@pytest.mark.parametrize("reweight", REWEIGHT)
def test_published_depth_weights_by_fit_counts_and_symmetric_padding(golden, reweight: str, case: str) -> None:
    z = golden("lds_weights.npz", key="nyud2/train_bucket_num")
    counts = torch.from_numpy(z["nyud2/train_bucket_num"][7:])
    kernel, _, size = case.partition("/")
    kernel_size, sigma = SIZES.get(size, (5, 2.0))
    lds = LDS(
        LabelBins.uniform(0.7, 10.0, 93),
        kernel=NAMES.get(kernel),
        kernel_size=kernel_size,
        sigma=sigma,
        reweight=REWEIGHT[reweight],
        padding="symmetric",
    ).fit_counts(counts)
    centers = torch.arange(7, 100, dtype=torch.float64) / 10 + 0.05
    expected = z[f"nyud2/{reweight}/{case}/bucket_weights"][7:]
    np.testing.assert_allclose(lds(centers).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(lds.weights.numpy(), expected, rtol=1e-5)
