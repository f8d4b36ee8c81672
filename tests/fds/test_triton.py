"""Tests of the Triton kernel against plain operators, in Triton's interpreter on the CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch

from dir.fds import calibration

# Runs in a separate process: Triton reads TRITON_INTERPRET when a kernel is defined.
PROGRAM = """
import json, sys, torch
from dir.fds import _triton as kernel
from dir.fds.calibration import calibrate

torch.manual_seed(0)
found = {}
for name, n, d, dtype, tables, layout in json.loads(sys.argv[1]):
    dtype, tables = getattr(torch, dtype), getattr(torch, tables)
    values = 3 * torch.randn(n, d).to(dtype)
    if layout == "transposed":
        values = 3 * torch.randn(d, n).to(dtype).t()
    elif layout == "sliced":
        values = 3 * torch.randn(2 * n, 3 * d).to(dtype)[::2, ::3]
    elif layout == "expanded":
        values = torch.randn(n, 1).to(dtype).expand(n, d)
    index = torch.randint(0, 8, (n,))
    index[0] = 7
    scale, shift = torch.rand(8, d).to(tables) + 0.5, 100 * torch.randn(8, d).to(tables)
    scale[7], shift[7] = 1.0, 0.0  # labels in no bin pass through
    leaf = values.clone().requires_grad_()
    expected = calibrate(leaf, index, scale, shift)
    upstream = values.flip(0)
    expected.backward(upstream)
    forward = kernel.scaled_rows(values, index, scale, shift)
    backward = kernel.scaled_rows(upstream, index, scale, None)
    # Errors in units of the terms: a difference of two large terms keeps their roundings.
    terms = values.double().abs() * scale[index] + shift[index].abs(), upstream.double().abs() * scale[index]
    found[name] = {}
    for direction, got, want, term in zip(
        ("forward", "backward"), (forward, backward), (expected.detach(), leaf.grad), terms
    ):
        assert got.dtype == want.dtype == dtype and got.shape == want.shape and got.is_contiguous()
        found[name][direction] = ((got.double() - want.double()).abs() / term).max().item()
    found[name]["passed"] = torch.equal(forward[0], values[0])
print(json.dumps(found))
"""

CASES = [
    ("square", 64, 128, "float32", "float32", "plain"),
    ("one value", 1, 1, "float32", "float32", "plain"),
    ("ragged", 37, 100, "float32", "float32", "plain"),
    ("wider than a tile", 5, 1300, "float32", "float32", "plain"),
    ("bfloat16", 37, 100, "bfloat16", "float32", "plain"),
    ("float16", 9, 33, "float16", "float32", "plain"),
    ("float64", 9, 33, "float64", "float32", "plain"),
    ("float64 tables", 9, 33, "float32", "float64", "plain"),
    ("transposed", 37, 100, "float32", "float32", "transposed"),
    ("sliced", 37, 100, "bfloat16", "float32", "sliced"),
    ("expanded", 37, 100, "float32", "float32", "expanded"),
]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(CASES)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_kernel_equals_the_plain_calibration(found: dict[str, dict[str, float]], case: tuple[str, ...]) -> None:
    # A fused multiply-add rounds once, two operators round twice.
    bound = 1.5 * torch.finfo(getattr(torch, case[3])).eps
    result = found[case[0]]
    assert result["forward"] <= bound, result
    assert result["backward"] <= bound, result
    assert result["passed"], "a row of the identity changed"


def test_triton_is_not_imported_without_a_gpu() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, torch; had = 'triton' in sys.modules; from dir import FDS, LabelBins\n"
            "fds = FDS(2, LabelBins.integers(0, 3)); x = torch.randn(8, 2, requires_grad=True)\n"
            "fds(x, torch.arange(8) % 4).sum().backward(); sys.exit('triton' in sys.modules and not had)",
        ],
        check=False,
    )
    assert done.returncode == 0


class Interpreted(torch.Tensor):
    """A tensor subclass that reports is_cuda, which the kernel must not accept."""

    is_cuda = True  # type: ignore[assignment]


def test_a_tensor_subclass_uses_plain_operators() -> None:
    pytest.importorskip("triton")
    features = torch.randn(4, 3).as_subclass(Interpreted)
    index, scale, shift = torch.tensor([0, 1, 1, 0]), torch.rand(2, 3), torch.rand(2, 3)
    assert calibration._fused(features, index, scale, shift) is None
    found = calibration.calibrate(features, index, scale, shift).as_subclass(torch.Tensor)
    torch.testing.assert_close(found, features.as_subclass(torch.Tensor) * scale[index] + shift[index])
