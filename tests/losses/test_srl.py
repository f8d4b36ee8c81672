"""SRL: the three terms against NumPy loops, and the surrogate against a dictionary of centres."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.losses.feature_rows import unit_rows
from dir.losses.srl import SRL, centroid_contrast, enveloping, homogeneity

LABELS = torch.tensor([0.0, 0.0, 1.0, 3.0, 3.0, 6.0])  # bins 2, 4, 5 hold nothing


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(**arguments: Any) -> SRL:
    return SRL(**arguments).fit(LABELS, LabelBins.integers(0, 6))


def test_terms_are_those_of_the_loops() -> None:
    centers, points, features = (
        unit_rows(random(4, 3)),
        unit_rows(random(20, 3, seed=1)),
        unit_rows(random(6, 3, seed=2)),
    )
    c, p, z = centers.numpy(), points.numpy(), features.numpy()
    expected = -np.mean([max(float(x @ y) for y in c) for x in p])
    assert enveloping(centers, points).item() == pytest.approx(expected)
    levels = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64)
    steps = [np.sum((c[k + 1] - c[k]) ** 2) / (levels[k + 1] - levels[k]).item() for k in range(3)]
    assert homogeneity(centers, levels).item() == pytest.approx(sum(steps))
    row = torch.tensor([0, 3, 1, 1, 4, 4])  # the last two are left out
    logs = [np.log(np.exp(z[i] @ c[row[i]] / 0.2) / np.exp(c @ z[i] / 0.2).sum()) for i in range(4)]
    assert centroid_contrast(features, centers, row, 0.2).item() == pytest.approx(-np.mean(logs))
    assert centroid_contrast(features, centers, torch.full((6,), 4)).item() == 0


def test_gradcheck_of_the_terms() -> None:
    points, row = unit_rows(random(20, 3, seed=1)), torch.tensor([0, 3, 1, 1, 4, 4])
    levels = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64)
    centers, features = random(4, 3).requires_grad_(), random(6, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: enveloping(unit_rows(c), points), centers)
    assert torch.autograd.gradcheck(lambda c: homogeneity(unit_rows(c), levels), centers)
    assert torch.autograd.gradcheck(
        lambda z, c: centroid_contrast(unit_rows(z), unit_rows(c), row, 0.5), (features, centers)
    )


def test_homogeneity_is_least_at_one_speed() -> None:
    angle = torch.linspace(0, 2, 9, dtype=torch.float64)
    levels = torch.linspace(0, 1, 9, dtype=torch.float64)

    def at(angles: Tensor) -> float:
        return homogeneity(torch.stack([angles.cos(), angles.sin()], dim=1), levels).item()

    assert at(angle) < at(angle + 0.1 * (torch.pi * levels * 4).sin())


def test_surrogate_follows_the_mean_of_each_bin() -> None:
    srl, momentum = made(momentum=0.7), 0.7
    kept: dict[float, np.ndarray] = {}
    batches = [(0, [0, 1, 2]), (1, [3, 4, 5]), (2, [0, 2])], [(3, [0, 3, 5])], [(4, [1, 2, 3])]
    for epoch in batches:
        seen: dict[float, list[np.ndarray]] = {}
        for seed, rows in epoch:
            features = random(6, 4, seed=seed)[: len(rows)].requires_grad_()
            srl(features, LABELS[rows], LABELS[rows])
            for z, y in zip(features.detach().numpy(), LABELS[rows].tolist(), strict=True):
                seen.setdefault(y, []).append(z / np.linalg.norm(z))
        srl.end_epoch()
        for y, values in seen.items():
            mean = np.mean(values, axis=0)
            kept[y] = momentum * kept[y] + (1 - momentum) * mean if y in kept else mean
        np.testing.assert_allclose(srl.centers.numpy(), np.stack([kept[y] for y in (0.0, 1.0, 3.0, 6.0)]), atol=1e-6)


def test_bins_that_the_batch_lacks_come_from_the_surrogate() -> None:
    srl = made(envelope=0.0, homogeneity=1.0, contrast=0.0, weight=2.0)
    first = random(6, 4)
    srl(first.requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    rows = [2, 3]
    features = random(2, 4, seed=1).requires_grad_()
    value = srl(features, LABELS[rows], LABELS[rows])
    unit, now = unit_rows(first).detach(), unit_rows(features).detach()
    trace = [unit[:2].mean(0), now[0], now[1], unit[5]]
    trace = [center / center.norm() for center in trace]
    levels = [0.0, 1 / 6, 3 / 6, 1.0]
    steps = [(trace[k + 1] - trace[k]).square().sum() / (levels[k + 1] - levels[k]) for k in range(3)]
    assert value.item() == pytest.approx(2 * sum(steps).item(), rel=1e-5)
    value.backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0


def test_first_epoch_counts_nothing_and_eval_collects_nothing() -> None:
    srl = made()
    features = random(6, 4).requires_grad_()
    assert srl(features, LABELS, LABELS).item() == 0
    srl.eval()
    with pytest.raises(RuntimeError, match="no samples"):
        made().end_epoch()
    before = copy.deepcopy(srl.sums.total)
    srl(features, LABELS, LABELS)
    assert torch.equal(srl.sums.total, before)


def test_a_bin_never_seen_stands_where_the_nearest_one_does() -> None:
    srl = made()
    rows = [0, 1, 5]
    srl(random(3, 4).requires_grad_(), LABELS[rows], LABELS[rows])
    srl.end_epoch()
    assert srl.seen.tolist() == [True, False, False, True]
    assert torch.equal(srl.centers[1], srl.centers[0])
    assert torch.equal(srl.centers[2], srl.centers[3])


def test_state_dict_round_trip_within_an_epoch(tmp_path: Path) -> None:
    srl = made()
    srl(random(6, 4).requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    srl(random(6, 4, seed=1).requires_grad_(), LABELS, LABELS)
    torch.save(srl.state_dict(), tmp_path / "srl.pt")
    loaded = made()
    loaded.load_state_dict(torch.load(tmp_path / "srl.pt", weights_only=True))
    features = random(6, 4, seed=2)
    for module in (srl, loaded):
        torch.manual_seed(0)
        module.value = module(features.clone().requires_grad_(), LABELS, LABELS).item()
        module.end_epoch()
    assert srl.value == loaded.value != 0
    assert torch.equal(srl.centers, loaded.centers)


def _rank(rank: int, world_size: int) -> Tensor:
    srl = made()
    rows = torch.arange(6)[rank::world_size]
    srl(random(6, 4)[rows].requires_grad_(), LABELS[rows], LABELS[rows])
    srl.end_epoch()
    return srl.centers


def test_ranks_share_one_surrogate(spawn_ranks: Any) -> None:
    srl = made()
    srl(random(6, 4).requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    for centers in spawn_ranks(_rank, 2):
        torch.testing.assert_close(centers, srl.centers)


def _rank_without_a_batch(rank: int, world_size: int) -> Tensor:
    srl = made()
    if rank != 1:
        rows = torch.arange(6)[rank // 2 :: 2]
        srl(random(6, 4)[rows].requires_grad_(), LABELS[rows], LABELS[rows])
    srl.end_epoch()
    # From now on the idle one is like the others.
    srl(random(6, 4, seed=rank).requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    return srl.centers


def _rank_with_nothing_anywhere(rank: int, world_size: int) -> None:
    with pytest.raises(RuntimeError, match="no samples"):
        made().end_epoch()


def test_an_idle_rank_keeps_nobody_waiting(spawn_ranks: Any) -> None:
    srl = made()
    srl(random(6, 4).requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    for seed in range(3):
        srl(random(6, 4, seed=seed).requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    for centers in spawn_ranks(_rank_without_a_batch, 3):
        torch.testing.assert_close(centers, srl.centers)
    spawn_ranks(_rank_with_nothing_anywhere, 2)


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
def test_a_cast_of_the_model_narrows_nothing(cast: str) -> None:
    # Levels of 2,000 bins are no longer distinct in half precision, and the homogeneity divides by their steps.
    labels = torch.arange(2000.0)
    srls = [SRL(contrast=0.0, envelope=0.0).fit(labels, LabelBins.integers(0, 1999)) for _ in range(2)]
    getattr(srls[1], cast)()
    values = []
    for srl in srls:
        srl(random(2000, 4).float().requires_grad_(), labels, labels)
        srl.end_epoch()
        values.append(srl(random(2000, 4, seed=1).float(), labels, labels))
    assert torch.equal(*values)
    assert torch.isfinite(values[0])
    assert torch.equal(srls[0].centers, srls[1].centers)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_costs_its_bin_one_epoch(bad: float) -> None:
    srl, other = made(momentum=0.5), made(momentum=0.5)
    for epoch in range(3):
        features = random(6, 4, seed=epoch)
        rows = [2, 3, 4, 5] if epoch == 1 else [0, 1, 2, 3, 4, 5]
        other(features[rows].requires_grad_(), LABELS[rows], LABELS[rows])
        if epoch == 1:
            features[0, 1] = bad  # of bin 0
        srl(features.requires_grad_(), LABELS, LABELS)
        srl.end_epoch()
        other.end_epoch()
        assert torch.equal(srl.centers, other.centers)
    srl = made()
    srl(torch.full((6, 4), bad, requires_grad=True), LABELS, LABELS)
    srl.end_epoch()
    assert not srl.seen.any()
    assert srl.live == 0


def test_labels_that_are_not_finite_are_refused() -> None:
    srl = made()
    labels = LABELS.clone()
    labels[3] = float("nan")
    srl(random(6, 4).requires_grad_(), labels, labels)
    with pytest.raises(ValueError, match=r"labels: .*finite.*got '1"):
        srl.end_epoch()
    assert srl.live == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        pytest.param([0.0, 0.0, 1.0, 1.0, 3.0], [0, 1, 2, 3, 4], id="ties"),
        pytest.param([1.0, 1.0, 3.0, 6.0], [0, 0, 1, 1], id="duplicates"),
        pytest.param([3.0], [0], id="single"),
        pytest.param([3.0, 3.0, 3.0], [0, 0, 0], id="all-equal"),
        pytest.param([0.0, 1.0], [5, 5], id="zeros"),
        pytest.param([], [], id="empty"),
    ],
)
def test_gradient_is_finite(labels: list[float], rows: list[int], dtype: torch.dtype) -> None:
    srl = made()
    srl(random(6, 4).requires_grad_(), LABELS, LABELS)
    srl.end_epoch()
    pool = torch.cat([random(5, 4, seed=1), torch.zeros(1, 4)])
    features = pool[torch.tensor(rows, dtype=torch.int64)].to(dtype).requires_grad_()
    value = srl(features, torch.tensor(labels), torch.tensor(labels))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    if not labels:
        assert value.item() == 0


def test_one_bin_alone_is_finite() -> None:
    srl = SRL().fit(torch.ones(3), LabelBins.integers(0, 2))
    features = random(3, 4).requires_grad_()
    srl(features, torch.ones(3), torch.ones(3))
    srl.end_epoch()
    assert torch.isfinite(srl(features, torch.ones(3), torch.ones(3)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"envelope": -1.0},
        {"homogeneity": -1.0},
        {"contrast": float("nan")},
        {"temperature": 0.0},
        {"momentum": 1.0},
        {"num_points": 0},
        {"weight": -1.0},
    ],
)
def test_bad_arguments(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SRL(**arguments)


def test_bad_calls() -> None:
    with pytest.raises(RuntimeError, match="fit"):
        SRL()(random(6, 4), LABELS, LABELS)
    with pytest.raises(RuntimeError, match="fit"):
        SRL().end_epoch()
    with pytest.raises(RuntimeError, match=r"not fitted.*fit\(targets, bins\)"):
        SRL().load_state_dict(made().state_dict())
    srl = made()
    srl(random(6, 4), LABELS, LABELS)
    with pytest.raises(ValueError, match=r"features: .*got"):
        srl(random(6, 5), LABELS, LABELS)
    with pytest.raises(ValueError, match="targets"):
        SRL().fit(torch.tensor([9.0]), LabelBins.integers(0, 3, out_of_range="exclude"))
