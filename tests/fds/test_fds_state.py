"""Tests of the state of FDS: save, resume, copy, move and cast."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from dir.bins import LabelBins
from dir.fds import FDS

pytestmark = pytest.mark.filterwarnings("ignore:FDS. most")  # tiny data leave bins empty

B, D = 6, 4
ACCUMULATORS = ("sums.count", "sums.total", "sums.square", "sums.nonfinite")


def make(**kwargs: object) -> FDS:
    return FDS(D, LabelBins.integers(0, B - 1), **kwargs)


def batches(epoch: int, count: int = 5) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    out = []
    for _ in range(count):
        labels = torch.randint(0, B, (16,), generator=generator).float()
        out.append((torch.randn(16, D, generator=generator) * (1 + labels[:, None]), labels))
    return out


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


class Model(nn.Module):
    """A typical model with FDS as a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(D, D)
        self.fds = make()
        self.head = nn.Linear(D, 1)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.fds(self.encoder(inputs), labels)).squeeze(1)


def train(model: Model, optimizer: torch.optim.Optimizer, data) -> None:
    for inputs, labels in data:
        loss = (model(inputs, labels) - labels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_resuming_within_an_epoch_is_exact() -> None:
    torch.manual_seed(0)
    straight = Model()
    resumed = copy.deepcopy(straight)
    optimizers = [torch.optim.SGD(model.parameters(), 0.01, momentum=0.9) for model in (straight, resumed)]
    for model, optimizer in zip((straight, resumed), optimizers, strict=True):
        train(model, optimizer, batches(0))
        model.fds.end_epoch()
        train(model, optimizer, batches(1)[:2])
    file = io.BytesIO()
    torch.save({"model": resumed.state_dict(), "optimizer": optimizers[1].state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    fresh = Model()
    fresh.load_state_dict(saved["model"])
    fresh_optimizer = torch.optim.SGD(fresh.parameters(), 0.01, momentum=0.9)
    fresh_optimizer.load_state_dict(saved["optimizer"])
    for model, optimizer in ((straight, optimizers[0]), (fresh, fresh_optimizer)):
        train(model, optimizer, batches(1)[2:])
        model.fds.end_epoch()
        train(model, optimizer, batches(2))
        model.fds.end_epoch()
    assert_same_state(straight, fresh)


def test_the_state_dict_contains_the_unfinished_epoch() -> None:
    source, target = make(), make()
    for features, labels in batches(0):
        source(features, labels)
    target.load_state_dict(source.state_dict())
    assert target.end_epoch() == source.end_epoch()
    assert_same_state(source, target)


def test_a_state_dict_of_another_size_or_with_missing_keys_is_refused() -> None:
    state = make().state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        FDS(D + 1, LabelBins.integers(0, B - 1)).load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch"):
        FDS(D, LabelBins.integers(0, B)).load_state_dict(state)
    del state["sums.total"]
    with pytest.raises(RuntimeError, match=r"sums\.total"):
        make().load_state_dict(state)
    with pytest.raises(RuntimeError, match="surplus"):
        make().load_state_dict({**make().state_dict(), "surplus": torch.zeros(1)})


def test_an_identity_state_still_calibrates_after_loading_a_trained_one() -> None:
    source = make()
    for features, labels in batches(0):
        source(features, labels)
    source.end_epoch()
    target = make()
    target.load_state_dict(source.state_dict())
    features, labels = batches(1)[0]
    with torch.no_grad():
        assert torch.equal(target(features, labels), source(features, labels))
        assert not torch.equal(target(features, labels), features)


def test_loading_does_not_share_memory_with_the_source() -> None:
    source, target = make(), make()
    source(*batches(0)[0])
    target.load_state_dict(source.state_dict())
    before = {name: value.clone() for name, value in target.state_dict().items()}
    source(*batches(0)[1])
    source.end_epoch()
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_deep_copies_are_independent() -> None:
    fds = make()
    fds(*batches(0)[0])
    twin = copy.deepcopy(fds)
    assert_same_state(fds, twin)
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    fds(*batches(0)[1])
    fds.end_epoch()
    assert all(torch.equal(value, before[name]) for name, value in twin.state_dict().items())
    twin(*batches(0)[1])
    twin.end_epoch()
    assert_same_state(fds, twin)


def test_the_accumulators_are_no_buffers_and_in_the_state_dict() -> None:
    """Check that the sums are no buffers: DistributedDataParallel overwrites buffers with those of rank 0."""
    fds = make()
    assert not set(ACCUMULATORS) & {name for name, _ in fds.named_buffers()}
    assert set(ACCUMULATORS) <= set(fds.state_dict())
    assert not list(fds.parameters())


def tensors_of(fds: FDS) -> dict[str, torch.Tensor]:
    """Return all tensors of the module, in the state_dict or not."""
    held = dict(fds.named_buffers())
    for prefix, module in fds.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                held[f"{prefix}.{name}"] = value
    return held


def test_device_moves_include_all_state() -> None:
    fds = make()
    fds(*batches(0)[0])
    fds.to("meta")
    assert len(tensors_of(fds)) > 10
    for name, value in tensors_of(fds).items():
        assert value.device.type == "meta", name


@pytest.mark.parametrize("cast", ["half", "bfloat16", "float"])
def test_casts_narrow_nothing_and_double_widens(cast: str) -> None:
    model = nn.Sequential(nn.Linear(2, D), make())
    fds = model[1]
    fds(*batches(0)[0])
    fds.end_epoch()
    fds(*batches(0)[1])
    before = {name: value.clone() for name, value in tensors_of(fds).items()}
    getattr(model, cast)()
    model.to({"half": torch.float16, "bfloat16": torch.bfloat16, "float": torch.float32}[cast])
    for name, value in tensors_of(fds).items():
        assert torch.equal(value, before[name]), name
        assert value.dtype == before[name].dtype, name
    model.double()
    assert all(v.dtype == torch.float64 for v in tensors_of(fds).values() if v.is_floating_point())
    assert model[0].weight.dtype == torch.float64
    model.half()
    assert all(v.dtype == torch.float64 for v in tensors_of(fds).values() if v.is_floating_point())


def test_a_half_precision_model_still_trains_with_full_statistics() -> None:
    half, full = make().to(torch.bfloat16), make()
    for epoch in range(2):
        for features, labels in batches(epoch):
            rows = features.bfloat16()
            assert half(rows, labels).dtype == torch.bfloat16
            full(rows.float(), labels)
        half.end_epoch()
        full.end_epoch()
    assert_same_state(half, full)


def test_a_device_without_float64_keeps_float32_and_stays_accurate() -> None:
    """Check a device without float64 such as MPS, where the sums are centred at the running mean."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype == torch.float64:
            raise TypeError("this device does not support float64")
        return tensor.clone()

    fds, wide = make(momentum=0.0), make(momentum=0.0)
    fds._apply(move)
    assert all(v.dtype == torch.float32 for v in tensors_of(fds).values() if v.is_floating_point())
    features, labels = torch.randn(600, D) + 1000, torch.arange(600.0) % B
    for _ in range(2):
        for rows, part in zip(features.split(50), labels.split(50), strict=True):
            fds(rows, part)
            wide(rows, part)
        found, expected = fds.end_epoch(), wide.end_epoch()
    assert found == pytest.approx(expected, rel=1e-3)
    assert (wide.scale[:-1] != 1).any()
    torch.testing.assert_close(fds.scale, wide.scale, rtol=1e-4, atol=0)
    torch.testing.assert_close(fds(features, labels), wide(features, labels), rtol=0, atol=1e-3)
    for label in range(B):
        exact = features[labels == label].double().var(0)
        torch.testing.assert_close(fds.running_var[label].double(), exact, rtol=1e-4, atol=0)


def test_a_checkpoint_in_float32_may_be_assigned() -> None:
    fds, narrow = make(), make()
    for layer in (fds, narrow):
        layer(*batches(0)[0])
        layer.end_epoch()
    state = {name: v.float() if v.dtype == torch.float64 else v for name, v in narrow.state_dict().items()}
    narrow.load_state_dict(state, assign=True)
    assert narrow.running_var.dtype == torch.float32
    for layer in (fds, narrow):
        layer(*batches(1)[0])
        layer.end_epoch()
    torch.testing.assert_close(narrow.running_var.double(), fds.running_var, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(narrow.scale, fds.scale, rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu_and_the_step_never_synchronises() -> None:
    cpu, gpu = make(), make()
    cpu(*batches(0)[0])
    gpu(*batches(0)[0])
    gpu.cuda()
    assert all(value.is_cuda for value in tensors_of(gpu).values())
    for epoch in range(3):
        for features, labels in batches(epoch):
            out = cpu(features, labels)
            on_gpu = (features.cuda(), labels.cuda())
            torch.cuda.set_sync_debug_mode("error")
            try:
                result = gpu(*on_gpu)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            torch.testing.assert_close(result.cpu(), out, rtol=1e-5, atol=1e-5)
        cpu.end_epoch()
        gpu.end_epoch()
    torch.testing.assert_close(gpu.running_var.cpu(), cpu.running_var)
    gpu.cpu()
    assert not any(value.is_cuda for value in tensors_of(gpu).values())
