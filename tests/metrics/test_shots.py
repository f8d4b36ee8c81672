"""ShotMetrics: grouping, every number of every group against SciPy, empty groups, labels in no bin."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dir.bins import LabelBins
from dir.metrics import METRICS, SHOTS, STSB_DIR_SHOTS, ShotMetrics, shot_of_bins

COUNTS = torch.tensor([500, 101, 100, 60, 20, 19, 5, 1, 0, 0])
MEMBERS = {
    "all": set(range(10)),
    "many": {0, 1},
    "median": {2, 3, 4},
    "few": {5, 6, 7},
    "zero": {8, 9},
}


def sample(n: int = 900, labels: int = 10) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(3)
    target = rng.integers(0, labels, n).astype(np.float32)
    preds = np.round(target + rng.normal(0, 1.5, n), 1).astype(np.float32)
    return torch.from_numpy(preds), torch.from_numpy(target)


def expected(preds: Tensor, target: Tensor, members: set[int], epsilon: float = 1e-10) -> dict[str, float]:
    """One group's numbers by NumPy and SciPy; label k is bin k."""
    inside = np.isin(target.numpy(), list(members))
    p, t = preds.double().numpy()[inside], target.double().numpy()[inside]
    error = np.abs(p - t)
    return {
        "n": len(p),
        "mae": error.mean(),
        "mse": (error**2).mean(),
        "gm": stats.gmean(np.where(error == 0, epsilon, error)),
        "pearson": stats.pearsonr(p, t).statistic,
        "spearman": stats.spearmanr(p, t).statistic,
        "balanced_mae": np.mean([error[t == label].mean() for label in np.unique(t)]),
    }


def close(result: dict[str, dict[str, Tensor]], members: dict[str, set[int]], *data: Tensor) -> None:
    for shot, bins in members.items():
        for name, value in expected(*data, bins).items():
            np.testing.assert_allclose(result[shot][name].item(), value, rtol=1e-11, err_msg=f"{shot} {name}")


@pytest.mark.parametrize("batch", [900, 7, 1])
def test_every_group_against_scipy(batch: int) -> None:
    preds, target = sample()
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS)
    for p, t in zip(preds.split(batch), target.split(batch), strict=True):
        metric.update(p[:, None], t[:, None])
    result = metric.compute()
    assert list(result) == ["all", *SHOTS]
    assert all(set(values) == {"n", *METRICS} for values in result.values())
    close(result, MEMBERS, preds, target)


def test_forward_is_the_batch_and_reset_forgets() -> None:
    preds, target = sample()
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS)
    for part in torch.arange(900).split(300):
        close(metric(preds[part], target[part]), MEMBERS, preds[part], target[part])
    close(metric.compute(), MEMBERS, preds, target)
    metric.reset()
    metric.update(preds[:300], target[:300])
    close(metric.compute(), MEMBERS, preds[:300], target[:300])
    close(pickle.loads(pickle.dumps(metric)).compute(), MEMBERS, preds[:300], target[:300])


def test_default_thresholds_are_over_100_and_under_20_and_zero_apart() -> None:
    rows = shot_of_bins(torch.tensor([101, 100, 20, 19, 1, 0]), num_bins=6)
    assert rows.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_zero_shot_false_folds_zero_into_few() -> None:
    preds, target = sample()
    result = ShotMetrics(LabelBins.integers(0, 9), COUNTS, zero_shot=False)(preds, target)
    close(result, {"few": {5, 6, 7, 8, 9}, "many": {0, 1}}, preds, target)
    assert result["zero"]["n"] == 0


def test_other_thresholds() -> None:
    rows = shot_of_bins(COUNTS, 10, many=60, few=6).int()
    assert rows.sum(1).tolist() == [3, 3, 2, 2]


def test_empty_groups_are_nan_and_never_zero() -> None:
    preds, target = sample(labels=5)  # few and zero get no sample
    result = ShotMetrics(LabelBins.integers(0, 9), COUNTS)(preds, target)
    for shot in ("few", "zero"):
        assert result[shot]["n"] == 0
        assert result[shot]["n"].dtype == torch.int64
        assert all(result[shot][name].isnan() for name in METRICS)
    close(result, {"all": set(range(5)), "many": {0, 1}, "median": {2, 3, 4}}, preds, target)


def test_no_update_at_all_is_nan() -> None:
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS)
    with pytest.warns(UserWarning, match="before"):
        result = metric.compute()
    assert all(values["n"] == 0 and values["spearman"].isnan() for values in result.values())


def test_a_group_with_one_sample_has_errors_but_no_correlation() -> None:
    result = ShotMetrics(LabelBins.integers(0, 9), COUNTS)(
        torch.tensor([3.0, 1.0, 9.0]), torch.tensor([0.0, 1.0, 6.0])
    )
    assert result["few"]["mae"] == 3.0
    assert result["few"]["balanced_mae"] == 3.0
    assert result["few"]["pearson"].isnan()
    assert result["few"]["spearman"].isnan()


def test_constant_predictions_have_no_correlation_in_any_group() -> None:
    _, target = sample()
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS)
    for part in target.split(37):
        metric.update(torch.full_like(part, 30.1), part)
    for values in metric.compute().values():
        assert values["pearson"].isnan()
        assert values["spearman"].isnan()
        assert values["mae"] > 0


def test_an_overflow_stays_in_its_group() -> None:
    preds, target = sample()
    preds = preds.clone()
    preds[target == 5] = torch.inf
    result = ShotMetrics(LabelBins.integers(0, 9), COUNTS)(preds, target)
    assert result["few"]["mae"].isinf()
    assert result["all"]["mse"].isinf()
    close(result, {shot: MEMBERS[shot] for shot in ("many", "median", "zero")}, preds, target)


