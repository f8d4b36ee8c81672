"""FDS called from several threads, and the reminder of an FDS whose epochs are never closed."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dir import FDS, LabelBins

D = 3


def make_bins() -> LabelBins:
    return LabelBins.uniform(0.0, 0.8, 8)


def test_two_threads_collect_every_sample() -> None:
    rows, steps, threads = 64, 60, 4
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, 512, generator=generator)
    labels = torch.rand(rows, generator=generator)
    bins = LabelBins.uniform(0.0, 1.0, 4)
    fds, alone = FDS(512, bins), FDS(512, bins)
    start = threading.Barrier(threads)

    def work() -> None:
        start.wait()
        for _ in range(steps):
            fds(features, labels)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for _ in range(steps * threads):
        alone(features, labels)
    for name in ("count", "total", "square"):
        torch.testing.assert_close(getattr(fds.sums, name), getattr(alone.sums, name), rtol=1e-12, atol=1e-9)
    assert torch.equal(fds.sums.count, alone.sums.count)


REMINDER = r"FDS has collected \d+ samples in \d+ batches.*end_epoch"


def run_batches(fds: FDS, batches: int, compiled: bool = False) -> list[str]:
    step = torch.compile(fds, backend="eager", fullgraph=True) if compiled else fds
    features, labels = torch.randn(10, D), torch.rand(10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(batches):
            step(features, labels)
    return [str(warning.message) for warning in caught if "FDS" in str(warning.message)]


def test_a_layer_that_is_never_closed_warns_once_after_a_thousand_batches() -> None:
    fds = FDS(D, make_bins())
    assert run_batches(fds, 1000) == []
    (message,) = run_batches(fds, 500)
    assert "EndEpoch" in message
    assert run_batches(fds, 2000) == []


def test_a_layer_that_is_no_longer_closed_warns_within_two_passes() -> None:
    fds = FDS(D, LabelBins.uniform(0.0, 1.0, 2))
    for _ in range(3):
        assert run_batches(fds, 20) == []
        fds.end_epoch()
    assert run_batches(fds, 20) == []
    assert len(run_batches(fds, 20)) == 1


def test_closed_epochs_and_eval_mode_never_warn() -> None:
    fds = FDS(D, LabelBins.uniform(0.0, 1.0, 2))
    for _ in range(3):
        assert run_batches(fds, 1000) == []
        fds.end_epoch()
    assert run_batches(fds.eval(), 1500) == []


def test_the_reminder_neither_breaks_nor_recompiles_the_graph() -> None:
    torch._dynamo.reset()
    fds = FDS(D, make_bins())
    torch._dynamo.utils.counters.clear()
    assert run_batches(fds, 1100, compiled=True) == []
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert int(fds.sums.count.sum()) == 11_000


NEVER = "The Trainer has no EndEpoch callback"


def lightning_warnings(folder: Path, own_end: bool, callbacks: list[str], epochs: int = 1) -> list[str]:
    """Train a LightningModule with an FDS for a batch per epoch, and return the warnings about end_epoch()."""
    pytest.importorskip("lightning", reason="needs the extra 'recipes'")
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch.utils.data import DataLoader, TensorDataset

    from dir.callbacks.lightning import EndEpoch

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.fds = FDS(2, LabelBins.uniform(0, 1, 2))
            self.head = nn.Linear(2, 1)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return self.head(self.fds(*batch)).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    class Ending(Module):
        def on_train_epoch_end(self) -> None:
            self.fds.end_epoch()

    class Own(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.fds.end_epoch()

    known = {"EndEpoch": EndEpoch, "Own": Own, "Other": Callback}
    loader = DataLoader(TensorDataset(torch.randn(20, 2), torch.rand(20)), batch_size=20)
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder,
        callbacks=[known[name]() for name in callbacks],
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Ending() if own_end else Module(), loader)
    return [str(warning.message) for warning in caught if "end_epoch" in str(warning.message)]


def test_lightning_without_a_callback_warns_once_in_the_first_batch(tmp_path: Path) -> None:
    (message,) = lightning_warnings(tmp_path, own_end=False, callbacks=["Other"], epochs=3)
    assert message.startswith(NEVER)


@pytest.mark.parametrize(("own_end", "callbacks"), [(False, ["EndEpoch"]), (False, ["Other", "Own"]), (True, [])])
def test_lightning_with_any_call_of_end_epoch_does_not_warn(
    tmp_path: Path, own_end: bool, callbacks: list[str]
) -> None:
    assert lightning_warnings(tmp_path, own_end, callbacks, epochs=2) == []
