"""MAE, MSE, GM, Pearson, Spearman and balanced MAE against NumPy and SciPy, and as torchmetrics citizens."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from dir.bins import LabelBins
from dir.metrics import GM, MAE, MSE, BalancedMAE, Pearson, ShotMetrics, Spearman


def balanced_mae() -> BalancedMAE:
    return BalancedMAE(LabelBins.integers(0, 9))


def numpy_balanced_mae(preds: np.ndarray, target: np.ndarray) -> float:
    means = [np.abs(preds - target)[target == label].mean() for label in np.unique(target)]
    return float(np.mean(means))


ORACLES = [
    pytest.param(MAE, lambda p, t: np.abs(p - t).mean(), id="mae"),
    pytest.param(MSE, lambda p, t: ((p - t) ** 2).mean(), id="mse"),
    pytest.param(GM, lambda p, t: stats.gmean(np.abs(p - t)), id="gm"),
    pytest.param(Pearson, lambda p, t: stats.pearsonr(p, t).statistic, id="pearson"),
    pytest.param(Spearman, lambda p, t: stats.spearmanr(p, t).statistic, id="spearman"),
    pytest.param(balanced_mae, numpy_balanced_mae, id="balanced_mae"),
]
METRICS = [pytest.param(param.values[0], id=param.id) for param in ORACLES]
Make = Callable[[], Metric]


def sample(n: int = 500, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predictions with ties and whole-number labels 0..9, unevenly spread; no exact hit."""
    rng = np.random.default_rng(seed)
    target = np.minimum(rng.geometric(0.35, n), 9).astype(np.float32)
    preds = np.round(target + rng.normal(0, 2, n), 1).astype(np.float32) + np.float32(0.03)
    return torch.from_numpy(preds), torch.from_numpy(target)


@pytest.mark.parametrize("column", [False, True], ids=["N", "Nx1"])
@pytest.mark.parametrize(("make", "oracle"), ORACLES)
def test_batches_pool_to_the_oracle(
    make: Make, oracle: Callable[[np.ndarray, np.ndarray], float], column: bool
) -> None:
    preds, target = sample()
    metric = make()
    for part in torch.arange(500).split([1, 0, 249, 250]):
        p, t = preds[part], target[part]
        metric.update(p[:, None] if column else p, t[:, None] if column else t)
    expected = oracle(preds.double().numpy(), target.double().numpy())
    assert metric.compute().shape == ()
    np.testing.assert_allclose(metric.compute().item(), expected, rtol=1e-12)


