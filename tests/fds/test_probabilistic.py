"""Tests of ProbabilisticFDS against NumPy loops and simulation, and of VIR on generated data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.probabilistic import ProbabilisticFDS, calibrated_variance
from dir.kernels import kernel_window
from dir.losses.evidential import EvidentialLoss
from dir.metrics.functional import ause, interval_coverage
from dir.models.heads_evidential import EvidentialHead


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def closed(share: float = 0.3, **arguments: Any) -> tuple[ProbabilisticFDS, Tensor, Tensor]:
    """Return a layer after one epoch with samples in bins 0 to 3, and one sample in bin 3."""
    fds = ProbabilisticFDS(3, LabelBins.integers(0, 5), share=share, **arguments)
    labels = torch.tensor([0.0] * 9 + [1.0] * 4 + [2.0] * 5 + [3.0])
    features = random(19, 3) + labels[:, None]
    fds(features.requires_grad_(), labels)
    fds.end_epoch()
    return fds, features.detach(), labels


def test_variance_equals_that_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    var, count, scale = np.array([2.0, 0.5, 1.0]), np.array([3, 8, 1]), np.array([0.7, 1.3, 1.0])
    kernel = np.array([[0.6, 0.3, 0.1], [0.25, 0.5, 0.25], [0.1, 0.3, 0.6]])
    found = calibrated_variance(
        torch.from_numpy(var)[:, None],
        torch.from_numpy(count),
        torch.from_numpy(scale)[:, None],
        torch.from_numpy(kernel),
        share=0.4,
    )
    for b in range(3):
        z = rng.normal(0, np.sqrt(0.4 * var[b]), 200_000)
        own = rng.normal(0, np.sqrt(0.4 * var[b] / count[b]), 200_000)
        means = rng.normal(0, np.sqrt(0.4 * var / count), (200_000, 3))
        assert found[b, 0].item() == pytest.approx(np.var(scale[b] * (z - own) + means @ kernel[b]), rel=0.02)


@pytest.mark.parametrize("arguments", [{}, {"count_weighted": True}, {"shrinkage": 4.0}, {"statistics": "mean"}])
def test_tables_equal_those_of_loops(arguments: dict[str, Any]) -> None:
    share = 0.3
    fds, features, labels = closed(share, **arguments)
    z, y = features.double().numpy(), labels.numpy()
    count = np.array([(y == b).sum() for b in range(6)])
    var = np.stack([z[y == b].var(axis=0, ddof=1) if count[b] > 1 else np.full(3, np.nan) for b in range(6)])
    window = kernel_window("gaussian", 5, 2.0, "sum").double().numpy()

    def weights(b: int, bins: list[int], shrink: bool = True) -> dict[int, float]:
        raw = {j: window[j - b + 2] * (count[j] if fds.count_weighted else 1) for j in bins if abs(j - b) <= 2}
        found = {j: w / sum(raw.values()) for j, w in raw.items()}
        if shrink and fds.shrinkage is not None:
            keep = count[b] / (count[b] + fds.shrinkage)
            found = {j: (1 - keep) * w + keep * (j == b) for j, w in found.items()}
        return found

    var[3] = sum(w * var[j] for j, w in weights(3, [0, 1, 2], shrink=False).items())
    np.testing.assert_allclose(fds.smoothed_statistics()[1][3].numpy(), var[3], rtol=1e-5)
    expected = np.zeros((7, 3))
    for b in range(4):
        own = share * var[b]
        lent = sum(w**2 * share * var[j] / count[j] for j, w in weights(b, [0, 1, 2, 3]).items())
        expected[b] = np.sqrt(fds.scale[b].double().numpy() ** 2 * (own + own / count[b]) + lent)
    np.testing.assert_allclose(fds.deviation.numpy(), expected, rtol=1e-5)


def test_mean_equals_fds_and_deviation_equals_the_table() -> None:
    fds, _, _ = closed()
    plain = FDS(3, LabelBins.integers(0, 5))
    state = {key: value for key, value in fds.state_dict().items() if key != "deviation"}
    plain.load_state_dict(state)
    labels = torch.tensor([0.0, 3.0, 5.0]).repeat_interleave(4000)
    features = random(3, 3, seed=1).repeat_interleave(4000, dim=0)
    torch.manual_seed(0)
    drawn = fds(features, labels).view(3, 4000, 3)
    torch.testing.assert_close(drawn.mean(1), plain(features, labels).view(3, 4000, 3)[:, 0], rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.std(1), fds.deviation[[0, 3, 5]], rtol=0.05, atol=0)
    assert torch.equal(drawn[2, 0], features[-1])  # a bin never seen


def test_rare_bins_have_larger_deviations() -> None:
    labels = torch.cat([torch.zeros(300), torch.full((3,), 5.0)])
    fds = ProbabilisticFDS(4, LabelBins.integers(0, 5), share=0.2)
    features = random(303, 4)
    features[300:] = features[:3]
    fds(features.requires_grad_(), labels)
    with pytest.warns(UserWarning, match="bins are empty"):
        fds.end_epoch()
    relative = fds.deviation[:-1] / (fds.scale[:-1] * fds.running_var.sqrt())
    assert (relative[5] > relative[0]).all()


@pytest.mark.parametrize("shrinkage", [None, 20.0])
@pytest.mark.parametrize("labels", [[0.0] * 9 + [1.0] * 4 + [2.0], [0.0] * 9 + [5.0]])
def test_noise_has_the_unit_of_the_features(labels: list[float], shrinkage: float | None) -> None:
    deviations = []
    for unit in (1.0, 0.01, 100.0):
        fds = ProbabilisticFDS(3, LabelBins.integers(0, 5), shrinkage=shrinkage)
        fds((unit * random(len(labels), 3)).requires_grad_(), torch.tensor(labels))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # most bins are empty
            fds.end_epoch()
        deviations.append(fds.deviation / unit)
    torch.testing.assert_close(deviations[1], deviations[0])
    torch.testing.assert_close(deviations[2], deviations[0])
    alone = int(labels[-1])  # bin 5 has no trusted bin in its window
    assert bool((deviations[0][alone] > 0).all()) == (alone == 2)


def test_a_dimension_with_variance_zero_gets_no_noise() -> None:
    fds = ProbabilisticFDS(3, LabelBins.integers(0, 5), share=0.5)
    labels = torch.arange(6.0).repeat_interleave(4)
    features = random(24, 3)
    features[4:8, 1] = 2.0
    fds(features.requires_grad_(), labels)
    fds.end_epoch()
    drawn = fds(features, labels)
    still = torch.zeros(24, 3, dtype=torch.bool)
    still[4:8, 1] = True
    assert torch.equal(drawn[still], features[still])
    assert (drawn[~still] != features[~still]).all()


def test_share_zero_equals_fds_and_eval_mode_copies() -> None:
    fds, features, labels = closed(share=0.0)
    assert torch.equal(fds(features, labels), fds(features, labels))
    fds, features, labels = closed()
    assert not torch.equal(fds(features, labels), fds(features, labels))
    assert torch.equal(fds(features), features)
    assert torch.equal(fds.eval()(features, labels), features)


def test_there_is_no_noise_before_smoothing_starts() -> None:
    fds = ProbabilisticFDS(3, LabelBins.integers(0, 5), start_smooth=3)
    labels = torch.arange(6.0).repeat(4)
    for epoch in range(4):
        assert torch.equal(fds(random(24, 3).requires_grad_(), labels), random(24, 3)) == (epoch < 3)
        fds.end_epoch()


def test_dense_features_and_half_precision() -> None:
    fds = ProbabilisticFDS(3, LabelBins.integers(0, 5), share=0.5)
    labels = torch.arange(6.0).repeat(8).view(2, 1, 4, 6)
    features = random(2, 3, 4, 6)
    flat = ProbabilisticFDS(3, LabelBins.integers(0, 5), share=0.5)
    rows = features.movedim(1, -1).reshape(-1, 3)
    fds(features.clone().requires_grad_(), labels)
    flat(rows.clone().requires_grad_(), labels.flatten())
    fds.end_epoch()
    flat.end_epoch()
    torch.manual_seed(0)
    dense = fds(features, labels)
    torch.manual_seed(0)
    torch.testing.assert_close(dense.movedim(1, -1).reshape(-1, 3), flat(rows, labels.flatten()))
    assert flat(rows.bfloat16(), labels.flatten()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("labels", [[0.0, 0.0, 1.0], [3.0], [5.0, 5.0], [float("nan"), 1.0]])
def test_gradient_is_finite(labels: list[float], dtype: torch.dtype) -> None:
    fds, _, _ = closed()
    features = torch.ones(len(labels), 3, dtype=dtype, requires_grad=True)
    fds(features, torch.tensor(labels)).square().sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_state_dict_round_trip_and_reset(tmp_path: Path) -> None:
    fds, features, labels = closed()
    torch.save(fds.state_dict(), tmp_path / "fds.pt")
    other = ProbabilisticFDS(3, LabelBins.integers(0, 5), share=0.3)
    other.load_state_dict(torch.load(tmp_path / "fds.pt", weights_only=True))
    drawn = []
    for layer in (fds, other):
        torch.manual_seed(0)
        drawn.append(layer(features, labels))
    assert torch.equal(*drawn)
    fds.reset()
    assert torch.equal(fds(features, labels), features)
    assert "share=0.3" in repr(other)


def test_bad_share() -> None:
    with pytest.raises(ValueError, match="share"):
        ProbabilisticFDS(3, LabelBins.integers(0, 5), share=-0.1)


def draw(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, skewed labels, and the deviation of their noise, which grows with the input."""
    x = torch.rand(n, 1).square() * 4 - 2
    noise = 0.05 + 0.15 * (x + 2)
    return x, (2 * x + noise * torch.randn(n, 1)).squeeze(1), noise.squeeze(1)


