"""Tests of FDS under DistributedDataParallel with default settings: results equal those of one process.

Two and three gloo ranks with uneven shards. Features go to the layer as they are, so that nothing but the layer
stands between the ranks and one process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from dir.bins import LabelBins
from dir.fds import FDS

B, D, EPOCHS, STEPS = 8, 5, 3, 6
DTYPES = {"float64": torch.float64, "float32": torch.float32}
TOLERANCE = {"float64": 1e-8, "float32": 1e-5}


def data(epoch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Bin 7 is empty in epoch 0, and bin 5 in all epochs."""
    generator = torch.Generator().manual_seed(epoch)
    held = torch.tensor([0, 1, 2, 3, 4, 6] if epoch == 0 else [0, 1, 2, 3, 4, 6, 7])
    labels = held[torch.randint(0, len(held), (120,), generator=generator)].sort().values.to(dtype)
    noise = torch.randn(120, D, generator=generator, dtype=torch.float64).to(dtype)
    return noise * (1 + labels[:, None] / 4) + 3 * labels[:, None], labels


def shard(rank: int, world_size: int, epoch: int, rows: Tensor) -> Tensor:
    """Return uneven shards sorted by label: no rank sees all bins, and the last rank has no data in epoch 1."""
    cuts = {2: [81, 39], 3: [66, 43, 11]}[world_size]
    if epoch == 1:
        cuts = {2: [120, 0], 3: [77, 43, 0]}[world_size]
    return rows.split(cuts)[rank]


class Model(nn.Module):
    """A model with a parameter that does not change the features, because DistributedDataParallel needs one."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.fds = FDS(D, LabelBins.integers(0, B - 1))
        torch.manual_seed(0)
        self.head = nn.Linear(D, 1)
        self.to(dtype)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return self.head(self.fds(features, labels)).squeeze(1)


def state(fds: FDS) -> dict[str, Tensor]:
    """Return running and smoothed statistics, tables and counters."""
    names = ("running_mean", "running_var", "scale", "shift", "num_samples", "num_samples_var", "last_count")
    mean, var = fds.smoothed_statistics()
    return {"smoothed_mean": mean, "smoothed_var": var} | {name: getattr(fds, name).clone() for name in names}


def statistics(rank: int, world_size: int, dtype: torch.dtype) -> list[dict[str, Tensor]]:
    """Return the state after each epoch; all ranks have the same number of batches, and some are empty."""
    model = Model(dtype)
    wrapped, out = DistributedDataParallel(model), []
    for epoch in range(EPOCHS):
        features, labels = (shard(rank, world_size, epoch, rows) for rows in data(epoch, dtype))
        for rows, part in zip(features.tensor_split(STEPS), labels.tensor_split(STEPS), strict=True):
            wrapped(rows, part).sum().backward()
        model.fds.end_epoch()
        out.append(state(model.fds))
    return out


def gradients(rank: int, world_size: int) -> dict[str, Tensor]:
    """Return the gradients of a loss that is the mean over the samples of all ranks."""
    model = calibrating()
    wrapped = DistributedDataParallel(model)
    features, labels = (shard(rank, world_size, 0, rows) for rows in data(0, torch.float64))
    inputs = features.clone().requires_grad_()
    # DistributedDataParallel averages over ranks, but a sum over samples is needed.
    loss = (wrapped(inputs, labels) - labels).square().sum() * world_size / 120
    loss.backward()
    return {"inputs": inputs.grad / world_size} | {name: p.grad for name, p in model.named_parameters()}


def calibrating() -> Model:
    """Return a model with a closed epoch, so that its tables change features."""
    model = Model(torch.float64)
    before = FDS(D, LabelBins.integers(0, B - 1)).double()
    before(*data(2, torch.float64))
    before.end_epoch(process_group=_alone())
    model.fds.load_state_dict(before.state_dict())
    return model


def _alone() -> Any:
    """Return a group of this rank only, so that its sums are not added over ranks."""
    if not torch.distributed.is_initialized():
        return None
    groups = [torch.distributed.new_group([rank]) for rank in range(torch.distributed.get_world_size())]
    return groups[torch.distributed.get_rank()]


class Collectives(TorchDispatchMode):
    """Count collective operations."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            self.found[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def collectives(rank: int, world_size: int) -> dict[str, dict[str, int]]:
    """Return the messages that an epoch of the bare layer sends in its steps and in end_epoch."""
    fds = Model(torch.float32).fds
    with Collectives() as steps:
        features, labels = (shard(rank, world_size, 0, rows) for rows in data(0, torch.float32))
        for rows, part in zip(features.split(8), labels.split(8), strict=True):
            fds(rows.requires_grad_(), part).sum().backward()
    with Collectives() as end:
        fds.end_epoch()
    return {"steps": dict(steps.found), "end": dict(end.found)}


