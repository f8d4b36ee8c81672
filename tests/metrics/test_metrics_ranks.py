"""Several ranks with uneven shards, one of them empty, give what one process gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.metrics import GM, MAE, MSE, BalancedMAE, Pearson, ShotMetrics, Spearman

COUNTS = torch.tensor([500, 101, 100, 20, 19, 1, 0])


def make_all() -> dict[str, Any]:
    bins = LabelBins.integers(0, 6)
    return {
        "mae": MAE(),
        "mse": MSE(),
        "gm": GM(),
        "pearson": Pearson(),
        "spearman": Spearman(),
        "balanced_mae": BalancedMAE(bins),
        "shots": ShotMetrics(bins, COUNTS),
    }


def sample() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    target = torch.randint(0, 7, (211,), generator=generator).float()
    return (target + torch.randn(211, generator=generator)).round(decimals=1), target


def compute_on_rank(rank: int, world_size: int, preds: Tensor, target: Tensor, empty: int) -> Any:
    """Give each rank a shard and batches of a different size; rank ``empty`` gets no data."""
    sharing = [r for r in range(world_size) if r != empty]
    bounds = {r: 211 * i**2 // len(sharing) ** 2 for i, r in enumerate(sharing)}
    start = bounds.get(rank, 0)
    later = [bound for bound in bounds.values() if bound > start]
    stop = (min(later) if later else 211) if rank in bounds else start
    metrics = make_all()
    results: dict[str, Any] = {}
    for name, metric in metrics.items():
        for part in range(start, stop, 10 + rank):
            metric.update(preds[part : min(stop, part + 10 + rank)], target[part : min(stop, part + 10 + rank)])
        metric.compute()
        metric._computed = None
        results[name] = metric.compute()  # again: gathering must not have changed the local state
    return results


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize(("world_size", "empty"), [(2, -1), (3, 1)])
def test_ranks_agree_with_one_process(spawn_ranks: Callable[..., list[Any]], world_size: int, empty: int) -> None:
    preds, target = sample()
    expected = make_all()
    for metric in expected.values():
        metric.update(preds, target)
    ranks = spawn_ranks(compute_on_rank, world_size, preds, target, empty)
    for results in ranks:
        for name, metric in expected.items():
            torch.testing.assert_close(results[name], metric.compute(), rtol=1e-12, atol=0, equal_nan=True)
    assert expected["shots"].compute()["all"]["n"] == 211
