"""A new data set is a config of eight lines: every method trains on it, and a missing key is named at once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs, train_main
from dir.recipe.compatibility import check
from dir.recipe.run_folder import RunFolder
from dir.recipe.settings import check_settings
from dir.recipe.train import train

METHODS = sorted(path.stem for path in (Path(config_dir()) / "method").glob("[!_]*.yaml"))
HOUSES = """\
# @package _global_
defaults:
  - /task: table
data:
  _target_: dir.data.TabularData
  path: houses.csv
  target: price
task: {unit: euros}
"""


@pytest.fixture
def houses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table; the config of its data set lies in configs/data/."""
    random = np.random.default_rng(0)
    area, age = random.normal(size=(2, 240))
    price = np.exp(area) + 0.1 * age + 0.05 * random.normal(size=240)
    rows = [f"{a:.3f},{b:.3f},{c:.4f}" for a, b, c in zip(area, age, price, strict=True)]
    (tmp_path / "houses.csv").write_text("area,age,price\n" + "\n".join(rows) + "\n")
    (tmp_path / "configs/data").mkdir(parents=True)
    (tmp_path / "configs/data/houses.yaml").write_text(HOUSES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def composed(folder: Path, *overrides: str) -> DictConfig:
    register_configs()
    search = f"hydra.searchpath=[file://{folder / 'configs'}]"
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [search, "data=houses", "model=mlp", "logger=none", *overrides])


def test_every_method_trains_on_a_data_set_of_eight_lines(houses: Path) -> None:
    assert len(HOUSES.splitlines()) == 8
    assert len(METHODS) > 35
    for method in METHODS:
        cfg = composed(houses, f"method={method}", "trainer.accelerator=cpu")
        check_settings(cfg)
        check(cfg)
        if cfg.method.estimator is not None:
            assert np.isfinite(train(cfg, RunFolder(houses / method), {})), method
            continue
        parts = build(cfg)
        module = parts.module.train()
        module.log = lambda *args, **kwargs: None  # no trainer here
        batch = next(iter(parts.data.train_dataloader()))
        loss = module.training_step(batch, 0)
        loss.backward()
        assert torch.isfinite(loss), method
        assert any(p.grad is not None and bool(p.grad.any()) for p in module.parameters()), method


def run(houses: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)
    search = f"hydra.searchpath=[file://{houses / 'configs'}]"
    fixed = [search, "data=houses", "model=mlp", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    monkeypatch.setattr(sys, "argv", ["train.py", *fixed, *arguments])
    train_main()


def test_a_data_set_of_eight_lines_runs_from_the_command_line(
    houses: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(houses, monkeypatch, "method=lds_fds", "name=houses", "task.lds.sigma=1")
    assert "label unit: euros" in capsys.readouterr().out
    assert len(list(houses.glob("outputs/houses/lds_fds/*/metrics.json"))) == 1


@pytest.mark.parametrize(
    ("line", "replacement", "named"),
    [
        ("task: {unit: euros}", "", "task.unit"),
        ("  - /task: table", "  []", "task.bins, task.monitor, task.shots"),
        ("task: {unit: euros}", "task: {unit: euros, sigma: 1}", "sigma"),
        ("task: {unit: euros}", "task: {unit: euros, lds: {sigm: 1}}", "lds.sigm"),
        ("task: {unit: euros}", "task: {unit: euros, lds: {sigma: wide}}", "lds.sigma"),
        ("  - /task: table", "  - /task: tabel", "tabel"),
    ],
)
def test_a_wrong_description_of_a_task_is_named_and_leaves_no_folder(
    houses: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    replacement: str,
    named: str,
) -> None:
    config = houses / "configs/data/houses.yaml"
    config.write_text(HOUSES.replace(line, replacement))
    with pytest.raises(SystemExit) as ended:
        run(houses, monkeypatch)
    # Hydra prints what it cannot compose, and exits with 1; our own messages are the message of SystemExit.
    shown = capsys.readouterr().err + str(ended.value.code)
    assert named in shown
    assert "Traceback" not in shown
    assert {path.name for path in houses.iterdir()} == {"houses.csv", "configs"}


@pytest.mark.parametrize("family", ["l1", "mse"])
def test_the_family_of_a_task_sets_the_losses_of_all_methods(houses: Path, family: str) -> None:
    loss, noise = {"l1": ("WeightedL1", "laplace"), "mse": ("WeightedMSE", "gaussian")}[family]
    cfg = composed(houses, f"task.family={family}", "method=focal_r")
    assert cfg.task.loss._target_ == f"dir.losses.{loss}"
    assert (cfg.method.loss.base, cfg.task.dist.base, cfg.task.uvote.noise) == (family, family, noise)


def test_bins_of_another_kind_replace_the_automatic_bins(houses: Path) -> None:
    bins = "bins: {_target_: dir.LabelBins.uniform, low: 0.0, high: 20.0, num_bins: 7}"
    config = houses / "configs/data/houses.yaml"
    config.write_text(HOUSES.replace("unit: euros", f"unit: euros, {bins}"))
    cfg = composed(houses)
    check_settings(cfg)
    assert build(cfg).bins.edges.tolist() == pytest.approx([20 / 7 * i for i in range(8)])
