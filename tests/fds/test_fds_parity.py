"""Tests of each function of FDS against the published code (shared/data/golden/README.md).

Moments are compared in bins that both treat alike: two samples or more in each epoch that saw them, first seen in
the first statistics epoch, and, where a batch of edge labels would decide in the published code, not at the edges.
Smoothing is compared where no border is near, calibration on labels in range.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds import statistics as fs
from dir.fds.calibration import calibrate
from dir.kernels import kernel_window, smoothing_matrix

NAMES = {"gaussian": "gaussian", "triang": "triangular", "laplace": "laplace"}
FILES = {"agedb": "fds_agedb.npz", "sts": "fds_sts.npz"}
CONFIGS = [
    "gaussian_ks5_s2_m0.9",
    "gaussian_ks9_s1_m0.9",
    "triang_ks5_s2_m0.9",
    "triang_ks9_s1_m0.9",
    "laplace_ks5_s2_m0.9",
    "laplace_ks9_s1_m0.9",
    "gaussian_ks5_s2_mNone",
    "laplace_ks9_s1_mNone",
    "startupdate1_startsmooth2_gaussian_ks5_s2_m0.9",
]
CLIP = {"agedb": (0.1, 10.0), "sts": (0.5, 2.0)}


def settings_of(config: str) -> dict:
    """Return the FDS arguments of a name `[startupdate1_startsmooth2_]KERNEL_ksK_sS_mM`."""
    *late, kernel, size, sigma, momentum = config.split("_")
    settings = {
        "kernel": NAMES[kernel],
        "kernel_size": int(size[2:]),
        "sigma": float(sigma[1:]),
        "momentum": None if momentum == "mNone" else float(momentum[1:]),
    }
    if late and late[0] == "startupdate1":
        settings |= {"start_update": 1, "start_smooth": 2}
    return settings


def bins_of(data: str, config: str = "") -> LabelBins:
    if data == "sts":
        return LabelBins.uniform(0.0, 5.0, 50)
    return LabelBins.integers(0 if config.startswith("bucketstart0") else 3, 99)


def epochs_of(z, data: str, count: int):
    """Return (features, labels) per epoch; the files of real labels share one label array."""
    for epoch in range(count):
        labels = z["inputs/labels"] if "inputs/labels" in z else z[f"inputs/epoch{epoch}/labels"]
        yield torch.from_numpy(z[f"inputs/epoch{epoch}/features"]), torch.from_numpy(labels).float()


def compare_epochs(z, data: str, config: str, epochs: int, rtol: float = 1e-6, dtype: str = "f64") -> None:
    """Compare running moments, counts, and the smoothed statistics of the following epoch."""
    kwargs = settings_of(config)
    fds = FDS(z["inputs/epoch0/features"].shape[1], bins_of(data, config), ratio_clip=CLIP[data], **kwargs)
    start, half = kwargs.get("start_update", 0), kwargs["kernel_size"] // 2
    alike = np.ones(fds.bins.num_bins, bool)
    compared_means = compared_windows = 0
    for epoch, (features, labels) in enumerate(epochs_of(z, data, epochs)):
        fds(features, labels)
        fds.end_epoch()
        if epoch < start:
            continue
        count = fds.bins.counts(labels).numpy()
        # The STS variant overwrites bins without samples in an epoch; the age variant does not.
        alike &= (count >= 2) if epoch == start or data == "sts" else (count >= 2) | (count == 0)
        in_range = (labels >= fds.bins.centers[0]) & (labels <= fds.bins.centers[-1])
        if data == "agedb" and not bool(in_range.all()) and epoch > 0:
            alike[[0, -1]] = False
        prefix = f"{dtype}/{config}/common/epoch{epoch}"
        for name in ("running_mean", "running_var"):
            expected = z[f"{prefix}/{name}"]
            np.testing.assert_allclose(
                getattr(fds, name).numpy()[alike], expected[alike], rtol=rtol, atol=rtol * 1e-2, err_msg=name
            )
        tracked = z[f"{prefix}/num_samples_tracked"]
        assert np.array_equal(fds.num_samples.numpy()[alike], tracked[alike])
        compared_means += int(alike.sum())
        later = f"{dtype}/{config}/common/epoch{epoch + 1}"
        if f"{later}/smoothed_mean_last_epoch" not in z:
            continue
        mean, var = fds.smoothed_statistics()
        rows = [i for i in range(half, len(alike) - half) if alike[i - half : i + half + 1].all()]
        compared_windows += len(rows)
        for name, actual in (("mean", mean), ("var", var)):
            expected = z[f"{later}/smoothed_{name}_last_epoch"]
            # The published window is rounded to float32: an error relative to the neighbours, not to the sum.
            atol = rtol * np.abs(expected).max()
            np.testing.assert_allclose(actual.numpy()[rows], expected[rows], rtol=rtol, atol=atol)
    assert compared_means > 50, "too few bins compared to prove anything"
    # The small STS file has no nine neighbouring bins with two or more samples in each epoch.
    wide_and_sparse = half == 4 and len(labels) < 1000 and data == "sts"
    assert wide_and_sparse or compared_windows > 10, "too few windows compared to prove anything"


@pytest.mark.parametrize(
    ("data", "config"),
    [*((data, config) for data in FILES for config in CONFIGS), ("agedb", "bucketstart0_gaussian_ks5_s2_m0.9")],
)
def test_moments_and_smoothing_over_epochs(golden, data: str, config: str) -> None:
    z = golden(FILES[data], key=f"f64/{config}/common/epoch0/running_mean")
    compare_epochs(z, data, config, 4)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("data", FILES)
def test_smoothing_alone_is_the_published_convolution_away_from_the_borders(golden, data: str, config: str) -> None:
    z = golden(FILES[data], key=f"f64/{config}/common/epoch0/running_mean")
    kwargs = settings_of(config)
    window = kernel_window(kwargs["kernel"], kwargs["kernel_size"], kwargs["sigma"], normalize="sum")
    window = window.float().double()  # as the published code rounds it
    num_bins, half = bins_of(data).num_bins, kwargs["kernel_size"] // 2
    matrix = smoothing_matrix(window, num_bins)
    seen = torch.ones(num_bins, dtype=torch.bool)
    compared = 0
    for epoch in range(3):
        # Before start_update nothing was collected, so the published buffers have their initial values.
        for name in ("mean", "var"):
            own = torch.from_numpy(z[f"f64/{config}/common/epoch{epoch}/running_{name}"])
            expected = z[f"f64/{config}/common/epoch{epoch + 1}/smoothed_{name}_last_epoch"]
            if epoch < kwargs.get("start_update", 0):
                continue
            smoothed = (fs.smoothing_kernel(matrix, seen) @ own).numpy()
            inner = slice(half, num_bins - half)
            np.testing.assert_allclose(smoothed[inner], expected[inner], rtol=1e-6, atol=1e-9)
            compared += 1
    assert compared >= 4


def compare_calibration(z, data: str, config: str, kind: str, epochs: int, probe: str, dtype: str) -> None:
    """Compare the pure calibration with published tables: values, and gradients where the file has them."""
    bins = bins_of(data, config)
    first = settings_of(config).get("start_smooth", 1)
    low, high = float(bins.centers[0]), float(bins.centers[-1])
    labels = torch.from_numpy(z[f"inputs/probe_{probe}_labels"]).float()
    inside = ((labels > low) & (labels < high)).numpy() if data == "agedb" else np.ones(len(labels), bool)
    index = bins(labels)
    features = torch.from_numpy(z[f"inputs/probe_{probe}_features"]).double()
    rtol = 1e-6 if dtype == "f64" else 1e-4
    moved = 0.0
    for epoch in range(first, epochs + 1):
        state = f"{dtype}/{config}/{kind}/epoch{epoch - 1}"
        common = f"{dtype}/{config}/common/epoch{epoch - 1}"
        own_mean, own_var = (
            torch.from_numpy(z[f"{state}/running_{name}_last_epoch"]).double() for name in ("mean", "var")
        )
        mean, var = (torch.from_numpy(z[f"{common}/smoothed_{name}_last_epoch"]).double() for name in ("mean", "var"))
        scale, shift = fs.fold_tables(own_mean, mean, *fs.variance_ratio(own_var, var), CLIP[data])
        rows = features.clone().requires_grad_()
        out = calibrate(rows, index, scale, shift)
        expected = z[f"{dtype}/{config}/{kind}/epoch{epoch}/probe_{probe}_out"]
        np.testing.assert_allclose(out.detach().numpy()[inside], expected[inside], rtol=rtol, atol=rtol)
        moved = max(moved, float(np.abs(expected - features.numpy())[inside].max()))
        key = f"{dtype}/{config}/{kind}/epoch{epoch}/probe_{probe}_grad"
        if key in z:
            (out * torch.from_numpy(z[f"inputs/probe_{probe}_cotangent"])).sum().backward()
            np.testing.assert_allclose(rows.grad.numpy()[inside], z[key][inside], rtol=1e-6, atol=1e-9)
    assert moved > 0.1, "the reference calibrated nothing: the comparison proves nothing"


@pytest.mark.parametrize("probe", ["A", "B"])
@pytest.mark.parametrize("kind", ["as_is", "dealiased"])
@pytest.mark.parametrize("config", [*CONFIGS, "bucketstart0_gaussian_ks5_s2_m0.9"])
def test_calibration_with_the_published_age_tables(golden, config: str, kind: str, probe: str) -> None:
    z = golden("fds_agedb.npz", key=f"f64/{config}/{kind}/epoch1/probe_{probe}_out")
    compare_calibration(z, "agedb", config, kind, 4, probe, "f64")


def test_the_golden_files_contain_gradients(golden) -> None:
    z = golden("fds_agedb.npz", key="f64/gaussian_ks5_s2_m0.9/dealiased/epoch1/probe_A_out")
    assert "f64/gaussian_ks5_s2_m0.9/dealiased/epoch4/probe_A_grad" in z


REAL = {
    "agedb": ("fds_agedb_real_labels.npz", "gaussian_ks9_s1_m0.9"),
    "sts": ("fds_sts_real_labels.npz", "gaussian_ks5_s2_m0.9"),
}


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("data", REAL)
def test_moments_and_smoothing_on_real_labels(golden, data: str, dtype: str) -> None:
    name, config = REAL[data]
    rtol = 1e-6 if dtype == "f64" else 2e-4
    compare_epochs(golden(name), data, config, 3, rtol=rtol, dtype=dtype)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("kind", ["as_is", "dealiased"])
@pytest.mark.parametrize("data", REAL)
def test_calibration_on_real_labels(golden, data: str, kind: str, dtype: str) -> None:
    name, config = REAL[data]
    compare_calibration(golden(name), data, config, kind, 3, "A", dtype)
