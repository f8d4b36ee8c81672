"""Tests of RegressionModule.load_from_checkpoint, which needs no data, and of predictions by the Trainer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset

from dir.recipe.build import build
from dir.recipe.evaluate import load_weights
from dir.recipe.module import RegressionModule
from dir.recipe.targets import load_config

Run = Callable[..., Path]


def trainer(folder: Path, **kwargs: object) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(
        accelerator="cpu", devices=1, enable_model_summary=False, default_root_dir=folder, **quiet, **kwargs
    )


@pytest.mark.filterwarnings("ignore:FDS. most")
@pytest.mark.parametrize("method", ["lds_fds", "srl", "rrt_lds"])
def test_the_module_equals_that_of_the_run_and_trains_on(table_run: Run, method: str, tmp_path: Path) -> None:
    run = table_run(f"method={method}")
    path = run / "checkpoints/last.ckpt"
    module = RegressionModule.load_from_checkpoint(path)
    # The oracle is built from the data of the run.
    parts = build(load_config(path, []))
    load_weights(parts.module, path)
    wanted = parts.module.state_dict()
    for name, value in module.state_dict().items():
        if not name.startswith("metrics."):
            torch.testing.assert_close(value, wanted[name], rtol=0, atol=0, equal_nan=True, msg=name)
    (batch, *_) = list(parts.data.train_dataloader())
    losses = []
    for one in (module, parts.module):
        one.log = lambda *args, **kwargs: None
        one.train()
        torch.manual_seed(0)
        losses.append(one.training_step(batch, 0))
    assert torch.equal(*losses)
    assert module.metrics.members.sum() == parts.module.metrics.members.sum()
    del module.log
    trainer(tmp_path, max_epochs=1).fit(module, parts.data.train_dataloader(), parts.data.val_dataloader())


def test_the_trainer_predicts_in_the_units_of_the_labels(table_run: Run, tmp_path: Path) -> None:
    run = table_run("method=lds_fds")
    module = RegressionModule.load_from_checkpoint(run / "checkpoints/best.ckpt")
    with np.load(run / "predictions.npz", allow_pickle=False) as saved:
        wanted = torch.from_numpy(saved["prediction"])
    parts = build(load_config(run / "checkpoints/best.ckpt", []))
    labelled = parts.data.test_dataloader()
    inputs = torch.cat([batch[0] for batch in labelled])
    without = DataLoader(TensorDataset(inputs), batch_size=16)
    plain = DataLoader(inputs, batch_size=16)
    for loader in (labelled, without, plain):
        found = torch.cat(trainer(tmp_path).predict(module, loader))
        torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-3)
    assert float(wanted.mean()) > 50, "prices, not standardised targets"


def test_arguments_replace_those_of_the_run_and_a_model_needs_no_run_folder(table_run: Run, tmp_path: Path) -> None:
    run = table_run("method=lds_fds")
    path = run / "checkpoints/best.ckpt"
    slow = partial(torch.optim.SGD, lr=1e-5)
    module = RegressionModule.load_from_checkpoint(path, optimizer=slow)
    optimizer = module.configure_optimizers()
    optimizer = optimizer["optimizer"] if isinstance(optimizer, dict) else optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    alone = shutil.copy(path, tmp_path / "alone.ckpt")
    names = ("criterion", "metrics", "lds")
    parts = {name: getattr(module, name) for name in names}
    twin = RegressionModule.load_from_checkpoint(alone, model=module.model, optimizer=slow, **parts)
    assert torch.equal(twin.target_offset, module.target_offset)
    with pytest.raises(ValueError, match=r"alone\.ckpt: the weights do not fit the module .*lds"):
        RegressionModule.load_from_checkpoint(alone, model=module.model, optimizer=slow, **(parts | {"lds": None}))
    with pytest.raises(FileNotFoundError, match="the config of its run is missing"):
        RegressionModule.load_from_checkpoint(alone)


def test_a_run_with_an_importance_asks_for_its_scale(table_run: Run) -> None:
    path = table_run("method=lds", "data.importance=floor", "data.categorical=[kind]") / "checkpoints/best.ckpt"
    with pytest.raises(ValueError, match=r"importance_scale: the rows of the run have an importance"):
        RegressionModule.load_from_checkpoint(path)
    assert RegressionModule.load_from_checkpoint(path, importance_scale=0.5).importance_scale == 0.5


def test_a_run_folder_of_a_stranger_is_data(table_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(table_run("method=lds_fds"), tmp_path / "run")
    path = run / "checkpoints/best.ckpt"
    for name, value in (("strict", False), ("weights_only", False), ("hparams_file", "h.yaml")):
        with pytest.raises(ValueError, match=f"{name}: expected None"):
            RegressionModule.load_from_checkpoint(path, **{name: value})
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("dir.losses.WeightedMSE", "os.system"))
    assert "os.system" in config.read_text()
    with pytest.raises(ValueError, match=r"not a target that a run folder may build, got 'os\.system'"):
        RegressionModule.load_from_checkpoint(path)
    shutil.rmtree(run / "model")
    config.write_text(config.read_text().replace("os.system", "dir.losses.WeightedMSE"))
    with pytest.raises(FileNotFoundError, match=r"the run has no model bundle\. Only a finished run"):
        RegressionModule.load_from_checkpoint(path)
