"""The histogram loss, against cross-entropy, gradcheck and an independent package where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dir import LabelBins
from dir.cells import LabelCells, log_cell_mass
from dir.losses import HistogramLoss, histogram_loss

BINS = LabelBins.uniform(0, 10, 10)


def test_the_loss_is_the_cross_entropy_of_the_soft_histogram() -> None:
    logits, position = torch.randn(7, 12).double(), torch.linspace(0.5, 11.5, 7).double()
    log_target = log_cell_mass(position, 12, 0.9)
    expected = F.cross_entropy(logits, log_target.exp())
    torch.testing.assert_close(histogram_loss(logits, log_target), expected)
    weight = torch.rand(7).double()
    each = F.cross_entropy(logits, log_target.exp(), reduction="none")
    torch.testing.assert_close(histogram_loss(logits, log_target, weight), (weight * each).mean())


def test_a_narrow_sigma_gives_the_cross_entropy_of_the_cell() -> None:
    loss = HistogramLoss(num_cells=50, sigma=1e-4, scale="even").fit(torch.tensor([5.0]), BINS)
    logits, target = torch.randn(6, 50), torch.tensor([0.33, 1.71, 4.45, 6.13, 8.87, 9.91])
    index = (target / 10 * (50 - 6e-4)).long()
    torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, index), rtol=1e-4, atol=1e-4)


def test_gradients_are_right() -> None:
    logits = torch.randn(4, 30, dtype=torch.float64, requires_grad=True)
    loss = HistogramLoss(num_cells=30, sigma=2.0, loss_power=0.5).fit(torch.rand(40) * 10, BINS)
    target = torch.tensor([0.1, 3.0, 7.7, 14.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: loss(z, target, torch.tensor([1.0, 2.0, 0.5, 1.0])), (logits,))


def test_it_agrees_with_an_independent_package() -> None:
    package = pytest.importorskip("hl_gauss_pytorch")
    layer = package.HLGaussLoss(min_value=0.0, max_value=10.0, num_bins=20, sigma=0.8)
    cells = LabelCells(BINS, num_cells=20, sigma=0.8 / 0.5, reach=0.0, scale="even")
    target = torch.rand(9, generator=torch.Generator().manual_seed(0)) * 10
    ours, theirs = (torch.randn(9, 20, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    mine, other = histogram_loss(ours, cells(target)), layer(theirs, target)
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    mine.backward()
    other.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_a_loss_power_is_undone_by_the_density() -> None:
    """The best logits with the density in the loss are those without, less a * log(density)."""
    labels = torch.rand(200, generator=torch.Generator().manual_seed(0)) * 10
    plain = HistogramLoss(num_cells=30, sigma=2.0).fit(labels, BINS)
    adjusted = HistogramLoss(num_cells=30, sigma=2.0, loss_power=0.7).fit(labels, BINS)
    logits = torch.randn(5, 30)
    shifted = logits - 0.7 * adjusted.prior.log_density.float()
    torch.testing.assert_close(adjusted(shifted, labels[:5]), plain(logits, labels[:5]))


def test_labels_outside_the_grid_have_finite_losses_and_gradients() -> None:
    logits = torch.zeros(3, 30, requires_grad=True)
    loss = HistogramLoss(num_cells=30, sigma=1.0).fit(torch.tensor([5.0, 6.0]), BINS)
    value = loss(logits, torch.tensor([-500.0, 5.0, 9000.0]))
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(logits.grad).all())


def test_an_empty_batch_gives_zero_and_half_precision_gives_float32() -> None:
    loss = HistogramLoss(num_cells=30, sigma=1.0).fit(torch.tensor([5.0, 6.0]), BINS)
    empty = torch.zeros(0, 30, requires_grad=True)
    value = loss(empty, torch.zeros(0))
    value.backward()
    assert value.item() == 0
    assert loss(torch.zeros(2, 30, dtype=torch.bfloat16), torch.tensor([1.0, 2.0])).dtype == torch.float32


def test_misuse_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match="HistogramLoss is not fitted"):
        HistogramLoss()(torch.zeros(2, 100), torch.zeros(2))
    loss = HistogramLoss(num_cells=30, sigma=1.0).fit(torch.tensor([5.0, 6.0]), BINS)
    with pytest.raises(ValueError, match=r"output.*\[2, 29\]"):
        loss(torch.zeros(2, 29), torch.zeros(2))
    with pytest.raises(ValueError, match=r"weight.*\[3\]"):
        loss(torch.zeros(2, 30), torch.zeros(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"loss_power.*got -1"):
        HistogramLoss(loss_power=-1)


def test_state_survives_a_round_trip() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).exponential(2, 500)).clamp(max=10)
    fitted = HistogramLoss(loss_power=0.5, scale="log").fit(labels, BINS)
    other = HistogramLoss(loss_power=0.5, scale="log").fit(torch.tensor([1.0, 5.0]), BINS)
    other.load_state_dict(fitted.state_dict())
    # 1 and 5 are labels that the other loss was fitted on, over other cells.
    logits, target = torch.randn(5, 100), torch.tensor([0.5, 2.0, 9.0, 1.0, 5.0])
    assert torch.equal(other(logits, target), fitted(logits, target))
    assert torch.equal(other(logits[3:], target[3:]), fitted(logits[3:], target[3:]))


def test_training_labels_have_the_loss_of_any_other_label() -> None:
    """Kept and computed soft histograms give the same values and gradients, also with weights."""
    labels = torch.rand(300, generator=torch.Generator().manual_seed(0)) * 10
    loss = HistogramLoss(num_cells=40, sigma=2.0, loss_power=0.5, scale="log").fit(labels, BINS)
    cells, density = loss.cells, loss.prior.log_density.float()
    assert cells is not None
    target, weight = labels[:64].reshape(2, 32).T.reshape(-1), torch.rand(64)
    for logits in (torch.randn(64, 40), torch.randn(64, 40).bfloat16(), torch.randn(64, 40).double()):
        kept, computed = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        wide = torch.promote_types(logits.dtype, torch.float32)
        expected = histogram_loss(computed.to(wide) + 0.5 * density.to(wide), cells(target), weight)
        value = loss(kept, target, weight)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
        value.backward()
        expected.backward()
        torch.testing.assert_close(kept.grad, computed.grad, rtol=1e-6, atol=1e-9)


def test_training_labels_are_looked_up_and_mixed_labels_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([1.0, 2.0, 2.0, 7.0])
    loss = HistogramLoss(num_cells=30, sigma=1.0).fit(labels, BINS)
    calls = []
    forward = LabelCells.forward
    monkeypatch.setattr(LabelCells, "forward", lambda self, given: calls.append(len(given)) or forward(self, given))
    loss(torch.zeros(3, 30), torch.tensor([7.0, 1.0, 2.0]))
    assert calls == []
    loss(torch.zeros(3, 30), torch.tensor([7.0, 1.5, 2.0]))
    loss(torch.zeros(1, 30), torch.tensor([99.0]))
    assert calls == [3, 1]


def test_many_distinct_labels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.rand(50) * 10
    kept = HistogramLoss(num_cells=30, sigma=1.0).fit(labels, BINS)
    monkeypatch.setattr("dir.losses.histogram._SoftHistograms.MAX_NUMBERS", 50 * 30 - 1)
    computed = HistogramLoss(num_cells=30, sigma=1.0).fit(labels, BINS)
    assert kept._known is not None
    assert computed._known is not None
    assert (len(kept._known.labels), len(computed._known.labels)) == (50, 0)
    logits = torch.randn(50, 30)
    torch.testing.assert_close(computed(logits, labels), kept(logits, labels), rtol=1e-6, atol=0)
