"""Tests of smoothing windows against published windows, SciPy and closed forms, and of the smoothing matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from dir.kernels import kernel_window, smoothing_matrix

NAMES = {"gaussian": "gaussian", "triang": "triangular", "laplace": "laplace"}
CASES = [(3, 1), (5, 1), (5, 2), (9, 1), (9, 2), (15, 3)]


@pytest.mark.parametrize(("size", "sigma"), CASES)
@pytest.mark.parametrize("kernel", NAMES)
def test_published_windows(golden, kernel: str, size: int, sigma: int) -> None:
    z = golden("lds_weights.npz", key=f"kernel/lds/{kernel}/ks{size}_s{sigma}")
    case = f"{kernel}/ks{size}_s{sigma}"
    lds = kernel_window(NAMES[kernel], size, float(sigma), normalize="max")
    fds = kernel_window(NAMES[kernel], size, float(sigma), normalize="sum")
    np.testing.assert_allclose(lds.numpy(), z[f"kernel/lds/{case}"], rtol=1e-9)
    np.testing.assert_allclose(fds.numpy(), z[f"kernel/fds/{case}"], rtol=1e-6)


def test_the_published_gaussian_is_nearly_a_box_and_not_the_true_gaussian() -> None:
    published = kernel_window("gaussian", 5, 2.0)
    assert [round(value, 3) for value in published.tolist()] == [0.858, 0.946, 1.0, 0.946, 0.858]
    exact = kernel_window("exact_gaussian", 5, 2.0)
    assert [round(value, 3) for value in exact.tolist()] == [0.607, 0.882, 1.0, 0.882, 0.607]


def test_lds_windows_are_normalised_by_their_maximum_and_fds_windows_by_their_sum() -> None:
    for kernel in ("gaussian", "exact_gaussian", "triangular", "laplace"):
        assert float(kernel_window(kernel, 7, 1.5, normalize="max").max()) == 1.0
        assert float(kernel_window(kernel, 7, 1.5, normalize="sum").sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [1, 3, 9, 21])
@pytest.mark.parametrize("kernel", ["gaussian", "exact_gaussian", "triangular", "laplace"])
def test_windows_agree_with_scipy(oracle, kernel: str, size: int) -> None:
    expected = oracle.window(kernel, size, 1.7)
    actual = kernel_window(kernel, size, 1.7)
    assert actual.shape == (size,)
    np.testing.assert_allclose(actual.numpy(), expected / expected.max(), rtol=1e-12)


def test_the_triangular_window_ignores_sigma() -> None:
    assert torch.equal(kernel_window("triangular", 9, 1.0), kernel_window("triangular", 9, 7.0))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("kernel_size", ("gaussian", 4, 2.0)),
        ("kernel_size", ("gaussian", 0, 2.0)),
        ("kernel_size", ("gaussian", -3, 2.0)),
        ("kernel_size", ("gaussian", 2.5, 2.0)),
        ("sigma", ("gaussian", 5, 0.0)),
        ("sigma", ("laplace", 5, float("nan"))),
        ("kernel", ("boxcar", 5, 2.0)),
    ],
)
def test_bad_arguments_are_value_errors_naming_the_argument(name: str, arguments: tuple) -> None:
    with pytest.raises(ValueError, match=name):
        kernel_window(*arguments)
    with pytest.raises(ValueError, match="normalize"):
        kernel_window("gaussian", 5, 2.0, normalize="none")


@pytest.mark.parametrize("num_bins", [1, 2, 4, 12])
@pytest.mark.parametrize("size", [1, 5, 15])
def test_the_smoothing_matrix_is_a_convolution_with_zeros_outside(num_bins: int, size: int) -> None:
    window = kernel_window("laplace", size, 1.3)
    values = np.random.default_rng(0).normal(size=num_bins)
    actual = smoothing_matrix(window, num_bins).numpy() @ values
    np.testing.assert_allclose(actual, convolve1d(values, window.numpy(), mode="constant"), rtol=1e-12, atol=1e-15)