@pytest.mark.parametrize(("make", "oracle"), ORACLES)
def test_forward_gives_the_batch_and_keeps_the_whole(
    make: Make, oracle: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    preds, target = sample()
    metric = make()
    for part in torch.arange(500).split(125):
        value = metric(preds[part], target[part])
        p, t = preds[part].double().numpy(), target[part].double().numpy()
        np.testing.assert_allclose(value.item(), oracle(p, t), rtol=1e-12)
    expected = oracle(preds.double().numpy(), target.double().numpy())
    np.testing.assert_allclose(metric.compute().item(), expected, rtol=1e-12)
    metric.reset()
    metric.update(preds[:125], target[:125])
    p, t = preds[:125].double().numpy(), target[:125].double().numpy()
    np.testing.assert_allclose(metric.compute().item(), oracle(p, t), rtol=1e-12)


@pytest.mark.parametrize("make", METRICS)
@pytest.mark.parametrize(("preds", "target"), [((4,), (4, 1)), ((4, 1), (4,)), ((4,), (1,))])
def test_shapes_that_would_broadcast_are_refused(make: Make, preds: tuple[int, ...], target: tuple[int, ...]) -> None:
    metric = make()
    with pytest.raises(ValueError, match=r"preds.*target.*got") as caught:
        metric.update(torch.ones(preds), torch.ones(target))
    assert str(list(preds)) in str(caught.value)
    assert str(list(target)) in str(caught.value)


@pytest.mark.parametrize("make", METRICS)
def test_without_data_it_is_nan(make: Make) -> None:
    metric = make()
    metric.update(torch.empty(0), torch.empty(0))
    assert metric.compute().isnan()
    metric.reset()
    with pytest.warns(UserWarning, match="before"):
        assert metric.compute().isnan()


@pytest.mark.parametrize("make", [Pearson, Spearman])
@pytest.mark.parametrize(
    ("preds", "target"),
    [
        pytest.param([1.0], [2.0], id="one sample"),
        pytest.param([0.1] * 2000, np.arange(2000) % 7, id="constant predictions"),
        pytest.param(np.arange(2000) % 7, [2.6] * 2000, id="constant labels"),
        pytest.param([1000.1] * 50, [1000.1] * 50, id="both constant"),
        pytest.param([1.0, float("nan"), 2.0], [1.0, 2.0, 3.0], id="NaN prediction"),
        pytest.param([1.0, 2.0, 2.5], [1.0, 2.0, float("nan")], id="NaN label"),
    ],
)
def test_undefined_correlations_are_nan_without_a_warning(
    make: Make, preds: list[float], target: list[float]
) -> None:
    metric = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for p, t in zip(torch.as_tensor(preds).split(300), torch.as_tensor(target).split(300), strict=True):
            metric.update(p.float(), t.float())
        assert metric.compute().isnan()


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_pearson_survives_large_means(offset: float) -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(offset, 1.0, 5000)
    preds = target + rng.normal(0, 1.0, 5000)
    metric = Pearson()
    for part in np.array_split(np.arange(5000), 13):
        metric.update(torch.from_numpy(preds[part]), torch.from_numpy(target[part]))
    expected = stats.pearsonr(preds - offset, target - offset).statistic
    np.testing.assert_allclose(metric.compute().item(), expected, rtol=1e-9)


def test_spearman_ranks_of_many_ties_do_not_overflow() -> None:
    # Sums of tied ranks pass 2^31 here: torchmetrics' own int32 ranks go wrong.
    target = torch.arange(200_000) % 4
    preds = target * 0.5 + torch.linspace(0, 1, 200_000)
    metric = Spearman()
    metric.update(preds, target)
    expected = stats.spearmanr(preds.numpy(), target.numpy()).statistic
    np.testing.assert_allclose(metric.compute().item(), expected, rtol=1e-10)


def test_perfect_order_is_one_and_reversed_is_minus_one() -> None:
    values = torch.arange(10.0)
    for metric in (Pearson(), Spearman()):
        torch.testing.assert_close(metric(values, 2 * values + 1).item(), 1.0)
        torch.testing.assert_close(metric(values, -values).item(), -1.0)


def test_gm_takes_exact_hits_as_epsilon_and_nothing_else() -> None:
    preds, target = torch.tensor([1.0, 2.0, 5.0, 3.0 + 2**-20]), torch.tensor([1.0, 4.0, 1.0, 3.0])
    for epsilon in (1e-10, 1e-3):
        expected = stats.gmean([epsilon, 2.0, 4.0, 2**-20])
        torch.testing.assert_close(GM(epsilon=epsilon)(preds, target).item(), float(expected))
    assert GM(epsilon=0.0)(preds, target) == 0
    assert GM(epsilon=0.0)(preds[1:], target[1:]) > 0
    with pytest.raises(ValueError, match=r"epsilon.*got -1.0"):
        GM(epsilon=-1.0)


def test_balanced_mae_leaves_out_labels_in_no_bin() -> None:
    metric = BalancedMAE(LabelBins.integers(0, 3, out_of_range="exclude"))
    preds = torch.tensor([1.0, 1.0, 5.0, 7.0, 7.0])
    target = torch.tensor([0.0, 0.0, 2.0, 50.0, float("nan")])
    assert metric(preds, target) == 2.0  # bins 0 and 2, 1.0 and 3.0


def test_a_million_predictions_add_up_exactly() -> None:
    preds = torch.full((1 << 20,), 1000.1, dtype=torch.float32)
    target = torch.zeros(1 << 20)
    error = float(np.float32(1000.1))
    for metric, expected in ((MAE(), error), (MSE(), error**2), (balanced_mae(), error)):
        np.testing.assert_allclose(metric(preds, target).item(), expected, rtol=1e-10)


@pytest.mark.parametrize("make", METRICS)
def test_half_precision_predictions_and_casts_of_the_model(make: Make) -> None:
    preds, target = sample()
    whole = make()
    whole.update(preds.bfloat16().float(), target)
    model = torch.nn.ModuleDict({"metric": make()})
    model["metric"].update(preds[:250].bfloat16(), target[:250])
    model.half().to(torch.bfloat16)
    model["metric"].update(preds[250:].bfloat16(), target[250:])
    torch.testing.assert_close(model["metric"].compute(), whole.compute(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", METRICS)
def test_a_device_without_float64_gets_float32(make: Make) -> None:
    def to_device(tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.float64:
            raise TypeError("no float64 here")
        return tensor.clone()

    metric = make()
    metric.update(*sample())
    metric._apply(to_device)
    for name in metric._defaults:
        state = getattr(metric, name)
        for tensor in state if isinstance(state, list) else [state]:
            assert tensor.dtype in (torch.float32, torch.int64)


@pytest.mark.parametrize("make", METRICS)
def test_inputs_are_neither_changed_nor_kept(make: Make) -> None:
    preds, target = (t.double() for t in sample())
    before = preds.clone()
    metric = make()
    metric.update(preds, target)
    assert torch.equal(preds, before)
    expected = metric.compute().clone()
    preds.zero_()
    metric.update(preds[:0], target[:0])
    assert torch.equal(metric.compute(), expected)


@pytest.mark.parametrize("make", METRICS)
def test_clone_and_pickle_are_independent_copies(make: Make) -> None:
    preds, target = sample()
    metric = make()
    metric.update(preds, target)
    for copy in (metric.clone(), pickle.loads(pickle.dumps(metric))):
        copy.update(preds[:50] + 30, target[:50])
        assert copy.compute() != metric.compute()
    twice = make()
    twice.update(preds, target)
    assert torch.equal(twice.compute(), metric.compute())


def test_in_a_collection_every_metric_keeps_its_own_number() -> None:
    # All errors are 1 in the first batch: MAE, MSE and GM hold equal sums, and must not be merged for it.
    makes = {"mae": MAE, "mse": MSE, "gm": GM, "plain": lambda: GM(epsilon=0.0), "balanced": balanced_mae}
    makes |= {"pearson": Pearson, "spearman": Spearman}
    collection = MetricCollection({name: make() for name, make in makes.items()})
    alone = {name: make() for name, make in makes.items()}
    target = torch.arange(8.0)
    batches = [(target + 1, target), (target.flip(0), target), (target, target)]
    for preds, labels in batches:
        collection.update(preds, labels)
        for metric in alone.values():
            metric.update(preds, labels)
    result = collection.compute()
    for name, metric in alone.items():
        torch.testing.assert_close(result[name], metric.compute())
    assert result["plain"] == 0 < result["gm"]


def test_shots_in_a_collection_beside_others() -> None:
    bins = LabelBins.integers(0, 9)
    counts = torch.tensor([300, 200, 101, 100, 50, 20, 19, 1, 0, 0])
    shots, preds, target = ShotMetrics(bins, counts, metrics=["mae"]), *sample()
    collection = MetricCollection({"mae": MAE(), "shots": shots}, prefix="val/")
    collection.update(preds, target)
    result = collection.compute()
    torch.testing.assert_close(result["val/all"]["mae"], result["val/mae"])
