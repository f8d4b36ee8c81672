"""RankSim: golden values and gradients, a NumPy version with loops over the anchors, and degenerate batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.losses.ranksim import RankSim, descending_ranks, one_per_label, ranksim

Golden = Callable[..., dict[str, np.ndarray]]


def random(n: int, high: int, seed: int = 0, dims: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, dims, generator=generator, dtype=torch.float64)
    return features, torch.randint(0, high, (n,), generator=generator).double()


def ranks(row: np.ndarray) -> np.ndarray:
    """1 for the largest; of equal ones the last comes first."""
    order = sorted(range(len(row)), key=lambda j: (row[j], j), reverse=True)
    out = np.empty(len(row))
    out[order] = np.arange(1, len(row) + 1)
    return out


def oracle(similarity: np.ndarray, labels: np.ndarray, lam: float, gamma: float) -> tuple[float, np.ndarray]:
    """Loss and its blackbox gradient by the similarities, anchor by anchor; all labels different."""
    m, total, gradient = len(labels), 0.0, np.zeros_like(similarity)
    for i in range(m):
        feature_rank = ranks(similarity[i]) / m
        label_rank = ranks(-np.abs(labels[i] - labels)) / m
        total += gamma * np.mean((feature_rank - label_rank) ** 2)
        slope = gamma * 2 * (feature_rank - label_rank) / m
        gradient[i] = -(feature_rank - ranks(similarity[i] + lam * slope) / m) / lam
    return total, gradient


@pytest.mark.parametrize("lam", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("variant", ["agedb", "sts"])
def test_golden(golden: Golden, variant: str, lam: float) -> None:
    arrays = golden("ranksim.npz")
    check(arrays, arrays["ranksim/targets_noties"], f"ranksim/noties/{variant}/lambda{lam}", lam)


@pytest.mark.parametrize("lam", [1.0, 2.0])
@pytest.mark.parametrize("variant", ["agedb_unstable_argsort", "sts_stable_argsort"])
def test_golden_ties(golden: Golden, variant: str, lam: float) -> None:
    arrays = golden("ranksim.npz")
    check(arrays, arrays["ranksim/targets_ties"], f"ranksim/ties/{variant}/lambda{lam}", lam)


def check(arrays: dict[str, np.ndarray], targets: np.ndarray, prefix: str, lam: float) -> None:
    features = torch.from_numpy(arrays["ranksim/features"]).requires_grad_()
    value = ranksim(features, torch.from_numpy(targets), lam)
    value.backward()
    assert features.grad is not None
    np.testing.assert_allclose(value.item(), arrays[f"{prefix}/value"], rtol=2e-6)  # kept in float32 there
    expected = arrays[f"{prefix}/grad_features"]
    np.testing.assert_allclose(features.grad.numpy(), expected, rtol=1e-9, atol=1e-14)


def test_golden_ranks(golden: Golden) -> None:
    arrays = golden("ranksim.npz")
    values = torch.from_numpy(arrays["ranksim/rank/seq"])
    got = descending_ranks(values) / values.shape[1]
    np.testing.assert_allclose(got.numpy(), arrays["ranksim/rank/rank_normalised"], rtol=1e-6)


def test_golden_duplicates(golden: Golden) -> None:
    arrays = golden("ranksim.npz")
    features, targets = (torch.from_numpy(arrays[f"ranksim/dup/{k}"]) for k in ("features", "targets"))
    torch.manual_seed(0)
    values = {round(ranksim(features, targets, 1.0).item(), 9) for _ in range(40)}
    assert values == {round(float(v), 9) for v in arrays["ranksim/dup/possible_values_lambda1"]}


@pytest.mark.parametrize("lam", [0.3, 2.0])
@pytest.mark.parametrize("gamma", [1.0, 100.0])
def test_value_and_gradient_are_those_of_the_loops(lam: float, gamma: float) -> None:
    features, _ = random(13, 2)
    labels = torch.randperm(13, generator=torch.Generator().manual_seed(3)).double()  # tied distances everywhere
    unit = features / features.norm(dim=1, keepdim=True)
    value, gradient = oracle((unit @ unit.T).numpy(), labels.numpy(), lam, gamma)
    features.requires_grad_()
    got = ranksim(features, labels, lam, gamma)
    got.backward()
    assert got.item() == pytest.approx(value, rel=1e-12)
    again = features.detach().clone().requires_grad_()
    cosine = again / again.norm(dim=1, keepdim=True)
    (cosine @ cosine.T * torch.from_numpy(gradient)).sum().backward()
    torch.testing.assert_close(features.grad, again.grad, rtol=1e-9, atol=1e-12)


def test_duplicates_give_one_of_the_reachable_values() -> None:
    features, labels = random(9, 4)
    unit = features / features.norm(dim=1, keepdim=True)
    similarity, values = (unit @ unit.T).numpy(), set()
    groups = [np.flatnonzero(labels.numpy() == v) for v in np.unique(labels.numpy())]
    for choice in np.stack(np.meshgrid(*groups), axis=-1).reshape(-1, len(groups)):
        rows = np.sort(choice)
        values.add(round(oracle(similarity[np.ix_(rows, rows)], labels.numpy()[rows], 2.0, 1.0)[0], 9))
    torch.manual_seed(0)
    seen = {round(ranksim(features, labels).item(), 9) for _ in range(300)}
    assert seen == values
    assert len(values) > 1


def test_rows_not_drawn_take_no_part() -> None:
    features, labels = random(9, 4)
    features.requires_grad_()
    torch.manual_seed(3)
    ranksim(features, labels, weight=100.0).backward()
    torch.manual_seed(3)
    kept = one_per_label(labels)
    assert features.grad is not None
    assert (features.grad[~kept] == 0).all()
    assert (features.grad[kept] != 0).any()
    alone = features.detach()[kept].requires_grad_()
    ranksim(alone, labels[kept], weight=100.0).backward()
    torch.testing.assert_close(features.grad[kept], alone.grad)


def test_one_row_per_label_is_drawn_evenly() -> None:
    labels = torch.tensor([5.0, 1.0, 5.0, 5.0, 2.0])
    torch.manual_seed(0)
    draws = torch.stack([one_per_label(labels) for _ in range(3000)])
    assert (draws[:, [0, 2, 3]].sum(dim=1) == 1).all()
    assert draws[:, [1, 4]].all()
    assert draws[:, [0, 2, 3]].double().mean(dim=0).sub(1 / 3).abs().max() < 0.03


def test_unit_of_labels_and_length_of_features_do_not_count() -> None:
    features, _ = random(12, 5)
    labels = torch.arange(12.0, dtype=torch.float64).square()
    lengths = torch.linspace(0.5, 20, 12, dtype=torch.float64)[:, None]
    torch.testing.assert_close(ranksim(lengths * features, 7 * labels + 3), ranksim(features, labels))


def test_scaled_loss_scales_its_gradient() -> None:
    """A gradient scaler must not change how far the step of the blackbox gradient goes."""
    features, labels = random(16, 1000)
    first, second = (features.clone().requires_grad_() for _ in range(2))
    ranksim(first, labels).backward()
    (65536 * ranksim(second, labels)).backward()
    torch.testing.assert_close(65536 * first.grad, second.grad)


def test_autocast_keeps_single_precision() -> None:
    features, labels = random(64, 10_000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ranksim(features.float(), labels.float())
    torch.testing.assert_close(inside, ranksim(features.float(), labels.float()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        pytest.param([1.0, 3.0, 2.0, 5.0, 4.0], [0, 1, 2, 3, 4], id="ties"),
        pytest.param([1.0, 1.0, 2.0, 4.0], [0, 0, 1, 1], id="duplicates"),
        pytest.param([1.0, 2.0, 3.0], [0, 0, 0], id="equal-features"),
        pytest.param([2.0], [0], id="single"),
        pytest.param([2.0, 2.0, 2.0], [0, 0, 0], id="all-equal"),
        pytest.param([1.0, 2.0, 3.0], [5, 5, 0], id="zeros"),
        pytest.param([], [], id="empty"),
    ],
)
def test_gradient_is_finite(labels: list[float], rows: list[int], dtype: torch.dtype) -> None:
    pool = torch.cat([random(5, 2)[0], torch.zeros(1, 5)])
    features = pool[torch.tensor(rows, dtype=torch.int64)].to(dtype).requires_grad_()
    value = RankSim()(features, torch.tensor(labels), torch.tensor(labels))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert features.grad is not None
    assert features.grad.dtype == dtype
    assert torch.isfinite(features.grad).all()
    if len(set(labels)) < 2:
        assert value == 0
        assert (features.grad == 0).all()


def test_gradient_orders_the_features() -> None:
    labels = torch.tensor([0.0, 1.0, 2.5, 4.5, 7.0])
    features = random(5, 2)[0].requires_grad_()
    before = ranksim(features, labels).item()
    optimizer = torch.optim.Adam([features], lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        ranksim(features, labels, weight=10.0).backward()
        optimizer.step()
    assert before > 0.1
    assert ranksim(features, labels).item() < 0.2 * before


def test_module_passes_its_arguments() -> None:
    features, labels = random(8, 1000)
    module = RankSim(weight=30.0, interpolation=1.5)
    torch.testing.assert_close(module(features, labels, labels), ranksim(features, labels, 1.5, 30.0))
    assert "interpolation=1.5" in repr(module)
    assert RankSim().weight == 100.0
    assert RankSim().interpolation == 2.0


def test_bad_arguments() -> None:
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="interpolation"):
            RankSim(interpolation=value)
        with pytest.raises(ValueError, match="interpolation"):
            ranksim(*random(3, 2), value)
    with pytest.raises(ValueError, match="weight"):
        RankSim(weight=-1.0)
    with pytest.raises(ValueError, match="weight"):
        ranksim(*random(3, 2), weight=-1.0)
    with pytest.raises(ValueError, match=r"labels: .*got"):
        ranksim(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"features: .*got"):
        ranksim(torch.zeros(3), torch.zeros(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_the_device() -> None:
    features = torch.randn(64, 8, device="cuda", requires_grad=True)
    labels = torch.randint(0, 9, (64,)).float().cuda()
    term = RankSim()
    term(features, labels, labels)
    try:
        torch.cuda.set_sync_debug_mode("error")
        term(features, labels, labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(features.grad).all()