def test_published_list_needs_no_counts_and_leaves_unlisted_bins_in_all() -> None:
    preds, target = sample()
    groups = {"many": [0, 3], "few": (7,)}
    result = ShotMetrics(LabelBins.integers(0, 9), groups=groups)(preds, target)
    close(result, {"all": set(range(10)), "many": {0, 3}}, preds, target)
    assert result["few"]["n"] == (target == 7).sum()
    assert result["median"]["n"] == result["zero"]["n"] == 0
    assert sorted(index for listed in STSB_DIR_SHOTS.values() for index in listed) == list(range(50))


def test_labels_in_no_bin_count_in_all_alone() -> None:
    bins = LabelBins.integers(0, 9, out_of_range="exclude")
    preds, target = torch.tensor([1.0, 2.0, 99.0]), torch.tensor([0.0, 0.0, 100.0])
    result = ShotMetrics(bins, COUNTS)(preds, target)
    assert result["all"]["n"] == 3
    assert result["many"]["n"] == 2
    torch.testing.assert_close(result["all"]["mae"].item(), 4 / 3)
    assert result["all"]["balanced_mae"] == 1.5
    clamped = ShotMetrics(LabelBins.integers(0, 9), COUNTS)(preds, target)
    assert clamped["zero"]["n"] == 1


def test_only_what_is_asked_for_is_computed_and_kept() -> None:
    preds, target = sample()
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS, metrics=["mse", "gm"])
    assert not hasattr(metric, "preds")
    assert all(set(values) == {"n", "mse", "gm"} for values in metric(preds, target).values())
    whole = ShotMetrics(LabelBins.integers(0, 9), COUNTS)(preds, target)
    for name in METRICS:
        alone = ShotMetrics(LabelBins.integers(0, 9), COUNTS, metrics=[name])(preds, target)
        for shot in MEMBERS:
            torch.testing.assert_close(alone[shot][name], whole[shot][name], rtol=0, atol=0, equal_nan=True)


def test_epsilon_reaches_the_geometric_mean() -> None:
    preds, target = sample()
    assert (preds == target).any()
    result = ShotMetrics(LabelBins.integers(0, 9), COUNTS, epsilon=0.01)(preds, target)
    value = expected(preds, target, MEMBERS["all"], epsilon=0.01)["gm"]
    np.testing.assert_allclose(result["all"]["gm"].item(), value, rtol=1e-11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "counts: .*got None"),
        ({"counts": torch.ones(9)}, r"counts: .*\[10\], got \[9\]"),
        ({"counts": torch.ones(10, 1)}, r"counts: .*\[10\], got \[10, 1\]"),
        ({"counts": torch.full((10,), -1)}, "counts: .*got -1"),
        ({"counts": torch.full((10,), 0.5)}, "counts: .*got 0.5"),
        ({"counts": torch.full((10,), float("nan"))}, "counts: .*got nan"),
        ({"counts": COUNTS, "many": 10, "few": 20}, "many: .*>= 20, got 10"),
        ({"counts": COUNTS, "few": 0}, "few: .*got 0"),
        ({"counts": COUNTS, "metrics": ["mae", "rmsle"]}, "metrics: .*'rmsle'"),
        ({"counts": COUNTS, "metrics": "mae"}, "metrics: .*got 'mae'"),
        ({"counts": COUNTS, "epsilon": -1.0}, "epsilon: .*got -1.0"),
        ({"groups": {"medium": [1]}}, "groups: .*'medium'"),
        ({"groups": {"many": [10]}}, r"many.*0 to 9, got \[10\]"),
        ({"groups": {"many": [-1]}}, r"got \[-1\]"),
        ({"groups": {"many": [1, 2], "few": [2]}}, r"groups: .*got \[2\]"),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShotMetrics(LabelBins.integers(0, 9), **arguments)


def test_a_refused_batch_leaves_no_trace() -> None:
    preds, target = sample()
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS)
    metric.update(preds, target)
    with pytest.raises(ValueError, match=r"preds: .*\[900\], got \[900, 1\]"):
        metric.update(preds[:, None], target)
    with pytest.raises(TypeError, match="half"):
        metric.update(preds, target.bfloat16())
    close(metric.compute(), MEMBERS, preds, target)


def test_no_loop_over_samples_or_bins() -> None:
    """The number of operations must not depend on how many samples or bins there are."""

    def operations(num_bins: int, n: int) -> int:
        metric = ShotMetrics(LabelBins.uniform(0, 1, num_bins), torch.ones(num_bins, dtype=torch.int64))
        values = torch.linspace(0, 1, n)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            metric.update(values + 0.1, values)
            metric.compute()
        return len(profile.events())

    assert operations(400, 5000) <= 1.1 * operations(4, 50)


@pytest.mark.gpu
def test_on_a_gpu_the_numbers_are_the_same() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    preds, target = sample()
    metric = ShotMetrics(LabelBins.integers(0, 9), COUNTS).to("cuda")
    metric.update(preds.cuda(), target.cuda())
    close(metric.compute(), MEMBERS, preds, target)


def test_sums_that_became_float32_on_a_device_without_float64_still_take_batches() -> None:
    metric = ShotMetrics(LabelBins.integers(0, 2), counts=torch.tensor([500, 50, 0]), metrics=["mae", "mse", "gm"])
    metric.sums = metric.sums.float()
    metric.update(torch.tensor([0.5, 1.0, 5.0]), torch.tensor([0.0, 1.0, 2.0]))
    assert metric.compute()["all"]["mae"].item() == pytest.approx(3.5 / 3)
