"""Balanced MSE: golden values and gradients, SciPy densities, and what sigma does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.losses.balanced_mse import BMC, bmc
from dir.losses.balanced_mse_bni import BNI, bni
from dir.losses.balanced_mse_gai import GAI, gai

Golden = Callable[..., dict[str, np.ndarray]]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
RTOL = 1e-9


def mixture(arrays: dict[str, np.ndarray], prefix: str) -> list[Tensor]:
    return [torch.from_numpy(arrays[f"{prefix}/gmm_{name}"]) for name in ("means", "weights", "variances")]


def check_golden(arrays: dict[str, np.ndarray], data: str, case: str, loss: Loss) -> None:
    sigma_value = float(case.split("sigma")[1])
    pred = torch.from_numpy(arrays[f"{data}/pred"]).requires_grad_()
    sigma = torch.tensor(sigma_value, dtype=torch.float64, requires_grad=True)
    value = loss(pred, torch.from_numpy(arrays[f"{data}/target"]), sigma)
    value.backward()
    assert pred.grad is not None
    assert sigma.grad is not None
    prefix = f"{data}/{case}"
    np.testing.assert_allclose(value.item(), arrays[f"{prefix}/value"], rtol=RTOL)
    np.testing.assert_allclose(pred.grad.numpy(), arrays[f"{prefix}/grad_pred"], rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(sigma.grad.item(), arrays[f"{prefix}/grad_sigma"], rtol=RTOL)


@pytest.mark.parametrize(
    ("data", "sigma"), [("bmse", 1.0), ("bmse", 4.0), ("bmse", 8.0), ("bmse_md", 1.0), ("bmse_md", 2.0)]
)
def test_bmc_golden(golden: Golden, data: str, sigma: float) -> None:
    arrays = golden("balanced_mse.npz", key=f"{data}/bmc/sigma{sigma}/value")
    check_golden(arrays, data, f"bmc/sigma{sigma}", bmc)


@pytest.mark.parametrize("components", ["K8", "K2"])
@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_gai_golden(golden: Golden, components: str, sigma: float) -> None:
    arrays = golden("balanced_mse.npz", key=f"bmse/gai/{components}/gmm_means")
    given = mixture(arrays, f"bmse/gai/{components}")
    check_golden(arrays, "bmse", f"gai/{components}/sigma{sigma}", lambda p, t, s: gai(p, t, s, *given))


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_gai_golden_several_targets(golden: Golden, sigma: float) -> None:
    arrays = golden("balanced_mse.npz", key="bmse_md/gai/gmm_means")
    given = mixture(arrays, "bmse_md/gai")
    check_golden(arrays, "bmse_md", f"gai/sigma{sigma}", lambda p, t, s: gai(p, t, s, *given))


@pytest.mark.parametrize("histogram", ["raw", "lds_gaussian_ks5_s2"])
@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_bni_golden(golden: Golden, histogram: str, sigma: float) -> None:
    arrays = golden("balanced_mse.npz", key=f"bmse/bni/{histogram}/bucket_centers")
    centers, weights = (torch.from_numpy(arrays[f"bmse/bni/{histogram}/bucket_{k}"]) for k in ("centers", "weights"))
    check_golden(arrays, "bmse", f"bni/{histogram}/sigma{sigma}", lambda p, t, s: bni(p, t, s, centers, weights))


def draw(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return target + torch.randn(*shape, generator=generator, dtype=torch.float64), target


MEANS = torch.tensor([[0.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
SHARES = torch.tensor([0.7, 0.3], dtype=torch.float64)
COVARIANCES = torch.tensor([[[2.0, 0.6], [0.6, 1.0]], [[1.0, -0.3], [-0.3, 0.5]]], dtype=torch.float64)
CENTERS = torch.linspace(-4, 4, 9, dtype=torch.float64)
BIN_SHARES = torch.tensor([0, 1, 2, 6, 4, 3, 0, 1, 1], dtype=torch.float64) / 18


def test_bmc_is_the_cross_entropy_of_densities() -> None:
    pred, target = draw(11, 3)
    density = np.array(
        [[multivariate_normal.logpdf(t, p, 0.7**2) for t in target.numpy()] for p in pred.numpy()],
    )
    expected = 2 * 0.7**2 * np.mean(logsumexp(density, axis=1) - density.diagonal())
    assert bmc(pred, target, 0.7).item() == pytest.approx(expected, rel=1e-12)


def test_gai_is_the_log_ratio_of_densities() -> None:
    pred, target = draw(11, 2)
    own = np.array(
        [multivariate_normal.logpdf(t, p, 0.49) for p, t in zip(pred.numpy(), target.numpy(), strict=True)]
    )
    parts = [
        np.log(share) + multivariate_normal.logpdf(pred.numpy(), mean, covariance + 0.49 * np.eye(2))
        for share, mean, covariance in zip(SHARES.numpy(), MEANS.numpy(), COVARIANCES.numpy(), strict=True)
    ]
    expected = 2 * 0.49 * np.mean(logsumexp(parts, axis=0) - own)
    assert gai(pred, target, 0.7, MEANS, SHARES, COVARIANCES).item() == pytest.approx(expected, rel=1e-12)


def test_bni_is_the_log_ratio_of_densities() -> None:
    pred, target = draw(11)
    bins = norm.logpdf(pred.numpy()[:, None], CENTERS.numpy(), 0.7)
    with np.errstate(divide="ignore"):
        log_sum = logsumexp(bins + np.log(BIN_SHARES.numpy()), axis=1)
    expected = 2 * 0.49 * np.mean(log_sum - norm.logpdf(target.numpy(), pred.numpy(), 0.7))
    assert bni(pred, target, 0.7, CENTERS, BIN_SHARES).item() == pytest.approx(expected, rel=1e-12)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "bmc": (bmc, (7,)),
    "bmc_md": (bmc, (7, 2)),
    "gai": (lambda p, t, s, w=None: gai(p, t, s, MEANS[:, :1], SHARES, COVARIANCES[:, :1, :1], w), (7,)),
    "gai_md": (lambda p, t, s, w=None: gai(p, t, s, MEANS, SHARES, COVARIANCES, w), (7, 2)),
    "bni": (lambda p, t, s, w=None: bni(p, t, s, CENTERS, BIN_SHARES, w), (7,)),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Callable[..., Tensor], tuple[int, ...]]:
    return CASES[request.param]


def test_gradcheck(case: tuple[Callable[..., Tensor], tuple[int, ...]]) -> None:
    loss, shape = case
    pred, target = draw(*shape)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, 0.8), pred.requires_grad_())


def test_factor_carries_no_gradient(case: tuple[Callable[..., Tensor], tuple[int, ...]]) -> None:
    loss, shape = case
    pred, target = draw(*shape)
    sigma = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    (analytic,) = torch.autograd.grad(loss(pred, target, sigma), sigma)

    def likelihood(value: float) -> float:
        return loss(pred, target, value).item() / (2 * value**2)

    numeric = (likelihood(0.8 + 1e-5) - likelihood(0.8 - 1e-5)) / 2e-5
    assert analytic.item() == pytest.approx(2 * 0.8**2 * numeric, rel=1e-7)


def test_weight_scales_single_terms(case: tuple[Callable[..., Tensor], tuple[int, ...]]) -> None:
    loss, shape = case
    pred, target = draw(*shape)
    weight = torch.rand(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    terms = torch.stack([loss(pred, target, 0.8, torch.eye(7, dtype=torch.float64)[i]) for i in range(7)])
    torch.testing.assert_close(loss(pred, target, 0.8, weight), (weight * terms).sum())
    torch.testing.assert_close(loss(pred, target, 0.8, weight[:, None]), (weight * terms).sum())
    torch.testing.assert_close(loss(pred, target, 0.8), terms.sum())


def test_one_column_is_no_column() -> None:
    pred, target = draw(7)
    for name in ("bmc", "gai", "bni"):
        loss = CASES[name][0]
        torch.testing.assert_close(loss(pred[:, None], target[:, None], 0.8), loss(pred, target, 0.8))


def test_correlated_targets_are_told_apart() -> None:
    pred, target = draw(7, 2)
    flat = torch.diag_embed(COVARIANCES.diagonal(dim1=1, dim2=2))
    full = gai(pred, target, 0.8, MEANS, SHARES, COVARIANCES)
    assert abs(full - gai(pred, target, 0.8, MEANS, SHARES, flat)) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("equal", [False, True])
def test_gradient_is_finite(
    case: tuple[Callable[..., Tensor], tuple[int, ...]], n: int, equal: bool, dtype: torch.dtype
) -> None:
    loss, shape = case
    if loss is bmc and n == 1:
        pytest.skip("bmc refuses a batch of one")
    pred, target = draw(n, *shape[1:])
    pred = (torch.zeros_like(pred) if equal else 100 * pred).to(dtype).requires_grad_()
    target = (torch.zeros_like(target) if equal else target).float()
    sigma = torch.tensor(0.1, requires_grad=True)
    value = loss(pred, target, sigma)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert pred.grad is not None
    assert pred.grad.dtype == dtype
    assert torch.isfinite(pred.grad).all()
    assert sigma.grad is None or torch.isfinite(sigma.grad)
    if n == 0:
        assert value == 0


def test_autocast_keeps_single_precision(case: tuple[Callable[..., Tensor], tuple[int, ...]]) -> None:
    loss, shape = case
    pred, target = (rows.float() for rows in draw(*shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(pred, target, 0.8)
    torch.testing.assert_close(inside, loss(pred, target, 0.8))


def test_small_sigma_is_no_correction_and_large_sigma_has_no_curvature() -> None:
    pred, target = draw(7)
    plain = (pred - target).square().mean()
    bins = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    broad = norm.pdf(bins.numpy(), 0, 2)
    # sigma log p vanishes; the rest beside the squared error is a constant, of the histogram's spacing.
    for near in (
        bni(pred, target, 0.02, bins, torch.from_numpy(broad)),
        gai(pred, target, 0.02, MEANS[:, :1], SHARES, COVARIANCES[:, :1, :1]),
    ):
        assert near.item() == pytest.approx(plain.item(), abs=0.02)
    nearest = (pred[:, None] - target[None]).square().min(dim=1).values
    expected = ((pred - target).square() - nearest).mean().item()
    assert bmc(pred, target, 1e-3).item() == pytest.approx(expected, abs=1e-4)
    far = pred.clone().requires_grad_()
    bmc(far, target, 1e4).backward()
    torch.testing.assert_close(far.grad, 2 * (target.mean() - target) / 7, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["bmc", "gai", "bni"])
def test_it_takes_out_the_lean_towards_frequent_labels(kind: str) -> None:
    """Skewed labels seen through noise: least squares shrinks towards frequent labels, Balanced MSE does not."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2000, generator=generator)  # crowded about 0
    seen = target + torch.randn(2000, generator=generator)  # as much noise as spread: the plain slope is 1/2
    criterion: nn.Module = {"bmc": BMC, "gai": GAI, "bni": BNI}[kind](init_noise_sigma=1.0)
    if not isinstance(criterion, BMC):
        criterion.fit(target, LabelBins.uniform(-4, 4, 80))  # type: ignore[operator]
    slope = torch.tensor(0.5, requires_grad=True)
    optimizer = torch.optim.Adam([slope, *criterion.parameters()], lr=0.05)
    for _ in range(150):
        rows = torch.randint(0, 2000, (256,), generator=generator)
        optimizer.zero_grad()
        criterion(slope * seen[rows], target[rows]).backward()
        optimizer.step()
    assert slope.item() == pytest.approx(1.0, abs=0.1)
    assert criterion.sigma.item() == pytest.approx(1.0, abs=0.15)