@pytest.mark.parametrize("smoothed", [False, True])
def test_intervals_cover_and_widen_with_the_noise(smoothed: bool) -> None:
    torch.manual_seed(0)
    x, y, _ = draw(3000)
    bins = LabelBins.uniform(-5, 6, 22)
    encoder = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16), torch.nn.ReLU())
    fds = ProbabilisticFDS(16, bins, share=0.1, shrinkage=20.0)
    head, loss = EvidentialHead(16, bins), EvidentialLoss().fit(y, bins)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(30):
        for rows in torch.randperm(3000).split(100):
            features = fds(encoder(x[rows]), y[rows]) if smoothed else encoder(x[rows])
            optimizer.zero_grad()
            loss(head(features), y[rows]).backward()
            optimizer.step()
        if smoothed:
            fds.end_epoch()
    x, y, noise = draw(3000)
    with torch.no_grad():
        output = head(encoder(x))
        prediction, variance = head.predict(output), head.variance(output)
    assert (prediction - 2 * x.squeeze(1)).abs().mean() < 0.1
    for level in (0.8, 0.9, 0.95):
        assert interval_coverage(prediction, variance, y, level).item() == pytest.approx(level, abs=0.06)
    assert torch.corrcoef(torch.stack([variance.sqrt(), noise]))[0, 1] > 0.9
    assert ause(prediction, variance, y) < 0.5 * ause(prediction, torch.ones_like(y), y)


def test_masked_labels_are_ignored_and_get_no_noise() -> None:
    """The oracle is the layer on the other rows alone."""
    features = random(24, 3) + torch.arange(24.0)[:, None] % 4
    labels, mask = torch.arange(24.0) % 4, torch.arange(24) % 5 != 0
    ours, expected = (ProbabilisticFDS(3, LabelBins.integers(0, 5), share=0.3) for _ in range(2))
    holes = labels.masked_fill(~mask, torch.nan)
    ours(features.requires_grad_(), holes, mask)
    expected(features[mask], labels[mask])
    assert ours.end_epoch()["labels_excluded"] == (~mask).sum()
    expected.end_epoch()
    for name in ("scale", "shift", "deviation"):
        assert torch.equal(getattr(ours, name), getattr(expected, name)), name
    drawn = ours(features, holes, mask)
    assert torch.equal(drawn[~mask], features[~mask])
    assert not (drawn[mask] == features[mask]).any()
