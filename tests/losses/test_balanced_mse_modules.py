"""The modules of Balanced MSE: sigma, fits, state, arguments, devices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.losses.balanced_mse import BMC, bmc
from dir.losses.balanced_mse_bni import BNI, bni
from dir.losses.balanced_mse_gai import GAI, gai

Golden = Callable[..., dict[str, np.ndarray]]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


# Two components of two targets.
MIXTURE = torch.zeros(2, 2), torch.tensor([0.75, 0.25]), torch.eye(2).repeat(2, 1, 1)


def test_sigma_is_learned_and_positive() -> None:
    loss = BMC(init_noise_sigma=2.0)
    assert [name for name, p in loss.named_parameters() if p.requires_grad] == ["log_scale"]
    with torch.no_grad():
        loss.log_scale.fill_(-50.0)
    assert 0 < loss.sigma.item() < 1e-20
    fixed = BMC(init_noise_sigma=2.0, learnable=False)
    assert not any(p.requires_grad for p in fixed.parameters())
    assert fixed.sigma.item() == 2.0


def test_casts_do_not_narrow_state() -> None:
    loss = GAI.from_mixture(*MIXTURE).half()
    assert loss.means.dtype == torch.float64
    assert loss.log_scale.dtype == torch.float32


def test_gai_fits_the_mixture(golden: Golden) -> None:
    labels = torch.from_numpy(golden("denseweight.npz", key="denseweight/agedb/y")["denseweight/agedb/y"])
    arrays = golden("balanced_mse.npz", key="bmse/gai/K8/gmm_means")
    loss = GAI(num_components=8).fit(labels)
    assert loss.means.shape == (8, 1)
    assert loss.variances.shape == (8, 1, 1)
    pred, target = (torch.from_numpy(arrays[f"bmse/{name}"]) for name in ("pred", "target"))
    ours = gai(pred, target, 5.0, loss.means, loss.weights, loss.variances)
    assert ours.item() == pytest.approx(float(arrays["bmse/gai/K8/sigma5.0/value"]), rel=1e-3)


def test_gai_fits_several_targets_the_same_way_twice() -> None:
    target = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = (GAI(num_components=3).fit(target) for _ in range(2))
    torch.testing.assert_close(first.means, second.means, rtol=0, atol=0)
    assert first.variances.shape == (3, 2, 2)
    mean = (first.weights[:, None] * first.means).sum(dim=0)
    torch.testing.assert_close(mean, target.mean(dim=0), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(first(target[:5], target[:5] + 1))


def test_bni_fits_the_histogram(golden: Golden) -> None:
    labels = torch.from_numpy(golden("denseweight.npz", key="denseweight/agedb/y")["denseweight/agedb/y"])
    arrays = golden("balanced_mse.npz", key="bmse/bni/raw/bucket_centers")
    pred, target = (torch.from_numpy(arrays[f"bmse/{name}"]) for name in ("pred", "target"))
    bins = LabelBins.integers(0, 120)
    raw = BNI(init_noise_sigma=5.0).fit(labels, bins)
    held = raw.weights > 0
    np.testing.assert_allclose(raw.centers[held].numpy(), arrays["bmse/bni/raw/bucket_centers"])
    np.testing.assert_allclose(raw.weights[held].numpy(), arrays["bmse/bni/raw/bucket_weights"], rtol=1e-12)
    assert raw(pred, target).item() == pytest.approx(float(arrays["bmse/bni/raw/sigma5.0/value"]), rel=1e-9)
    smooth = BNI(init_noise_sigma=5.0, kernel="gaussian").fit(labels, bins)
    counts = np.bincount(labels.numpy().astype(int), minlength=121)
    expected = np.convolve(counts, [0.8582852, 0.9458276, 1.0, 0.9458276, 0.8582852], "same")
    np.testing.assert_allclose(smooth.weights.numpy(), expected / expected.sum(), rtol=1e-6)
    # The published counts are truncated to integers after this.
    published = float(arrays["bmse/bni/lds_gaussian_ks5_s2/sigma5.0/value"])
    assert smooth(pred, target).item() == pytest.approx(published, rel=3e-3)
    assert smooth(pred, target).item() != pytest.approx(raw(pred, target).item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["bmc", "gai", "bni"])
def test_state_round_trip(kind: str) -> None:
    pred, target = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    made: dict[str, Callable[[], nn.Module]] = {
        "bmc": lambda: BMC(3.0),
        "gai": lambda: GAI(3.0, num_components=2).fit(target),
        "bni": lambda: BNI(3.0).fit(target, LabelBins.uniform(-6, 6, 24)),
    }
    empty: dict[str, Callable[[], nn.Module]] = {"bmc": BMC, "gai": GAI, "bni": BNI}
    loss, other = made[kind](), empty[kind]()
    with torch.no_grad():
        loss.get_parameter("log_scale").fill_(0.3)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(pred, target), loss(pred, target), rtol=0, atol=0)
    assert other.sigma.item() == pytest.approx(3 * math.exp(0.3))
    assert "init_noise_sigma=3" in repr(other)


def test_wrong_order() -> None:
    for loss in (GAI(), BNI()):
        with pytest.raises(RuntimeError, match=r"not fitted.*fit\(targets, bins\)"):
            loss(torch.zeros(2), torch.zeros(2))
        assert "fitted=False" in repr(loss)


def test_bad_arguments() -> None:
    ok = torch.zeros(3)
    means, shares, covariances = MIXTURE
    centers = torch.arange(3.0)
    for loss in (BMC(), GAI.from_mixture(means[:, :1], shares, covariances[:, :1, :1])):
        with pytest.raises(ValueError, match=r"pred: .*got \["):
            loss(ok, torch.zeros(3, 1))
        with pytest.raises(ValueError, match=r"pred: .*got \["):
            loss(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
        with pytest.raises(ValueError, match=r"weight: .*got \["):
            loss(ok, ok, torch.ones(2))
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="sigma"):
            bmc(ok, ok, value)
        for made in (BMC, GAI, BNI):
            with pytest.raises(ValueError, match="init_noise_sigma"):
                made(init_noise_sigma=value)
    with pytest.raises(ValueError, match=r"means, weights, variances: .*got"):
        gai(ok, ok, 1.0, *MIXTURE)
    with pytest.raises(ValueError, match=r"pred: expected one target.*got \["):
        bni(torch.zeros(3, 2), torch.zeros(3, 2), 1.0, centers, torch.ones(3) / 3)
    with pytest.raises(ValueError, match=r"centers, weights: .*got"):
        bni(ok, ok, 1.0, centers, torch.ones(2) / 2)
    with pytest.raises(ValueError, match="num_components"):
        GAI(num_components=0)
    with pytest.raises(ValueError, match="num_components"):
        GAI(num_components=3).fit(torch.tensor([1.0, 1.0, 2.0, 2.0]))
    with pytest.raises(ValueError, match=r"targets: .*finite.*got nan"):
        GAI(num_components=1).fit(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match=r"weights: .*sum 1, got \["):
        GAI.from_mixture(means, 2 * shares, covariances)
    with pytest.raises(ValueError, match="kernel_size"):
        BNI(kernel="gaussian", kernel_size=4)
    with pytest.raises(ValueError, match="targets: "):
        BNI().fit(torch.tensor([9.0]), LabelBins.uniform(0, 1, 2, out_of_range="exclude"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_the_device() -> None:
    target = torch.randn(64, 1, device="cuda")
    pred = (target + 0.1).requires_grad_()
    losses = [BMC(), GAI(num_components=2).fit(target), BNI().fit(target.flatten(), LabelBins.uniform(-4, 4, 9))]
    losses = [loss.cuda() for loss in losses]
    try:
        torch.cuda.set_sync_debug_mode("error")
        for loss in losses:
            loss(pred, target, torch.ones_like(target)).backward()
        bmc(pred, target, 0.5).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(pred.grad).all()
