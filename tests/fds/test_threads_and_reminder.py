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


def test_lightning_without_the_callback_warns(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="needs the extra 'recipes'")
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader, TensorDataset

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.fds = FDS(2, make_bins())
            self.head = nn.Linear(2, 1)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return self.head(self.fds(*batch)).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    loader = DataLoader(TensorDataset(torch.randn(285, 2), torch.rand(285)), batch_size=1)
    trainer = Trainer(
        max_steps=1010, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.warns(UserWarning, match=REMINDER):
        trainer.fit(Module(), loader)
