"""Tests of FDS on two and three gloo ranks with uneven shards: statistics equal those of one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dir.bins import LabelBins
from dir.fds import FDS

B, D, EPOCHS = 6, 4, 3


def make(**kwargs: Any) -> FDS:
    return FDS(D, LabelBins.integers(0, B - 1), **kwargs)


def epoch_data(epoch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(epoch)
    labels = torch.randint(0, B, (90,), generator=generator).sort().values.float()
    return torch.randn(90, D, generator=generator) * (1 + labels[:, None]) + 10 * labels[:, None], labels


def shard(rank: int, world_size: int, rows: Tensor) -> Tensor:
    """Return uneven shards sorted by label: no rank sees all bins, and batch counts differ."""
    cuts = {1: [90], 2: [61, 29], 3: [50, 33, 7]}[world_size]
    return rows.split(cuts)[rank]


def tables(fds: FDS) -> dict[str, Tensor]:
    names = ("scale", "shift", "running_mean", "running_var", "num_samples", "last_count", "epoch")
    return {name: getattr(fds, name).clone() for name in names}


def collect_epochs(rank: int, world_size: int) -> list[dict[str, Any]]:
    """Train a bare FDS; each rank has its own number of batches, and one rank has no data in epoch 1."""
    fds, out = make(), []
    for epoch in range(EPOCHS):
        features, labels = (shard(rank, world_size, rows) for rows in epoch_data(epoch))
        if epoch == 1 and world_size > 1 and rank == world_size - 1:
            fds(features[:0], labels[:0])
        elif epoch == 2 and world_size > 1 and rank == 0:
            pass  # not even a forward
        else:
            for rows, part in zip(features.split(8), labels.split(8), strict=True):
                fds(rows, part)
        diagnostics = fds.end_epoch()
        out.append({**tables(fds), "diagnostics": diagnostics})
    return out


def expected_epochs(world_size: int) -> list[dict[str, Any]]:
    """Train one process with the data of all ranks."""
    fds, out = make(), []
    for epoch in range(EPOCHS):
        for rank in range(world_size):
            if (epoch, rank) in {(1, world_size - 1), (2, 0)}:
                continue
            fds(*(shard(rank, world_size, rows) for rows in epoch_data(epoch)))
        diagnostics = fds.end_epoch()
        out.append({**tables(fds), "diagnostics": diagnostics})
    return out


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D))
        self.fds = make()
        self.head = nn.Linear(D, 1)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.head(self.fds(self.encoder(inputs), labels)).squeeze(1)


def train_under_ddp(rank: int, world_size: int) -> dict[str, Any]:
    """Train under DDP with default settings (broadcast_buffers=True) and uneven batches."""
    model = Model()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for epoch in range(2):
        features, labels = (shard(rank, world_size, rows) for rows in epoch_data(epoch))
        for rows, part in zip(features.tensor_split(7), labels.tensor_split(7), strict=True):
            loss = (wrapped(rows, part) - part).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        counted = float(model.fds.sums.count.sum())
        if epoch == 0:
            model.fds.end_epoch()
    model.fds.end_epoch()
    return {**tables(model.fds), "counted": counted, "weight": model.head.weight.detach()}


def ddp_statistics(rank: int, world_size: int) -> dict[str, Tensor]:
    """A frozen encoder under DDP, whose recorded features are known beforehand."""
    model = Model()
    model.encoder.requires_grad_(False)
    wrapped = DistributedDataParallel(model)
    features, labels = (shard(rank, world_size, rows) for rows in epoch_data(0))
    for rows, part in zip(features.tensor_split(5), labels.tensor_split(5), strict=True):
        wrapped(rows, part).sum().backward()
    model.fds.end_epoch()
    return tables(model.fds)


def end_epoch_errors(rank: int, world_size: int) -> dict[str, Any]:
    """Return the message of each error, and whether the state is unchanged."""
    out: dict[str, Any] = {}
    fds = make()
    before = tables(fds)
    try:
        fds.end_epoch()
    except RuntimeError as error:
        out["nothing"] = str(error)
    out["unchanged"] = all(torch.equal(value, before[name]) for name, value in tables(fds).items())
    if rank == world_size - 1:
        fds(torch.randn(3, D), torch.tensor([0.0, float("nan"), float("nan")]))
    else:
        fds(torch.randn(3, D), torch.zeros(3))
    try:
        fds.end_epoch()
    except ValueError as error:
        out["nan"] = str(error)
    out["unchanged_by_nan"] = all(torch.equal(value, before[name]) for name, value in tables(fds).items())
    return out


def non_finite_features(rank: int, world_size: int) -> dict[str, Any]:
    """Collect an overflow in bin 0, only on rank 0."""
    fds = make()
    features = torch.ones(4, D)
    features[1, 2] = float("inf") if rank == 0 else 1.0
    fds(features, torch.zeros(4))
    fds(torch.full((4, D), float(rank)), torch.ones(4))
    return {"diagnostics": fds.end_epoch(), "num_samples": fds.num_samples.clone()}


def subgroup(rank: int, world_size: int) -> Tensor | None:
    """Close an epoch of ranks 0 and 1 only."""
    pair = dist.new_group([0, 1])
    if rank > 1:
        return None
    fds = make()
    fds(torch.full((2, D), float(rank)), torch.zeros(2))
    fds.end_epoch(process_group=pair)
    return fds.running_mean[0].clone()


def everything(rank: int, world_size: int) -> dict[str, Any]:
    """Run all scenarios in one start of the ranks, because starting ranks is slow."""
    scenarios = (collect_epochs, train_under_ddp, ddp_statistics, end_epoch_errors, non_finite_features, subgroup)
    return {scenario.__name__: scenario(rank, world_size) for scenario in scenarios}


@pytest.fixture(scope="module", params=[2, 3], ids=["two ranks", "three ranks"])
def ranks(request: pytest.FixtureRequest, spawn_ranks) -> list[dict[str, Any]]:
    return spawn_ranks(everything, request.param)


def test_uneven_ranks_agree_with_one_process(ranks: list[dict[str, Any]]) -> None:
    """Check shards where no rank sees all bins, batch counts differ, and one rank never runs forward."""
    expected = expected_epochs(len(ranks))
    for result in ranks:
        for epoch, wanted in zip(result["collect_epochs"], expected, strict=True):
            assert epoch["diagnostics"] == pytest.approx(wanted["diagnostics"], rel=1e-9, abs=1e-9)
            for name in tables(make()):
                torch.testing.assert_close(epoch[name], wanted[name], rtol=1e-6, atol=1e-6)


def test_all_ranks_have_bit_identical_tables(ranks: list[dict[str, Any]]) -> None:
    for result in ranks[1:]:
        for epoch, first in zip(result["collect_epochs"], ranks[0]["collect_epochs"], strict=True):
            assert all(torch.equal(epoch[name], first[name]) for name in tables(make()))
        for name in ("shift", "weight"):
            assert torch.equal(result["train_under_ddp"][name], ranks[0]["train_under_ddp"][name])


def test_ddp_with_default_settings_does_not_overwrite_the_sums(ranks: list[dict[str, Any]]) -> None:
    labels = epoch_data(1)[1]
    for rank, result in enumerate(ranks):
        assert result["train_under_ddp"]["counted"] == len(shard(rank, len(ranks), labels))
    trained = ranks[0]["train_under_ddp"]
    assert int(trained["num_samples"].sum()) == 180
    assert torch.equal(trained["last_count"], torch.bincount(labels.long(), minlength=B))


def test_statistics_under_ddp_equal_those_of_a_single_process(ranks: list[dict[str, Any]]) -> None:
    model = Model()
    features, labels = epoch_data(0)
    with torch.no_grad():
        rows = model.encoder(features)
    model.fds(rows, labels)
    model.fds.end_epoch()
    for result in ranks:
        for name, value in tables(model.fds).items():
            torch.testing.assert_close(result["ddp_statistics"][name], value, rtol=1e-5, atol=1e-6)


def test_an_error_on_one_rank_is_an_error_on_all_with_the_state_unchanged(ranks: list[dict[str, Any]]) -> None:
    for result in ranks:
        errors = result["end_epoch_errors"]
        assert "collected" in errors["nothing"]
        assert "2" in errors["nan"]
        assert errors["unchanged"]
        assert errors["unchanged_by_nan"]


def test_an_overflow_on_one_rank_keeps_that_bins_statistics_on_all(ranks: list[dict[str, Any]]) -> None:
    for result in ranks:
        found = result["non_finite_features"]
        assert found["diagnostics"]["bins_nonfinite"] == 1
        assert found["num_samples"].tolist() == [0, 4 * len(ranks), 0, 0, 0, 0]


def test_a_process_group_limits_the_ranks_that_are_added(ranks: list[dict[str, Any]]) -> None:
    for result in ranks[:2]:
        assert result["subgroup"].tolist() == [0.5] * D
