"""Less of Lightning's work in each step: the same training as a plain loop, and the same log."""

from __future__ import annotations

import csv
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from benchmarks.plain_loop import plain_loop
from dir.recipe.checkpoints import read_checkpoint
from dir.recipe.light_steps import CallbackGroup, LightModule, quick_cuda_check, write_together
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train
from dir.recipe.two_stage import build_stages

Config = Callable[..., DictConfig]
SETTINGS = ("trainer.max_epochs=3", "method=lds_fds", "model.encoder.dropout=0.3", "logger=csv")


@pytest.fixture
def run(tiny: Config, tmp_path: Path) -> Path:
    train(tiny(*SETTINGS), RunFolder(tmp_path / "run"), {})
    return tmp_path / "run"


def rows(run: Path, column: str) -> list[float]:
    with (run / "csv/metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


def test_the_recipe_trains_bit_for_bit_like_a_plain_loop(tiny: Config, tmp_path: Path, run: Path) -> None:
    (stage,) = build_stages(tiny(*SETTINGS), RunFolder(tmp_path / "loop"))
    module = stage.parts.module
    best = plain_loop(module, stage.parts.data, 3, "metrics")
    for name, own in (("last", module.state_dict()), ("best", best)):
        found = read_checkpoint(run / f"checkpoints/{name}.ckpt")["state_dict"]
        assert found.keys() == own.keys()
        assert [key for key in own if not torch.equal(torch.as_tensor(own[key]), torch.as_tensor(found[key]))] == []


def test_the_log_has_every_value_of_every_epoch(tiny: Config, tmp_path: Path, run: Path) -> None:
    assert rows(run, "epoch") == [0, 0, 1, 1, 2, 2]
    for column in ("lr", "train/loss", "val/all/mae", "val/few/mae", "val/all/spearman", "fds/bins_seen"):
        assert len(rows(run, column)) == 3, column
    assert rows(run, "step")[:6] == [6, 6, 13, 13, 20, 20]  # 7 batches in an epoch; the test metrics follow
    # With learning rate 0 and without dropout, the loss of an epoch is that of the first weights on all its rows.
    still = ("trainer.max_epochs=1", "optimizer.lr=0", "model.encoder.dropout=0", "logger=csv")
    train(tiny(*still), RunFolder(tmp_path / "still"), {})
    (stage,) = build_stages(tiny(*still), RunFolder(tmp_path / "same"))
    parts = stage.parts
    data: Any = parts.data.dataset("train")
    with torch.no_grad():
        output = parts.module.model(data.inputs)
        expected = float(parts.module.criterion(output, parts.module.to_target(data.labels), weight=None))
    assert rows(tmp_path / "still", "train/loss") == pytest.approx([expected], rel=1e-5)


def test_a_group_calls_its_callbacks_in_their_order_and_only_the_hooks_they_have() -> None:
    calls: list[tuple[str, Any]] = []

    class Start(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            calls.append(("start", trainer))

    class Both(Start):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *more: Any) -> None:
            calls.append(("batch", more))

    group: Any = CallbackGroup([Start(), Both()])
    assert set(vars(group)) == {"on_train_start", "on_train_batch_end"}
    group.on_train_start("trainer", "module")
    group.on_train_batch_end("trainer", "module", 1, 2, 3)
    assert calls == [("start", "trainer"), ("start", "trainer"), ("batch", (1, 2, 3))]


def test_tensorboard_gets_the_values_of_an_epoch_as_one_event(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    numbers = {"val/all/mae": 1.5, "train/loss": 0.25, "val/few/mae": float("nan"), "epoch": 3}
    for name in ("own", "lightning"):
        logger = TensorBoardLogger(str(tmp_path), name=name, version="")
        if name == "own":
            assert write_together(logger, numbers, step=7)
        else:
            logger.log_metrics(numbers, step=7)
        logger.finalize("success")
    found = []
    for name in ("own", "lightning"):
        reader = EventAccumulator(str(tmp_path / name)).Reload()
        tags = [tag for tag in reader.Tags()["scalars"] if tag != "hp_metric"]
        found.append({tag: [(event.step, str(event.value)) for event in reader.Scalars(tag)] for tag in tags})
    assert found[0] == found[1]
    assert set(found[0]) == set(numbers)
    assert not write_together(logger, numbers, step=8), "a closed writer is left to Lightning"


def test_a_plain_attribute_takes_a_text_and_parts_of_a_module_do_not() -> None:
    class Module(LightModule):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            return None

    module = Module()
    module.note, module.layer = "first", torch.nn.Linear(1, 1)
    module.note = "second"
    assert module.note == "second"
    with pytest.raises(TypeError, match="cannot assign"):
        module.layer = "text"
    module.note = torch.nn.Linear(1, 1)
    assert "note" in dict(module.named_children())
    # Written down once, as inspect finds it.
    assert list(inspect.signature(module.training_step).parameters) == ["batch", "batch_idx"]
    assert inspect.getfullargspec(module.training_step).args == ["self", "batch", "batch_idx"]


def test_the_check_for_cuda_is_as_before_after_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    monkeypatch.setenv(name, "1")

    def fails() -> None:
        with quick_cuda_check(torch.device("cpu")):
            assert os.environ[name] == "0"
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert os.environ[name] == "1"
    with quick_cuda_check(torch.device("cuda")):
        assert os.environ[name] == "1"