def everything(rank: int, world_size: int) -> dict[str, Any]:
    """Run all scenarios in one start of the ranks, because starting ranks is slow."""
    scenarios: tuple[Callable[[int, int], Any], ...] = (gradients, collectives)
    out = {scenario.__name__: scenario(rank, world_size) for scenario in scenarios}
    return out | {name: statistics(rank, world_size, dtype) for name, dtype in DTYPES.items()}


@pytest.fixture(scope="module", params=[2, 3], ids=["two ranks", "three ranks"])
def ranks(request: pytest.FixtureRequest, spawn_ranks: Any) -> list[dict[str, Any]]:
    return spawn_ranks(everything, request.param)


@pytest.mark.filterwarnings("ignore:FDS.*ratio_clip")
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_statistics_and_tables_equal_those_of_one_process(ranks: list[dict[str, Any]], dtype: str) -> None:
    alone = Model(DTYPES[dtype]).fds
    for epoch in range(EPOCHS):
        alone(*data(epoch, DTYPES[dtype]))
        alone.end_epoch()
        wanted = state(alone)
        assert wanted["num_samples"][5] == 0
        assert (wanted["num_samples"][7] == 0) == (epoch == 0)
        for result in ranks:
            for name, value in wanted.items():
                found = result[dtype][epoch][name]
                assert found.dtype == value.dtype, name
                torch.testing.assert_close(found, value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], msg=name)


def test_gradients_equal_those_of_one_process(ranks: list[dict[str, Any]]) -> None:
    model = calibrating()
    features, labels = data(0, torch.float64)
    inputs = features.clone().requires_grad_()
    (model(inputs, labels) - labels).square().mean().backward()
    scale = model.fds.scale[model.fds.bins(labels)]
    assert float((scale - 1).abs().max()) > 0.1, "the tables act, so that their gradient shows"
    wanted = {name: parameter.grad for name, parameter in model.named_parameters()}
    for rank, result in enumerate(ranks):
        found = result["gradients"]
        own = shard(rank, len(ranks), 0, inputs.grad)
        torch.testing.assert_close(found.pop("inputs"), own, rtol=1e-10, atol=1e-12)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12)


def test_an_epoch_costs_one_collective(ranks: list[dict[str, Any]]) -> None:
    for result in ranks:
        assert result["collectives"] == {"steps": {}, "end": {"c10d::allreduce_": 1}}


def one_rank_fails(rank: int, world_size: int) -> None:
    """Raise on rank 1 in a step, while the other ranks wait for its gradients."""
    wrapped = DistributedDataParallel(Model(torch.float32))
    features, labels = (shard(rank, world_size, 0, rows) for rows in data(0, torch.float32))
    for step in range(STEPS):
        if rank == 1 and step == 2:
            features = features[:, :-1]
        wrapped(features, labels).sum().backward()


def test_an_error_on_one_rank_in_a_step_ends_all_ranks(spawn_ranks: Any) -> None:
    with pytest.raises(AssertionError) as caught:
        spawn_ranks(one_rank_fails, 3)
    assert "ranks hung: [], exit codes [1, 1, 1]" in str(caught.value)
    assert "ValueError: features: expected" in str(caught.value)
