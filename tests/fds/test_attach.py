"""Tests of attach_fds: results equal those of a model whose code calls FDS, and the model stays the user's own."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.parallel import DistributedDataParallel

from dir.bins import LabelBins
from dir.fds import FDS, attach_fds, detach_fds

B, D, N = 6, 8, 60
BINS = LabelBins.integers(0, B - 1)
LABELS = torch.arange(N).remainder(B).float()
INPUTS = torch.randn(N, 4, generator=torch.Generator().manual_seed(1)) + LABELS[:, None] / 3


class Net(nn.Module):
    """A model of a user, without FDS."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(4, D), nn.Tanh())
        self.fc = nn.Linear(D, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(self.encoder(inputs)).squeeze(1)


class Edited(Net):
    """The same model, edited by hand: the oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.fds = FDS(D, BINS)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.fc(self.fds(self.encoder(inputs), labels)).squeeze(1)


def attached() -> tuple[Net, FDS]:
    model = Net()
    return model, attach_fds(model, FDS(D, BINS), before="fc")


def train(
    model: nn.Module, fds: FDS, step: Callable[..., Tensor], epochs: int = 3, accumulate: int = 1
) -> list[float]:
    """Train in batches of 16, 16, 16 and 12 rows; return the losses."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(epochs):
        for index, rows in enumerate(torch.arange(N).split(16)):
            loss = (step(INPUTS[rows], LABELS[rows]) - LABELS[rows]).square().mean()
            loss.backward()
            losses.append(loss.item())
            if (index + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        fds.end_epoch()
    return losses


def with_labels(model: Callable[..., Tensor], fds: FDS) -> Callable[..., Tensor]:
    def step(inputs: Tensor, labels: Tensor) -> Tensor:
        with fds.labels(labels):
            return model(inputs)

    return step


def assert_same_state(found: nn.Module, wanted: nn.Module) -> None:
    torch.testing.assert_close(found.state_dict(), wanted.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_equals_that_of_an_edited_model_to_the_last_bit(accumulate: int) -> None:
    edited, (model, fds) = Edited(), attached()
    wanted = train(edited, edited.fds, edited, accumulate=accumulate)
    assert train(model, fds, with_labels(model, fds), accumulate=accumulate) == wanted
    assert_same_state(fds, edited.fds)
    assert not torch.equal(fds.scale, torch.ones_like(fds.scale))
    assert torch.equal(model.fc.weight, edited.fc.weight)
    assert torch.equal(model.eval()(INPUTS), edited.eval()(INPUTS))


def test_in_eval_mode_the_model_computes_what_it_computed_without_fds() -> None:
    model, fds = attached()
    train(model, fds, with_labels(model, fds))
    plain = Net()
    plain.load_state_dict(model.state_dict())
    model.eval()
    with fds.labels(LABELS):  # labels do nothing in eval mode
        assert torch.equal(model(INPUTS), plain(INPUTS))
    assert torch.equal(model(INPUTS), plain(INPUTS))
    assert float(fds.sums.count.sum()) == 0


def test_names_in_the_state_dict_do_not_change_and_weights_load_both_ways() -> None:
    plain, (model, fds) = Net(), attached()
    train(model, fds, with_labels(model, fds))
    before = copy.deepcopy(fds.state_dict())
    weights = model.state_dict()
    assert list(weights) == list(plain.state_dict())
    assert list(weights._metadata) == list(plain.state_dict()._metadata)
    plain.load_state_dict(weights)
    given = Net().state_dict()
    keys = list(given)
    for assign in (False, True):
        assert str(model.load_state_dict(given, assign=assign)) == "<All keys matched successfully>"
    assert list(given) == keys
    torch.testing.assert_close(fds.state_dict(), before, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match=r"Missing key.*encoder\.0\.weight"):
        model.load_state_dict({"fc.weight": plain.fc.weight, "fc.bias": plain.fc.bias})


def test_a_training_resumes_exactly_from_both_state_dicts() -> None:
    straight, straight_fds = attached()
    wanted = train(straight, straight_fds, with_labels(straight, straight_fds), epochs=4)
    model, fds = attached()
    train(model, fds, with_labels(model, fds), epochs=2)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "fds": fds.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, resumed_fds = attached()
    resumed.load_state_dict(saved["model"])
    resumed_fds.load_state_dict(saved["fds"])
    assert train(resumed, resumed_fds, with_labels(resumed, resumed_fds), epochs=2) == wanted[8:]
    assert_same_state(resumed_fds, straight_fds)


def test_a_module_that_holds_model_and_fds_saves_the_state_of_fds_once_under_its_own_name() -> None:
    both = nn.ModuleDict()
    both["net"], both["fds"] = attached()
    train(both["net"], both["fds"], with_labels(both["net"], both["fds"]))
    state = both.state_dict()
    assert [key for key in state if key.endswith("running_mean")] == ["fds.running_mean"]
    fresh = nn.ModuleDict()
    fresh["net"], fresh["fds"] = attached()
    fresh.load_state_dict(state)
    assert_same_state(fresh["fds"], both["fds"])


def through_pickle(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied_by", [copy.deepcopy, through_pickle])
def test_a_copy_of_the_model_has_an_fds_of_its_own(copied_by: Callable[[nn.Module], Any]) -> None:
    model, fds = attached()
    train(model, fds, with_labels(model, fds), epochs=1)
    twin = copied_by(model)
    assert twin.fc.fds is not fds
    wanted = train(model, fds, with_labels(model, fds), epochs=2)
    assert int(twin.fc.fds.epoch) == 1
    assert train(twin, twin.fc.fds, with_labels(twin, twin.fc.fds), epochs=2) == wanted
    with pytest.raises(RuntimeError, match="without labels"), fds.labels(LABELS):
        twin(INPUTS)
    removed = twin.fc.fds
    assert detach_fds(twin) == [removed]
    assert list(twin.modules())[-1] is twin.fc
    twin(INPUTS)
    with fds.labels(LABELS):  # the original is still attached
        model(INPUTS)


def test_detach_restores_the_model_exactly() -> None:
    model, fds = attached()
    train(model, fds, with_labels(model, fds))
    assert detach_fds(model) == [fds]
    plain = Net()
    for found, wanted in zip(model.modules(), plain.modules(), strict=True):
        assert list(found.__dict__) == list(wanted.__dict__)
        hooks = {name: value for name, value in found.__dict__.items() if "hooks" in name}
        assert not any(hooks.values())
    assert str(model) == str(plain)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(INPUTS), plain(INPUTS))
    attach_fds(model, fds, before=model.fc)
    assert int(fds.epoch) == 3, "FDS keeps its statistics"


def test_a_compiled_model_is_one_graph_and_is_not_compiled_for_each_batch_size() -> None:
    torch._dynamo.reset()
    eager, eager_fds = attached()
    wanted = train(eager, eager_fds, with_labels(eager, eager_fds), epochs=5)
    model, fds = attached()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)  # a graph break raises
    losses = train(model, fds, with_labels(compiled, fds), epochs=1)
    seen = counter.frame_count  # batches of 16 rows, and of any number of rows
    losses += train(model, fds, with_labels(compiled, fds), epochs=4)
    torch.testing.assert_close(losses, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fds.running_var, eager_fds.running_var, rtol=1e-5, atol=1e-7)
    assert float(fds.num_samples.sum()) == 5 * N
    for rows in (7, 11, 23, 31, 50):
        with fds.labels(LABELS[:rows]):
            compiled(INPUTS[:rows])
    assert counter.frame_count == seen, "no compilation for further batch sizes and epochs"
    torch.testing.assert_close(compiled.eval()(INPUTS), model(INPUTS))
    model.train()
    with pytest.raises(RuntimeError, match="without labels"):
        torch.compile(model, backend="eager")(INPUTS)


def test_two_layers_have_an_fds_each_with_labels_of_their_own() -> None:
    class Two(Net):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Linear(D, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            features = self.encoder(inputs)
            return self.fc(features) + self.other(features)

    model = Two()
    first, second = (attach_fds(model, FDS(D, BINS), before=name) for name in ("fc", "other"))
    with first.labels(LABELS), second.labels(LABELS.flip(0).clamp(max=2)):
        model(INPUTS)
    assert first.sums.count.tolist() == [10] * 6 + [0]
    assert second.sums.count.tolist() == [10, 10, 40, 0, 0, 0, 0]
    with pytest.raises(RuntimeError, match="without labels"), first.labels(LABELS):
        model(INPUTS)
    assert detach_fds(model, second) == [second]
    with first.labels(LABELS):
        model(INPUTS)


def test_each_thread_has_labels_of_its_own() -> None:
    model, fds = attached()
    barrier, failed = threading.Barrier(B), []

    def work(label: int) -> None:
        try:
            for _ in range(20):
                with fds.labels(torch.full((N,), float(label))):
                    barrier.wait(10)
                    model(INPUTS[: label + 1].repeat(N, 1)[:N])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(label,)) for label in range(B)]
    for thread in threads:
        thread.start()
    with pytest.raises(RuntimeError, match="without labels"):
        model(INPUTS)
    for thread in threads:
        thread.join()
    assert failed == []
    assert fds.sums.count.tolist() == [20 * N] * B + [0]


def ddp(rank: int, world_size: int) -> dict[str, Any]:
    model, fds = attached()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        for rows in torch.arange(N).split(20):
            mine = rows[rank::world_size]
            with fds.labels(LABELS[mine]):
                loss = (wrapped(INPUTS[mine]) - LABELS[mine]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        fds.end_epoch()
    return {"fds": dict(fds.state_dict()), "model": dict(model.state_dict()), "names": list(wrapped.state_dict())}


def test_two_ranks_compute_the_statistics_of_one_process(spawn_ranks: Any) -> None:
    edited = Edited()
    optimizer = torch.optim.SGD(edited.parameters(), lr=0.05)
    for _ in range(3):
        for rows in torch.arange(N).split(20):
            loss = (edited(INPUTS[rows], LABELS[rows]) - LABELS[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        edited.fds.end_epoch()
    for result in spawn_ranks(ddp, 2):
        torch.testing.assert_close(result["fds"], dict(edited.fds.state_dict()), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(result["model"]["fc.weight"], edited.fc.weight.detach(), rtol=1e-5, atol=1e-6)
        assert result["names"] == [f"module.{name}" for name in Net().state_dict()]
