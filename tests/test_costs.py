"""Decisions under a user's cost, against closed forms and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, optimize

from dir.bins import LabelBins
from dir.cells import LabelCells
from dir.costs import LinearCost, SquaredCost, UtilityCost, as_cost, decide, expected_cost
from dir.losses import CostLoss, WeightedL1, WeightedMSE
from dir.metrics import MeanCost
from dir.metrics.functional import mean_cost
from dir.models import HistogramHead

EDGES = torch.tensor([0.0, 0.5, 1.5, 2.0, 5.0, 9.0])
PROBABILITY = torch.tensor([[0.1, 0.2, 0.3, 0.25, 0.15], [0.0, 0.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.0, 0.0, 0.5]])


def density(row: int, y: float) -> float:
    cell = min(int(np.searchsorted(EDGES.numpy(), y, side="right")) - 1, 4)
    return float(PROBABILITY[row, cell] / (EDGES[cell + 1] - EDGES[cell]))


def integral(row: int, function) -> float:
    return sum(
        integrate.quad(lambda y: function(y) * density(row, y), float(low), float(high))[0]
        for low, high in zip(EDGES[:-1] + 1e-9, EDGES[1:] - 1e-9, strict=True)
    )


@pytest.mark.parametrize("cost", [SquaredCost(), LinearCost(), LinearCost(5.0, 1.0), lambda p, y: (p - y).abs() ** 3])
def test_decision_minimises_the_integrated_cost(cost) -> None:
    decisions = decide(PROBABILITY, EDGES, cost, num_candidates=2001)
    for row in (0, 1):  # the third distribution has a gap, in which every prediction has the same absolute error

        def risk(a: float, row: int = row) -> float:
            return integral(row, lambda y: float(cost(torch.tensor(a), torch.tensor(y))))

        best = optimize.minimize_scalar(risk, bounds=(0.0, 9.0), method="bounded").x
        assert decisions[row].item() == pytest.approx(best, abs=6e-3)
        assert risk(decisions[row].item()) <= risk(best) + 1e-4


def test_expected_cost_equals_numerical_integration() -> None:
    prediction = torch.tensor([2.0, 3.0, 4.0])
    for power in (2, 4):
        got = expected_cost(PROBABILITY, EDGES, prediction, lambda p, y, power=power: (p - y) ** power)
        for row, a in enumerate(prediction.tolist()):
            exact = integral(row, lambda y, a=a, power=power: (a - y) ** power)
            assert got[row].item() == pytest.approx(exact, rel=1e-5)


def test_linear_decision_is_the_quantile_of_its_prices() -> None:
    uniform = torch.full((1, 10), 0.1)
    edges = torch.arange(11.0)
    assert decide(uniform, edges, LinearCost(under=4.0, over=1.0)).item() == pytest.approx(8.0)
    assert decide(uniform, edges, LinearCost.of_quantile(0.25)).item() == pytest.approx(2.5)
    assert decide(uniform, edges, "mae").item() == decide(uniform, edges, "mse").item() == pytest.approx(5.0)


def test_utility_of_finding_peaks_moves_the_decision_to_the_peak() -> None:
    # A common low label and a rare peak. Only a hit on the peak is useful.
    probability = torch.zeros(1, 100)
    probability[0, 10], probability[0, 90] = 0.8, 0.2
    edges = torch.linspace(0, 100, 101)
    peak = UtilityCost(lambda p, y: (((p - y).abs() < 3) & (y > 80)).double())
    assert abs(decide(probability, edges, peak).item() - 90.5) < 3
    assert decide(probability, edges, "mae").item() == pytest.approx(10.625)


def test_decision_agrees_with_the_point_predictions_of_a_histogram_head() -> None:
    torch.manual_seed(0)
    head = HistogramHead(4, LabelBins.uniform(0, 10, 10), num_cells=40, sigma=1.0)
    output = torch.randn(64, 40)
    probability = head.log_prob(output).exp()
    torch.testing.assert_close(decide(probability, head.cells.edges, "mse"), head.predict(output))
    torch.testing.assert_close(decide(probability, head.cells.edges, "mae"), head.quantile(output, 0.5))


def test_half_precision_probabilities_are_accepted() -> None:
    assert decide(PROBABILITY.half(), EDGES, "mse").dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: decide(PROBABILITY, EDGES[:-1], "mse"), r"probability.*\[3, 5\]"),
        (lambda: decide(PROBABILITY.log(), EDGES, "mse"), r"probability.*sum to 1"),
        (lambda: decide(PROBABILITY, EDGES, "rmse"), r"cost.*'rmse'"),
        (lambda: decide(PROBABILITY, EDGES, lambda p, y: (p - y).sum()), r"cost.*shape"),
        (lambda: decide(PROBABILITY, EDGES, lambda p, y: (p - y) / 0), r"cost.*finite"),
        (lambda: decide(PROBABILITY, EDGES, "mse", num_candidates=1), r"num_candidates.*1"),
        (lambda: expected_cost(PROBABILITY, EDGES, torch.zeros(2), "mse"), r"prediction.*\[2\]"),
        (lambda: LinearCost(under=0.0), r"under.*0\.0"),
        (lambda: LinearCost(over=-1.0), r"over.*-1\.0"),
        (lambda: LinearCost.of_quantile(1.0), r"q.*1\.0"),
        (lambda: mean_cost([1.0, 2.0], [1.0, 2.0], "mae", importance=[1.0, -1.0]), r"importance.*-1\.0"),
        (lambda: mean_cost([1.0, 2.0], [1.0, 2.0], "mae", importance=[1.0]), r"importance.*\[1\]"),
        (lambda: CostLoss("huber"), r"cost.*'huber'"),
        (lambda: CostLoss(lambda p, y: (p - y).sum())(torch.zeros(2), torch.zeros(2)), r"cost.*\[2\]"),
    ],
)
def test_bad_arguments_are_named(call, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_cost_loss_equals_the_losses_that_it_generalises() -> None:
    torch.manual_seed(0)
    pred, target, weight = torch.randn(50, requires_grad=True), torch.randn(50), torch.rand(50)
    for cost, other in (("mae", WeightedL1()), ("mse", WeightedMSE())):
        gradients = []
        for loss in (CostLoss(cost)(pred, target, weight), other(pred, target, weight)):
            gradients.append((loss.detach(), *torch.autograd.grad(loss, pred)))
        torch.testing.assert_close(gradients[0], gradients[1])


def test_training_with_a_linear_cost_learns_the_quantile() -> None:
    torch.manual_seed(0)
    target = torch.rand(2000)
    pred = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([pred], lr=0.05)
    loss = CostLoss(LinearCost(under=3.0, over=1.0))
    for _ in range(500):
        optimizer.zero_grad()
        loss(pred.expand(2000), target).backward()
        optimizer.step()
    assert pred.item() == pytest.approx(target.quantile(0.75).item(), abs=0.03)


@pytest.mark.parametrize("cost", ["mse", "mae", LinearCost(2.0, 1.0)])
def test_cost_loss_of_a_nan_label_is_nan_or_ignored(cost) -> None:
    pred = torch.tensor([1.0, 2.0], requires_grad=True)
    target = torch.tensor([float("nan"), 3.0])
    assert CostLoss(cost)(pred, target).isnan()
    (gradient,) = torch.autograd.grad(CostLoss(cost, ignore_nan=True)(pred, target), pred)
    assert gradient[0] == 0
    assert gradient[1] != 0


def test_mean_cost_over_batches_equals_the_function_and_numpy() -> None:
    rng = np.random.default_rng(0)
    preds, target, importance = rng.normal(size=30), rng.normal(size=30), rng.uniform(0, 2, size=30)
    error = preds - target
    expected = np.average(np.where(error > 0, error, -5 * error), weights=importance)
    cost = LinearCost(under=5.0, over=1.0)
    assert mean_cost(preds, target, cost, importance).item() == pytest.approx(expected, rel=1e-12)
    metric = MeanCost(cost)
    for rows in (slice(0, 7), slice(7, 30)):
        metric.update(preds[rows], target[rows], importance[rows])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-12)
    target[3] = np.nan
    assert np.isnan(mean_cost(preds, target, cost).item())
    kept = np.arange(30) != 3
    assert mean_cost(preds, target, cost, importance, ignore_nan=True).item() == pytest.approx(
        mean_cost(preds[kept], target[kept], cost, importance[kept]).item()
    )


def test_names_of_costs() -> None:
    assert as_cost("mse") == SquaredCost()
    assert as_cost("mae") == LinearCost(1.0, 1.0)


def test_cells_of_a_fitted_grid_can_be_used_directly() -> None:
    cells = LabelCells(LabelBins.uniform(0, 4, 4), num_cells=16, sigma=1.0)
    assert decide(torch.full((1, 16), 1 / 16), cells.edges, "mse").item() == pytest.approx(2.0)
