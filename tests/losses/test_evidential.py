"""The evidential loss against SciPy's Student-t and against an explicit Bayesian update."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from dir.bins import LabelBins
from dir.losses.evidential import NIG, EvidentialLoss, Prior, evidential_loss, nig_nll, nig_posterior

PRIOR = Prior(1.0, 4.0)


def random(n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    output = torch.cat([output[:, :1], output[:, 1:].exp()], dim=1)
    target = torch.randn(n, generator=generator, dtype=torch.float64)
    return output, target, torch.rand(n, generator=generator, dtype=torch.float64) + 0.5


def test_posterior_is_the_update_by_single_observations() -> None:
    values = np.random.default_rng(0).normal(2, 1.5, 7)
    mean, nu, alpha, beta = PRIOR.mean, 1.0, 2.0, PRIOR.variance
    for value in values:
        beta += nu * (value - mean) ** 2 / (2 * (nu + 1))
        mean = (nu * mean + value) / (nu + 1)
        nu, alpha = nu + 1, alpha + 0.5
    found = nig_posterior(*(torch.tensor(v, dtype=torch.float64) for v in (values.mean(), values.var(), 7.0)), PRIOR)
    np.testing.assert_allclose([v.item() for v in found], [mean, nu, alpha, beta])


def test_likelihood_is_that_of_student_t_and_variance_its_variance() -> None:
    output, target, _ = random()
    nig = nig_posterior(*output.unbind(1), PRIOR)
    mean, nu, alpha, beta = (v.numpy() for v in nig)
    t = stats.t(2 * alpha, loc=mean, scale=np.sqrt(beta * (1 + nu) / (nu * alpha)))
    np.testing.assert_allclose(nig_nll(nig, target).numpy(), -t.logpdf(target.numpy()))
    np.testing.assert_allclose(nig.variance().numpy(), t.var())


def test_student_t_is_the_mixture_over_means_and_variances() -> None:
    nig = NIG(*(torch.tensor(v, dtype=torch.float64) for v in (0.5, 1.3, 2.2, 0.9)))
    y = 1.1

    def density(variance: float) -> float:
        label = stats.norm.pdf(y, 0.5, np.sqrt(variance * (1 + 1 / 1.3)))
        return float(label * stats.invgamma.pdf(variance, 2.2, scale=0.9))

    mixture = integrate.quad(density, 0, np.inf)[0]
    assert nig_nll(nig, torch.tensor(y, dtype=torch.float64)).item() == pytest.approx(-np.log(mixture), rel=1e-6)


def test_the_prior_is_that_of_fit_before_and_after_a_load() -> None:
    output, target, _ = random()
    bins = LabelBins.uniform(-3, 5, 8)
    loss, loaded = EvidentialLoss().fit(target, bins), EvidentialLoss()
    loaded.load_state_dict(loss.state_dict())
    with pytest.raises(RuntimeError, match=r"not fitted.*fit\(targets, bins\)"):
        loaded(output, target)
    loaded.fit(target, bins)
    assert torch.equal(loaded(output, target), loss(output, target))


def test_likelihood_of_much_evidence_does_not_cancel() -> None:
    alpha = torch.tensor([2.5, 1e3, 1.5e5, 1e7])
    nig = NIG(torch.zeros(4), torch.ones(4), alpha, alpha)  # tends to a normal of variance 2
    t = stats.t(2 * alpha.double().numpy(), scale=np.sqrt(2))
    np.testing.assert_allclose(nig_nll(nig, torch.zeros(4)).numpy(), -t.logpdf(0), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_that_of_a_loop(weighted: bool) -> None:
    output, target, weight = random()
    total = 0.0
    for (mean, variance, count), y, w in zip(output.tolist(), target.tolist(), weight.tolist(), strict=True):
        n = count * (w if weighted else 1.0)
        nu, alpha = 1 + n, 2 + n / 2
        gamma = (PRIOR.mean + n * mean) / nu
        beta = PRIOR.variance + n * variance / 2 + n * (mean - PRIOR.mean) ** 2 / (2 * nu)
        total -= stats.t.logpdf(y, 2 * alpha, gamma, np.sqrt(beta * (1 + nu) / (nu * alpha)))
        total += 0.3 * abs(y - gamma) / 2.0 * (nu + 2 * alpha)
    found = evidential_loss(output, target, PRIOR, weight if weighted else None, penalty=0.3)
    assert found.item() == pytest.approx(total / 6)


def test_gradcheck() -> None:
    output, target, weight = random(4)
    assert torch.autograd.gradcheck(lambda x: evidential_loss(x, target, PRIOR, weight), output.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_is_finite_at_the_bounds(dtype: torch.dtype) -> None:
    bound = np.exp(8.0)
    rows = [[1.0, 4 / bound, bound], [1.0, 4 * bound, 1 / bound], [900.0, 4 / bound, bound], [1.0, 0.0, 0.0]]
    output = torch.tensor(rows, dtype=dtype, requires_grad=True)
    value = evidential_loss(output, torch.ones(4), PRIOR)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_float32_agrees_with_float64_for_much_evidence() -> None:
    output = torch.tensor([[1.0, 0.01, 2900.0]], dtype=torch.float64)
    target = torch.tensor([1.1], dtype=torch.float64)
    wide = evidential_loss(output, target, PRIOR)
    assert evidential_loss(output.float(), target.float(), PRIOR).item() == pytest.approx(wide.item(), abs=2e-3)


def test_module_takes_its_prior_from_the_bins() -> None:
    output, target, weight = random()
    loss = EvidentialLoss(penalty=0.2).fit(target, LabelBins.uniform(-3, 5, 4))
    expected = evidential_loss(output, target, Prior(1.0, 4.0), weight, 0.2)
    assert loss(output, target, weight) == expected
    assert "penalty=0.2" in repr(loss)


def test_bad_input() -> None:
    output, target, weight = random()
    with pytest.raises(ValueError, match="penalty"):
        EvidentialLoss(penalty=-1.0)
    with pytest.raises(ValueError, match="penalty"):
        evidential_loss(output, target, PRIOR, penalty=float("nan"))
    with pytest.raises(RuntimeError, match="fit"):
        EvidentialLoss()(output, target)
    with pytest.raises(ValueError, match="output"):
        evidential_loss(output[:, :2], target, PRIOR)
    with pytest.raises(ValueError, match="output"):
        evidential_loss(output, target[:, None], PRIOR)
    with pytest.raises(ValueError, match="weight"):
        evidential_loss(output, target, PRIOR, weight[:, None])
