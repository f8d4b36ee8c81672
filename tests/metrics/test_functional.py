"""The functional metrics against NumPy, the table of metrics, and what they import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from dir.bins import LabelBins
from dir.costs import LinearCost
from dir.metrics import METRICS, ShotMetrics, functional
from dir.metrics import table as metric_table
from dir.metrics.functional import shots
from dir.metrics.table import BY_SHOT, TABLE, MetricInfo

BINS = LabelBins.integers(0, 9)
# Costs of the metrics that need the importance of each row, or a cost.
COSTS = {"cost": "mae", "weighted_cost": "mae", "weighted_mae": "mae", "weighted_mse": "mse"}
COUNTS = torch.tensor([500, 101, 100, 60, 20, 19, 5, 1, 0, 0])


def sample(n: int = 300) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 10, n).astype(np.float64)
    return torch.from_numpy(target + rng.normal(0, 1, n)), torch.from_numpy(target)


def relevance(labels: Tensor) -> Tensor:
    return labels / 10


def weighted(power: int) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda p, t: float(np.average(np.abs(p - t) ** power, weights=t))


def balanced(p: np.ndarray, t: np.ndarray) -> float:
    return float(np.mean([np.abs(p - t)[t == label].mean() for label in np.unique(t)]))


def curve(p: np.ndarray, t: np.ndarray) -> list[float]:
    return [((p - t) ** 2)[t >= step].sum() for step in range(17)]


def density_correlation(p: np.ndarray, t: np.ndarray) -> float:
    means = [np.abs(p - t)[t == label].mean() for label in range(10)]
    return float(np.corrcoef(means, COUNTS.numpy())[0, 1])


def hits(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    gap = (np.abs(p - t) - 1) / 1
    return np.where(gap <= 0, 1 - np.exp(-4 * gap**2), 0)


def share(of: np.ndarray, weight: np.ndarray) -> float:
    rare = np.where(weight / 10 >= 0.5, weight / 10, 0)
    return float((of * rare).sum() / rare.sum())


def f1(p: np.ndarray, t: np.ndarray) -> float:
    first, second = share(hits(p, t), p), share(hits(p, t), t)
    return 2 * first * second / (first + second)


RARE: dict[str, Any] = {"relevance": relevance, "tolerance": 1.0, "threshold": 0.5, "steepness": 4.0}
CASES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray, np.ndarray], Any]]] = {
    "mae": ({}, lambda p, t: np.abs(p - t).mean()),
    "mse": ({}, lambda p, t: ((p - t) ** 2).mean()),
    "rmse": ({}, lambda p, t: np.sqrt(((p - t) ** 2).mean())),
    "abs_rel": ({}, lambda p, t: (np.abs(p - t)[t > 0] / t[t > 0]).mean()),
    "delta1": ({}, lambda p, t: (np.abs(np.log(p.clip(1e-9)[t > 0] / t[t > 0])) <= np.log(1.25)).mean()),
    "geometric_mean": ({}, lambda p, t: stats.gmean(np.abs(p - t))),
    "balanced_mae": ({"bins": BINS}, balanced),
    "balanced_mase": (
        {"constant": 3.0, "bins": BINS},
        lambda p, t: balanced(p, t) / balanced(np.full_like(t, 3.0), t),
    ),
    "pearson": ({}, lambda p, t: stats.pearsonr(p, t).statistic),
    "spearman": ({}, lambda p, t: stats.spearmanr(p, t).statistic),
    "relevance_mae": ({"relevance": relevance}, weighted(1)),
    "relevance_mse": ({"relevance": relevance}, weighted(2)),
    # Sixteenths are exact in floating point, and each relevance lies on a threshold.
    "ser_curve": ({"relevance": lambda labels: labels / 16, "steps": 16}, curve),
    "sera": (
        {"relevance": lambda labels: labels / 16, "steps": 16},
        lambda p, t: integrate.trapezoid(curve(p, t), dx=1 / 16),
    ),
    "mean_cost": ({"cost": LinearCost(under=5.0)}, lambda p, t: np.where(p > t, p - t, 5 * (t - p)).mean()),
    "error_density_correlation": ({"bins": BINS, "density": COUNTS}, density_correlation),
    "utility_precision": (RARE, lambda p, t: share(hits(p, t), p)),
    "utility_recall": (RARE, lambda p, t: share(hits(p, t), t)),
    "utility_f1": (RARE, f1),
}


def metric_functions() -> list[str]:
    """Return the functions of the package that take predictions and labels, found by their signatures."""
    signatures = {name: list(inspect.signature(getattr(functional, name)).parameters) for name in functional.__all__}
    return [
        name
        for name, parameters in signatures.items()
        if parameters[:2] == ["preds", "target"] and name != "shot_metrics"
    ]


@pytest.mark.parametrize("name", metric_functions())
def test_each_function_is_its_formula(name: str) -> None:
    preds, target = sample()
    arguments, expected = CASES[name]
    value = getattr(functional, name)(preds, target, **arguments)
    assert value.dtype == torch.float64
    np.testing.assert_allclose(value.numpy(), expected(preds.numpy(), target.numpy()), rtol=1e-9)


def test_shot_metrics_is_the_class() -> None:
    preds, target = sample()
    metric = ShotMetrics(BINS, COUNTS)
    metric.update(preds, target)
    expected, result = metric.compute(), functional.shot_metrics(preds, target, BINS, COUNTS)
    assert {group: set(values) for group, values in result.items()} == {g: set(v) for g, v in expected.items()}
    for group, values in expected.items():
        for name, value in values.items():
            torch.testing.assert_close(result[group][name], value, rtol=0, atol=0, equal_nan=True)


def test_each_row_of_the_table_is_computed() -> None:
    preds, target = sample()
    by_shot = functional.shot_metrics(preds, target, BINS, COUNTS, metrics=BY_SHOT)["all"]
    variance = torch.ones_like(preds)
    weighted = {name: {"cost": cost, "importance": target + 1} for name, cost in COSTS.items()}
    arguments: dict[str, dict[str, Any]] = {"balanced_mae": {"bins": BINS}, **weighted}
    for info in TABLE:
        inputs = (preds, target) if info.by_shot or info.name in weighted else (preds, variance, target)
        value = getattr(functional, info.function)(*inputs, **arguments.get(info.name, {}))
        assert torch.isfinite(value), info.name
        if info.by_shot:
            torch.testing.assert_close(by_shot[info.name], value, rtol=1e-12, atol=0)
    assert set(by_shot) == {"n", *BY_SHOT}
    default = functional.shot_metrics(preds, target, BINS, COUNTS)["all"]
    assert set(default) == {"n", *METRICS} == set(by_shot) - {"rmse", "abs_rel", "delta1"}


def test_labels_without_a_ratio_are_left_out_of_relative_errors_and_nan_is_not_hidden() -> None:
    preds, target = [1.0, 3.0, 5.0, 4.0], [0.0, -2.0, 4.0, 8.0]
    assert functional.abs_rel(preds, target).item() == (0.25 + 0.5) / 2
    assert functional.delta1(preds, target).item() == 0.5  # 5 / 4 is the bound itself
    for function in (functional.abs_rel, functional.delta1):
        assert torch.isnan(function([1.0], [0.0]))
        assert torch.isnan(function([1.0, 1.0], [float("nan"), 1.0]))
        assert function([1.0, 1.0], [float("nan"), 1.0], ignore_nan=True) == float(function is functional.delta1)


def test_each_row_of_the_table_is_documented() -> None:
    assert len({info.name for info in TABLE}) == len(TABLE)
    for info in TABLE:
        function = getattr(functional, info.function)
        assert len(info.description) > 10
        assert len(function.__doc__) > 100, f"{info.function} needs a docstring"
        if info.by_shot:
            assert f'"{info.name}"' in str(ShotMetrics.__doc__), f"name {info.name} in the docstring of ShotMetrics"
        assert (info.better == "nearest") == (info.best is not None), info.name
        assert not info.monitored or info.better == "lower", info.name


def test_a_metric_is_added_by_its_function_and_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def bias(preds: Tensor, target: Tensor) -> Tensor:
        """Return the mean signed error."""
        return (preds - target).mean()

    row = MetricInfo("bias", "bias", "mean signed error", "nearest", 0.0)
    monkeypatch.setattr(functional, "bias", bias, raising=False)
    monkeypatch.setattr(shots, "TABLE", (*metric_table.TABLE, row))
    monkeypatch.setattr(shots, "BY_SHOT", (*BY_SHOT, "bias"))
    preds, target = sample()
    metric = ShotMetrics(BINS, COUNTS, metrics=["mae", "bias"])
    for part in torch.arange(300).split(70):
        metric.update(preds[part], target[part])
    result = metric.compute()
    few = ((target >= 5) & (target <= 7)).numpy()
    error = (preds - target).numpy()
    np.testing.assert_allclose(result["few"]["bias"], error[few].mean(), rtol=1e-12)
    np.testing.assert_allclose(result["all"]["bias"], error.mean(), rtol=1e-12)


def test_table_and_functions_come_without_torchmetrics() -> None:
    code = (
        "import sys\n"
        "import dir.metrics.table\n"
        "assert 'torch' not in sys.modules\n"
        "from dir.metrics.functional import mae, shot_metrics\n"
        "assert mae([1.0], [2.0]) == 1.0\n"
        "print('torchmetrics' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
