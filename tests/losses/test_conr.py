"""ConR: golden values and gradients, a NumPy version with loops, and anchors without positives or negatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.denseweight import DenseWeight
from dir.losses.conr import ConR, conr

Golden = Callable[..., dict[str, np.ndarray]]


def random(n: int, high: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, high, (n,), generator=generator).double()
    return features, labels, labels + 2 * torch.randn(n, generator=generator, dtype=torch.float64)


def oracle(
    features: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    window: float,
    temperature: float,
    push: float,
    rarity: np.ndarray,
) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    n, total = len(labels), 0.0
    for i in range(n):
        positives = [j for j in range(n) if j != i and abs(labels[i] - labels[j]) <= window]
        negatives = [
            j
            for j in range(n)
            if abs(labels[i] - labels[j]) > window and abs(predictions[i] - predictions[j]) <= window
        ]
        if not positives or not negatives:
            continue
        similarity = np.exp(unit @ unit[i] / temperature)
        denominator = sum(similarity[j] for j in positives) + (n - len(positives))
        denominator += sum(rarity[i] * np.exp(push * abs(labels[i] - labels[j])) * similarity[j] for j in negatives)
        total += rarity[i] * np.mean([-np.log(similarity[j] / denominator) for j in positives])
    return total / n


@pytest.mark.parametrize("variant", ["agedb", "imdb"])
@pytest.mark.parametrize("weights", ["w", "one"])
@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("push", [0.01, 0.2])
def test_golden(golden: Golden, variant: str, weights: str, window: int, push: float) -> None:
    arrays = golden("conr.npz")
    features, targets, preds, given = (
        torch.from_numpy(arrays[f"conr/{name}"]) for name in ("features", "targets", "preds", "weights")
    )
    features.requires_grad_()
    value = conr(features, targets, preds, window, 0.07, push, given if weights == "w" else None)
    value.backward()
    assert features.grad is not None
    prefix = f"conr/{variant}/{weights}/window{window}_e{push}"
    np.testing.assert_allclose(value.item(), arrays[f"{prefix}/value"], rtol=1e-9)
    np.testing.assert_allclose(features.grad.numpy(), arrays[f"{prefix}/grad_features"], rtol=1e-9, atol=1e-13)


def test_golden_temperature(golden: Golden) -> None:
    arrays = golden("conr.npz")
    given = (torch.from_numpy(arrays[f"conr/{name}"]) for name in ("features", "targets", "preds"))
    value = conr(*given, temperature=0.2, rarity=torch.from_numpy(arrays["conr/weights"]))
    np.testing.assert_allclose(value.item(), arrays["conr/imdb/w/window1_e0.01_t0.2/value"], rtol=1e-9)


def test_an_anchor_without_a_positive_counts_zero(golden: Golden) -> None:
    arrays = golden("conr.npz")
    features, preds = (torch.from_numpy(arrays[f"conr/{name}"]) for name in ("features", "preds"))
    labels = torch.from_numpy(arrays["conr/nan_case/targets"])
    assert np.isnan(arrays["conr/nan_case/value"])
    features.requires_grad_()
    value = conr(features, labels, preds)
    value.backward()
    expected = oracle(
        features.detach().numpy(), labels.numpy().ravel(), preds.numpy().ravel(), 1, 0.07, 0.01, np.ones(24)
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("high", [3, 8, 1000])  # all near, some, hardly any
@pytest.mark.parametrize(("temperature", "push"), [(0.07, 0.01), (0.5, 0.0), (0.5, 0.3)])
def test_value_is_that_of_the_loops(high: int, temperature: float, push: float) -> None:
    features, labels, predictions = random(17, high)
    rarity = torch.rand(17, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rarity[3] = 0
    args = (labels.numpy(), predictions.numpy(), 1.5, temperature, push, rarity.numpy())
    expected = oracle(features.numpy(), *args)
    value = conr(features, labels, predictions, 1.5, temperature, push, rarity)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_two_views_are_rows_like_others() -> None:
    features, labels, predictions = random(8, 6)
    features = torch.cat([features, features + 0.1 * torch.randn_like(features)])
    labels, predictions = labels.repeat(2), predictions.repeat(2)
    expected = oracle(features.numpy(), labels.numpy(), predictions.numpy(), 1, 0.07, 0.01, np.ones(16))
    assert expected > 0
    assert conr(features, labels, predictions).item() == pytest.approx(expected, rel=1e-12)


def test_labels_on_the_edge_of_the_window_survive_the_rounding_of_scaled_labels() -> None:
    features, labels, predictions = random(60, 60)
    raw = oracle(features.numpy(), labels.numpy(), predictions.numpy(), 3.0, 0.2, 0.0, np.ones(60))
    scaled = [(values.float() - 17.3) / 5.1 for values in (labels, predictions)]
    value = conr(features.float(), *scaled, window=3.0 / 5.1, temperature=0.2, push=0.0)
    assert value.item() == pytest.approx(raw, rel=1e-5)


def test_gradcheck_and_no_gradient_to_the_predictions() -> None:
    features, labels, predictions = random(8, 4)
    rarity = torch.linspace(0.1, 2, 8, dtype=torch.float64)
    features.requires_grad_()
    assert conr(features, labels, predictions, rarity=rarity) > 0
    assert torch.autograd.gradcheck(lambda z: conr(z, labels, predictions, 1.0, 0.3, 0.1, rarity), features)
    conr(features, labels, predictions.requires_grad_()).backward()
    assert predictions.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        pytest.param([1.0, 1.0, 2.0, 2.0, 9.0], [0, 1, 2, 3, 4], id="ties"),
        pytest.param([1.0, 1.0, 5.0, 9.0], [0, 0, 1, 1], id="duplicates"),
        pytest.param([1.0, 5.0, 9.0], [0, 1, 2], id="no-positive"),
        pytest.param([1.0, 1.5, 2.0], [0, 1, 2], id="no-negative"),
        pytest.param([2.0], [0], id="single"),
        pytest.param([2.0, 2.0, 2.0], [0, 0, 0], id="all-equal"),
        pytest.param([1.0, 1.0, 9.0], [5, 5, 0], id="zeros"),
        pytest.param([], [], id="empty"),
    ],
)
@pytest.mark.parametrize("rare", [False, True])
def test_gradient_is_finite(labels: list[float], rows: list[int], dtype: torch.dtype, rare: bool) -> None:
    pool = torch.cat([random(5, 2)[0], torch.zeros(1, 5)])
    features = pool[torch.tensor(rows, dtype=torch.int64)].to(dtype).requires_grad_()
    predictions = torch.full((len(labels),), 3.0, dtype=dtype)
    value = conr(features, torch.tensor(labels), predictions, rarity=torch.zeros(len(labels)) if rare else None)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert features.grad is not None
    assert features.grad.dtype == dtype
    assert torch.isfinite(features.grad).all()
    labels_differ = any(abs(a - b) > 1 for a in labels for b in labels)
    some_pair = any(abs(a - b) <= 1 for i, a in enumerate(labels) for b in labels[:i])
    assert (value > 0) == (labels_differ and some_pair and not rare)


def test_autocast_keeps_single_precision() -> None:
    features, labels, predictions = (values.float() for values in random(64, 20))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = conr(features, labels, predictions)
    torch.testing.assert_close(inside, conr(features, labels, predictions), rtol=0, atol=0)


def test_gradient_parts_what_the_predictions_confuse() -> None:
    labels = torch.tensor([0.0, 0.0, 5.0, 5.0])
    features = random(4, 2)[0].requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        conr(features, labels, torch.full((4,), 2.0)).backward()
        optimizer.step()
    unit = features.detach() / features.detach().norm(dim=1, keepdim=True)
    cosine = unit @ unit.T
    assert cosine[0, 1] > 0.8
    assert cosine[2, 3] > 0.8
    assert cosine[0, 2] < 0.3


def test_module_weighs_its_function() -> None:
    features, labels, predictions = random(12, 6)
    module = ConR(weight=0.3, window=1.5, temperature=0.2, push=0.1)
    expected = 0.3 * conr(features, labels, predictions, 1.5, 0.2, 0.1)
    assert expected > 0
    torch.testing.assert_close(module(features, labels, predictions), expected)
    assert "window=1.5" in repr(module)
    assert (ConR().weight, ConR().window, ConR().temperature, ConR().push) == (4.0, 1.0, 0.07, 0.01)


def test_module_fits_its_reweighter_and_keeps_it() -> None:
    features, labels, predictions = random(40, 12)
    module = ConR(rarity=DenseWeight(alpha=0.7)).fit(labels, LabelBins.integers(0, 12))
    rarity = DenseWeight(alpha=0.7).fit(labels)(labels)
    expected = 4 * conr(features, labels, predictions, rarity=rarity)
    torch.testing.assert_close(module(features, labels, predictions), expected)
    other = ConR(rarity=DenseWeight(alpha=0.7))
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other(features, labels, predictions), expected, rtol=0, atol=0)


def test_bad_arguments() -> None:
    features, labels, predictions = random(3, 2)
    for name, value in (("window", 0.0), ("window", float("nan")), ("temperature", 0.0), ("push", -1.0)):
        with pytest.raises(ValueError, match=name):
            ConR(**{name: value})
        with pytest.raises(ValueError, match=name):
            conr(features, labels, predictions, **{name: value})
    with pytest.raises(ValueError, match="weight"):
        ConR(weight=-1.0)
    with pytest.raises(ValueError, match=r"labels: .*got"):
        conr(features, labels[:2], predictions)
    with pytest.raises(ValueError, match=r"predictions: .*got"):
        conr(features, labels, predictions[:2])
    with pytest.raises(ValueError, match=r"rarity: .*got"):
        conr(features, labels, predictions, rarity=torch.ones(2))
    with pytest.raises(ValueError, match=r"features: .*got"):
        conr(torch.zeros(3), labels, predictions)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_the_device() -> None:
    features = torch.randn(64, 8, device="cuda", requires_grad=True)
    labels = torch.randint(0, 9, (64,)).float().cuda()
    term = ConR(rarity=DenseWeight()).fit(labels, LabelBins.integers(0, 9)).cuda()
    try:
        torch.cuda.set_sync_debug_mode("error")
        term(features, labels, labels.flip(0)).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(features.grad).all()
