"""Tests of a training step that need a GPU: no wait, capture in a CUDA graph, determinism, the fused kernel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.fds import FDS, calibration
from dir.lds import LDS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

N, D, B = 256, 384, 100


def parts() -> tuple[FDS, LDS, Tensor, Tensor]:
    """Return layers with one closed epoch on the GPU, features and labels."""
    generator = torch.Generator().manual_seed(0)
    bins = LabelBins.integers(0, B - 1)
    labels = torch.randint(0, B, (N,), generator=generator).float()
    features = torch.randn(N, D, generator=generator) + labels[:, None] / 10
    fds, lds = FDS(D, bins).cuda(), LDS(bins).fit(labels).cuda()
    labels, features = labels.cuda(), features.cuda().requires_grad_()
    fds(features, labels)
    fds.end_epoch()
    return fds, lds, features, labels


def step(fds: FDS, lds: LDS, features: Tensor, labels: Tensor) -> Tensor:
    features.grad = None
    loss = (fds(features, labels).square().mean(1) * lds(labels)).mean()
    loss.backward()
    return loss.detach()


def test_a_step_never_waits_for_the_device() -> None:
    setup = parts()
    step(*setup)  # kernels are compiled and loaded here
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(*setup)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_can_be_captured_and_replayed_as_a_cuda_graph() -> None:
    fds, lds, features, labels = parts()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(fds, lds, features, labels)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(fds, lds, features, labels)
    fds.sums.clear()
    for _ in range(2):  # a second batch through the same graph
        with torch.no_grad():
            features.add_(1.0)
            labels.copy_(labels.flip(0))
        graph.replay()
        replayed, gradient, count = captured.clone(), features.grad.clone(), fds.sums.count.clone()
        total = fds.sums.total.clone()
        again = FDS(D, fds.bins).cuda()
        again.load_state_dict(fds.state_dict())
        again.sums.clear()
        expected = step(again, lds, leaf := features.detach().clone().requires_grad_(), labels)
        torch.testing.assert_close(replayed, expected)
        torch.testing.assert_close(gradient, leaf.grad)
        torch.testing.assert_close(count, again.sums.count)
        torch.testing.assert_close(total, again.sums.total)
        fds.sums.clear()


def test_deterministic_mode_is_bit_identical_in_two_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch asks for there
    torch.use_deterministic_algorithms(True)
    try:
        found = []
        for _ in range(2):
            fds, lds, features, labels = parts()
            labels[::2] = 30.0
            loss = step(fds, lds, features, labels)
            fds.end_epoch()
            found.append((loss, features.grad.clone(), fds.running_mean.clone(), fds.running_var.clone()))
    finally:
        torch.use_deterministic_algorithms(False)
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)


def test_sums_under_label_skew_equal_those_on_the_cpu() -> None:
    fds, _, features, labels = parts()
    labels[: N // 2] = 30.0
    here = FDS(D, LabelBins.integers(0, B - 1))
    with torch.no_grad():
        fds.sums.add(features, labels, fds.bins(labels))
        here.sums.add(features.cpu(), labels.cpu(), here.bins(labels.cpu()))
    torch.testing.assert_close(fds.sums.count.cpu(), here.sums.count)
    torch.testing.assert_close(fds.sums.total.cpu(), here.sums.total, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(fds.sums.square.cpu(), here.sums.square, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (37, 100), (300, 1300)])
def test_the_fused_kernel_agrees_with_the_cpu(dtype: torch.dtype, n: int, d: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values, upstream = torch.randn(2, n, d, generator=generator).to(dtype)
    index = torch.randint(0, 8, (n,), generator=generator)
    scale, shift = torch.rand(2, 8, d, generator=generator) + 0.5
    found = []
    for device in ("cpu", "cuda"):
        leaf = values.to(device).requires_grad_()
        arguments = [part.to(device) for part in (index, scale, shift)]
        if device == "cuda" and calibration._triton_kernel() is not None:
            assert calibration._fused(leaf.detach(), *arguments) is not None, "the kernel was not used"
        out = calibration.calibrate(leaf, *arguments)
        out.backward(upstream.to(device))
        assert leaf.grad is not None
        found.append((out.detach().cpu(), leaf.grad.cpu()))
    for cpu, gpu in zip(*found, strict=True):
        torch.testing.assert_close(gpu, cpu)


def test_second_derivatives_use_plain_operators() -> None:
    fds, _, features, labels = parts()
    (first,) = torch.autograd.grad(fds(features, labels).pow(3).sum(), features, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), features)
    rows = fds.scale[fds.bins(labels)]
    with torch.no_grad():
        torch.testing.assert_close(second, 6 * fds(features, labels) * rows.square())
