"""Tests of FDS behind an encoder sharded by fully_shard: results equal those of one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.fds import FDS

fsdp = pytest.importorskip("torch.distributed.fsdp", reason="needs torch.distributed")
if not hasattr(fsdp, "fully_shard"):
    pytest.skip("this torch has no fully_shard", allow_module_level=True)
if not hasattr(torch.cpu.current_stream(), "record_event"):
    pytest.skip("fully_shard of this torch does not run on the CPU", allow_module_level=True)

B, D, EPOCHS, ROWS = 5, 6, 2, 48


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, D))
        self.fds = FDS(D, LabelBins.integers(0, B - 1))
        self.head = nn.Linear(D, 1)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.head(self.fds(self.encoder(inputs), labels)).squeeze(1)


def data(epoch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(epoch)
    labels = torch.randint(0, B, (ROWS,), generator=generator).float()
    return torch.randn(ROWS, 3, generator=generator) + labels[:, None], labels


def state(model: Model) -> dict[str, Tensor]:
    names = ("running_mean", "running_var", "scale", "shift", "num_samples")
    return {name: getattr(model.fds, name).clone() for name in names}


def train(model: Model, rank: int = 0, world_size: int = 1) -> dict[str, Any]:
    """Train in the order of the recipes; each rank uses every `world_size`-th row."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    states = []
    for epoch in range(EPOCHS):
        inputs, labels = (rows[rank::world_size] for rows in data(epoch))
        for some, part in zip(inputs.chunk(4), labels.chunk(4), strict=True):
            loss = (model(some, part) - part).square().mean()
            optimizer.zero_grad()
            loss.backward()
            for parameter in [] if world_size == 1 else [*model.fds.parameters(), *model.head.parameters()]:
                _average(parameter)
            optimizer.step()
        model.fds.end_epoch()
        states.append(state(model))
    return {"states": states, "weights": {name: _whole(p) for name, p in model.named_parameters()}}


def _average(parameter: nn.Parameter) -> None:
    """Average parameters outside of the sharded module by hand; fully_shard averages the others."""
    if not isinstance(parameter, torch.distributed.tensor.DTensor):
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= torch.distributed.get_world_size()


def _whole(parameter: Tensor) -> Tensor:
    full = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    return full.detach().clone()


def shard_encoder(rank: int, world_size: int) -> dict[str, Any]:
    return _sharded(rank, world_size, whole_model=False)


def shard_model(rank: int, world_size: int) -> dict[str, Any]:
    return _sharded(rank, world_size, whole_model=True)


def _sharded(rank: int, world_size: int, whole_model: bool) -> dict[str, Any]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor

    mesh = init_device_mesh("cpu", (world_size,))
    model = Model()
    fsdp.fully_shard(model.encoder, mesh=mesh)
    if whole_model:
        fsdp.fully_shard(model, mesh=mesh)
    out = train(model, rank, world_size)
    weight = model.encoder[0].weight
    assert isinstance(weight, DTensor)
    return out | {"local_rows": weight.to_local().shape[0]}


def half_precision(rank: int, world_size: int) -> dict[str, Any]:
    """A policy casts the inputs of the sharded module: the features, and for the whole model the labels too."""
    policy = fsdp.MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    encoder, whole = Model(), Model()
    fsdp.fully_shard(encoder.encoder, mp_policy=policy)
    fsdp.fully_shard(whole, mp_policy=policy)
    inputs, labels = (rows[rank::world_size] for rows in data(0))
    features = encoder.encoder(inputs)
    encoder.fds(features, labels)
    encoder.fds.end_epoch()
    try:
        whole(inputs, labels)
    except TypeError as error:
        refused = str(error)
    return {"features": str(features.dtype), "num_samples": encoder.fds.num_samples.clone(), "refused": refused}


def averages(rank: int, world_size: int) -> bool:
    """Return whether fully_shard averages gradients on the CPU; that of torch 2.7 sums them."""
    torch.manual_seed(0)
    sharded, alone, inputs = nn.Linear(3, 4), nn.Linear(3, 4), torch.randn(2 * world_size, 3)
    alone.load_state_dict(sharded.state_dict())
    fsdp.fully_shard(sharded)
    for layer, rows in ((alone, inputs), (sharded, inputs[rank::world_size])):
        layer(rows).square().mean().backward()
    return torch.allclose(_whole(sharded.weight.grad), alone.weight.grad, rtol=1e-4)


def everything(rank: int, world_size: int) -> dict[str, Any]:
    """Run all scenarios in one start of the ranks, because starting ranks is slow."""
    return {way.__name__: way(rank, world_size) for way in (averages, shard_encoder, shard_model, half_precision)}


@pytest.fixture(scope="module")
def ranks(spawn_ranks: Any) -> list[dict[str, Any]]:
    return spawn_ranks(everything, 2)


@pytest.mark.filterwarnings("ignore:FDS.*ratio_clip")
@pytest.mark.parametrize("way", ["shard_encoder", "shard_model"])
def test_sharded_training_equals_training_in_one_process(ranks: list[dict[str, Any]], way: str) -> None:
    if not ranks[0]["averages"]:
        pytest.skip("fully_shard of this torch sums gradients on the CPU")
    alone = train(Model())
    assert float((alone["states"][0]["scale"] - 1).abs().max()) > 0.1, "the second epoch is calibrated"
    for result in ranks:
        found = result[way]
        assert found["local_rows"] == 4, "each rank holds half of the first layer"
        for epoch, wanted in enumerate(alone["states"]):
            for name, value in wanted.items():
                torch.testing.assert_close(found["states"][epoch][name], value, rtol=1e-5, atol=1e-5, msg=name)
        for name, value in alone["weights"].items():
            torch.testing.assert_close(found["weights"][name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_half_precision_of_a_sharded_encoder_does_not_change_labels(ranks: list[dict[str, Any]]) -> None:
    labels = data(0)[1]
    for result in ranks:
        found = result["half_precision"]
        assert found["features"] == "torch.bfloat16"
        assert torch.equal(found["num_samples"], torch.bincount(labels.long(), minlength=B))
        assert "labels" in found["refused"]
