"""State of the modules under tools of others: meta device, transformers, averaged copies and safetensors."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from dir import FDS, LDS, DenseWeight, LabelBins, ProbabilisticFDS
from dir.losses import BMC, SRL

B, D = 8, 3
# Exactly at the edges, where the smallest change of an edge moves a label into another bin.
LABELS = torch.from_numpy(np.repeat(np.linspace(0.0, 0.8, B + 1), np.arange(1, B + 2) ** 2)[::-1].copy()).float()


def make_bins() -> LabelBins:
    return LabelBins.uniform(0.0, 0.8, B)


class Net(nn.Module):
    """A model that shares its bins between LDS and FDS, and holds the other modules with state."""

    def __init__(self) -> None:
        super().__init__()
        bins = make_bins()
        self.encoder = nn.Linear(2, D)
        self.fds = FDS(D, bins)
        self.vir = ProbabilisticFDS(D, bins, share=0.1)
        self.lds = LDS(bins)
        self.dense = DenseWeight(bandwidth=0.1)
        self.bmc = BMC()
        self.head = nn.Linear(D, 1)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.vir(self.fds(self.encoder(inputs), labels), labels)).squeeze(1)


def inputs() -> Tensor:
    return torch.stack([LABELS, LABELS.square()], dim=1) + torch.randn(
        len(LABELS), 2, generator=torch.Generator().manual_seed(1)
    )


def train_epoch(model: nn.Module) -> None:
    model(inputs(), LABELS).sum().backward()
    model.fds.end_epoch()
    model.vir.end_epoch()


@pytest.fixture(scope="module")
def trained() -> Net:
    torch.manual_seed(0)
    model = Net()
    model.lds.fit(LABELS)
    model.dense.fit(LABELS)
    train_epoch(model)
    model(inputs(), LABELS)  # samples of an unfinished epoch
    return model


def numpy_bins(labels: Tensor) -> np.ndarray:
    edges = np.linspace(0.0, 0.8, B + 1).astype(np.float32)
    return np.clip(np.searchsorted(edges, labels.numpy(), side="right") - 1, 0, B - 1)


def assert_works_like(other: nn.Module, model: Net) -> None:
    """Compare state, bins, weights and calibrated features, and close an epoch."""
    expected, found = model.state_dict(), other.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for bins in (other.lds.bins, other.fds.bins, other.vir.bins):
        np.testing.assert_array_equal(bins(LABELS).numpy(), numpy_bins(LABELS))
    assert other.lds.fitted
    assert other.dense.fitted
    assert torch.equal(other.lds(LABELS), model.lds(LABELS))
    assert torch.equal(other.dense(LABELS), model.dense(LABELS))
    features = inputs() @ torch.ones(2, D)
    with torch.no_grad():
        assert torch.equal(other.fds(features, LABELS), model.fds(features, LABELS))
        assert not torch.equal(other.fds(features, LABELS), features)
    mine, twin = copy.deepcopy(model.fds), copy.deepcopy(other.fds)
    assert mine.end_epoch() == twin.end_epoch()
    assert torch.equal(mine.scale, twin.scale)


def poison() -> list[Tensor]:
    """Fill freed memory with NaN, so that uninitialised memory is visible."""
    return [torch.full((size,), torch.nan) for size in (1, 8, 9, 24, 27, 64, 4096) for _ in range(50)]


def on_meta() -> Net:
    with torch.device("meta"):
        return Net()


def test_to_empty_then_load(trained: Net) -> None:
    model = on_meta()
    assert model.fds.scale.is_meta
    assert model.fds.bins.edges.is_meta
    repr(model)
    del (_ := [poison()])[0]
    model.to_empty(device="cpu")
    assert_is_new(model)
    model.load_state_dict(trained.state_dict())
    assert_works_like(model, trained)


def assert_is_new(model: nn.Module) -> None:
    """Check that nothing of ours is uninitialised memory."""
    new = Net()
    for name in ("fds", "vir", "lds", "dense", "bmc"):
        for key, value in getattr(new, name).state_dict().items():
            assert torch.equal(getattr(model, name).state_dict()[key], value), f"{name}.{key}"
    assert not model.lds.fitted
    with pytest.raises(RuntimeError, match=r"LDS.*fit"):
        model.lds(LABELS)


def test_load_by_assignment_on_meta(trained: Net) -> None:
    model = on_meta()
    model.load_state_dict(copy.deepcopy(trained.state_dict()), assign=True)
    assert_works_like(model, trained)
    assert not set(dict(model.named_buffers())) & {"fds.sums.count", "fds.bins.edges"}, "plain again, as without meta"


def test_a_default_device_is_respected() -> None:
    with torch.device("meta"):
        module = FDS(D, make_bins())
    assert all(value.is_meta for value in module.state_dict().values())


@pytest.fixture
def pretrained_class(monkeypatch: pytest.MonkeyPatch) -> type:
    transformers = pytest.importorskip("transformers", reason="needs the extra 'recipes'")

    class NetConfig(transformers.PretrainedConfig):
        model_type = "net"

    class PretrainedNet(transformers.PreTrainedModel):
        config_class = NetConfig

        def __init__(self, config: NetConfig) -> None:
            super().__init__(config)
            parts = Net()
            for name, module in parts.named_children():
                setattr(self, name, module)
            self.post_init()

        forward = Net.forward

    PretrainedNet.config_type = NetConfig
    return PretrainedNet


def test_save_pretrained_and_from_pretrained(trained: Net, pretrained_class: type, tmp_path: Path) -> None:
    model = pretrained_class(pretrained_class.config_type())
    model.load_state_dict(trained.state_dict())
    model.save_pretrained(tmp_path)
    held = poison()
    del held
    loaded = pretrained_class.from_pretrained(tmp_path).train()
    assert_works_like(loaded, trained)
    assert {name for name, _ in loaded.named_parameters()} == {name for name, _ in trained.named_parameters()}
    train_epoch(loaded)
    loaded(inputs(), LABELS)


def test_from_pretrained_of_a_checkpoint_without_our_modules(pretrained_class: type, tmp_path: Path) -> None:
    model = pretrained_class(pretrained_class.config_type())
    state = {name: value for name, value in model.state_dict().items() if name.startswith(("encoder", "head"))}
    model.save_pretrained(tmp_path, state_dict=state)
    held = poison()
    del held
    loaded = pretrained_class.from_pretrained(tmp_path).train()
    assert torch.equal(loaded.encoder.weight, model.encoder.weight)
    assert_is_new(loaded)
    train_epoch(loaded)


AVERAGES = {
    "mean": {},
    "ema": {"avg_fn": get_ema_avg_fn(0.9)},
    "ema of lists": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
}


@pytest.mark.parametrize("use_buffers", [True, False])
@pytest.mark.parametrize("average", AVERAGES)
def test_averaged_copies_keep_bins_counts_and_weights(trained: Net, average: str, use_buffers: bool) -> None:
    averaged = AveragedModel(trained, use_buffers=use_buffers, **AVERAGES[average])
    for _ in range(200):
        averaged.update_parameters(trained)
    copied = averaged.module
    for bins in (copied.lds.bins, copied.fds.bins):
        np.testing.assert_array_equal(bins(LABELS).numpy(), numpy_bins(LABELS))
        assert int(bins.counts(LABELS).sum()) == len(LABELS)
    torch.testing.assert_close(copied.lds(LABELS), trained.lds(LABELS), rtol=1e-6, atol=0)
    assert float(copied.lds(LABELS).max()) > 5
    for name in ("num_samples", "num_samples_var", "last_count", "epoch"):
        torch.testing.assert_close(getattr(copied.fds, name), getattr(trained.fds, name), rtol=1e-9, atol=0)
    train_epoch(copied)
    torch.testing.assert_close(copied.fds.last_count, 2 * trained.fds.last_count)  # the unfinished epoch counts
    assert int(copied.fds.epoch.round()) == 2
    assert bool(copied.fds.scale.isfinite().all())


def test_lightnings_weight_averaging(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="needs the extra 'recipes'")
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import EMAWeightAveraging
    from torch.utils.data import DataLoader, TensorDataset

    from dir.callbacks.lightning import EndEpoch
    from dir.metrics import ShotMetrics

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()
            self.net.lds.fit(LABELS)
            self.metrics = ShotMetrics(make_bins(), torch.bincount(make_bins()(LABELS), minlength=B))
            self.srl = SRL().fit(LABELS, self.net.lds.bins)
            self.groups: list[float] = []

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            x, y = batch
            weight = self.net.lds(y)
            return (weight * (self.net(x, y) - y).square()).mean() + self.srl(self.net.encoder(x), y, y)

        def validation_step(self, batch: list[Tensor], _: int) -> None:
            self.metrics.update(self.net(batch[0]), batch[1])

        def on_validation_epoch_end(self) -> None:
            groups = self.metrics.compute()
            self.groups.append(float(groups["few"]["n"]))
            self.metrics.reset()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    module = Module()
    before = module.net.lds(LABELS).clone()
    loader = DataLoader(TensorDataset(inputs(), LABELS), batch_size=32)
    Trainer(
        max_epochs=3, accelerator="cpu", devices=1, logger=False, num_sanity_val_steps=0,
        callbacks=[EndEpoch(), EMAWeightAveraging(decay=0.9)],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    ).fit(module, loader, loader)  # fmt: skip
    torch.testing.assert_close(module.net.lds(LABELS), before, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(module.net.lds.bins(LABELS).numpy(), numpy_bins(LABELS))
    assert len(set(module.groups)) == 1
    assert module.groups[0] > 0


def test_safetensors_with_shared_bins(trained: Net, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra 'bundle'")
    assert trained.lds.bins is trained.fds.bins
    safetensors.save_file(trained.state_dict(), str(tmp_path / "state.safetensors"))
    model = Net()
    model.load_state_dict(safetensors.load_file(str(tmp_path / "state.safetensors")))
    assert_works_like(model, trained)
    safetensors.save_model(trained, str(tmp_path / "model.safetensors"))
    model = Net()
    safetensors.load_model(model, str(tmp_path / "model.safetensors"))
    assert_works_like(model, trained)
    assert model.lds.bins is model.fds.bins


def test_a_state_dict_with_integer_counters_is_loaded(trained: Net) -> None:
    """Checkpoints of earlier versions hold int64 counters."""
    counters = ("num_samples", "num_samples_var", "last_count", "epoch")
    old = {k: v.long() if k.endswith(counters) else v for k, v in trained.state_dict().items()}
    for assign in (False, True):
        model = Net()
        model.load_state_dict(copy.deepcopy(old), assign=assign)
        train_epoch(model)
        expected = copy.deepcopy(trained)
        expected.zero_grad()
        train_epoch(expected)
        assert torch.equal(model.fds.num_samples.double(), expected.fds.num_samples)
        assert torch.equal(model.fds.running_mean, expected.fds.running_mean)
