"""Tests of EndEpoch: modules with ``end_epoch`` are found, their epochs ended, and their diagnostics logged."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning", reason="needs the extra 'recipes'")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from dir.bins import LabelBins
from dir.callbacks.lightning import EndEpoch, FDSCallback
from dir.fds import FDS, attach_fds
from dir.losses import SRL

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]

B, D = 5, 3


class Net(LightningModule):
    """One FDS, or one per target in a ModuleList."""

    def __init__(self, targets: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(2, D), nn.Tanh())
        self.fds = nn.ModuleList(FDS(D, LabelBins.integers(0, B - 1)) for _ in range(targets))
        self.heads = nn.ModuleList(nn.Linear(D, 1) for _ in range(targets))
        self.epochs_at_start: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.epochs_at_start.append([int(fds.epoch) for fds in self.fds])

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        inputs, labels = batch
        features = self.encoder(inputs)
        loss = features.new_zeros(())
        for fds, head in zip(self.fds, self.heads, strict=True):
            loss = loss + (head(fds(features, labels)).squeeze(1) - labels).abs().mean()
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        inputs, labels = batch
        for fds in self.fds:
            fds(self.encoder(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40.0) % B
    return DataLoader(TensorDataset(torch.randn(40, 2, generator=generator), labels), batch_size=16)


def trainer(folder: Path, epochs: int, **kwargs: object) -> Trainer:
    callbacks = [EndEpoch(), *kwargs.pop("callbacks", [])]
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **{"enable_checkpointing": False, **kwargs},
    )


def test_every_epoch_is_closed_once_with_training_data_only(tmp_path: Path) -> None:
    net = Net()
    trainer(tmp_path, 3).fit(net, loader(), loader())
    assert net.epochs_at_start == [[0], [1], [2]]
    assert int(net.fds[0].epoch) == 3
    assert net.fds[0].last_count.tolist() == [8] * B, "neither sanity check nor validation were recorded"
    assert float(net.fds[0].shift.abs().sum()) > 0


def test_several_fds_modules_are_closed_and_logged_by_name(tmp_path: Path) -> None:
    net = Net(targets=2)
    run = trainer(tmp_path, 2)
    run.fit(net, loader())
    assert [int(fds.epoch) for fds in net.fds] == [2, 2]
    for index in (0, 1):
        assert float(run.callback_metrics[f"fds/fds.{index}/bins_seen"]) == B


def test_diagnostics_are_logged(tmp_path: Path) -> None:
    run = trainer(tmp_path, 1)
    run.fit(Net(), loader())
    assert float(run.callback_metrics["fds/bins_seen"]) == B
    assert float(run.callback_metrics["fds/bins_empty"]) == 0


class Counter(nn.Module):
    """Count batches and return the number as a diagnostic at the end of the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0
        self.closed: list[int] = []

    def forward(self, labels: Tensor) -> None:
        self.batches += 1

    def end_epoch(self, process_group: object = None) -> dict[str, float]:
        self.closed.append(self.batches)
        self.batches = 0
        return {"batches": float(self.closed[-1])}


class Several(Net):
    """An FDS, a surrogate loss and a module of the user; the FDS is wrapped as torch.compile wraps modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fds = nn.ModuleList([torch.compile(self.fds[0], backend="eager")])
        self.srl = SRL().fit(torch.arange(B).float(), LabelBins.integers(0, B - 1))
        self.counter = Counter()

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        self.counter(batch[1])
        return super().training_step(batch, index) + self.srl(self.encoder(batch[0]), batch[1], batch[1])

    def end_epoch(self) -> None:
        raise AssertionError("the callback must leave methods of the LightningModule to its author")


def test_every_module_with_end_epoch_is_closed_exactly_once(tmp_path: Path) -> None:
    net = Several()
    run = trainer(tmp_path, 2)
    run.fit(net, loader())
    assert net.counter.closed == [3, 3]
    assert int(net.fds[0].epoch) == 2
    assert float(net.srl.live) == 1
    assert float(run.callback_metrics["counter/batches"]) == 3
    assert float(run.callback_metrics["fds/bins_seen"]) == B


def test_fds_callback_is_a_name_of_end_epoch() -> None:
    assert FDSCallback is EndEpoch


class Plain(LightningModule):
    """A module without FDS."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return self.linear(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_a_model_without_fds_trains_as_before(tmp_path: Path) -> None:
    run = trainer(tmp_path, 1)
    run.fit(Plain(), loader())
    assert not any(name.startswith("fds") for name in run.callback_metrics)


def test_a_checkpoint_holds_closed_epochs_and_resumes_exactly(tmp_path: Path) -> None:
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    straight = Net()
    trainer(tmp_path, 3, callbacks=[keep], enable_checkpointing=True).fit(straight, loader())
    path = tmp_path / "epoch=0.ckpt"
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert int(saved["fds.0.epoch"]) == 1
    assert float(saved["fds.0.sums.count"].sum()) == 0
    resumed = Net()
    trainer(tmp_path, 3).fit(resumed, loader(), ckpt_path=path)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_training_with_the_callback_equals_a_plain_loop(tmp_path: Path) -> None:
    net = Net()
    plain = copy.deepcopy(net)
    trainer(tmp_path, 2).fit(net, loader())
    optimizer = plain.configure_optimizers()
    for _ in range(2):
        for batch in loader():
            optimizer.zero_grad()
            plain.training_step(batch, 0).backward()
            optimizer.step()
        plain.fds[0].end_epoch()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name])


class Attached(LightningModule):
    """A finished network with an FDS that is attached before its last layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, D), nn.Tanh(), nn.Linear(D, 1))
        self.fds = attach_fds(self.net, FDS(D, LabelBins.integers(0, B - 1)), before="2")

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        with self.fds.labels(batch[1]):
            return (self.net(batch[0]).squeeze(1) - batch[1]).abs().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_an_attached_fds_is_closed_once_and_resumes_exactly(tmp_path: Path) -> None:
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    straight = Attached()
    run = trainer(tmp_path, 3, callbacks=[keep], enable_checkpointing=True)
    run.fit(straight, loader())
    assert int(straight.fds.epoch) == 3
    assert float(run.callback_metrics["fds/bins_seen"]) == B
    saved = torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["state_dict"]
    assert [name for name in saved if "running_mean" in name] == ["fds.running_mean"]
    resumed = Attached()
    trainer(tmp_path, 3).fit(resumed, loader(), ckpt_path=tmp_path / "epoch=0.ckpt")
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
