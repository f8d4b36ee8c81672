"""Whole runs on tiny data: files, logs, the best epoch, resuming, refusals and early stopping."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from dir.fds import FDS
from dir.recipe.callbacks import should_check
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]


def run(cfg: DictConfig, path: Path) -> dict:
    folder = RunFolder(path)
    train(cfg, folder, {"method": "test"})
    return json.loads(folder.metrics.read_text())


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def assert_same_state(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_run_writes_config_metrics_predictions_events_and_checkpoints(tiny: Config, tmp_path: Path) -> None:
    content = run(tiny("method=lds_fds", "trainer.max_epochs=3"), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert folder.best.is_file()
    assert folder.last.is_file()
    assert list((folder.path / "tensorboard").glob("events*"))
    assert OmegaConf.load(folder.config).task.lds.sigma == 2.0
    assert {"val", "test", "run"} == set(content)
    assert content["run"]["epochs"] == 3
    assert 1 <= content["run"]["best_epoch"] <= 3
    with np.load(folder.predictions, allow_pickle=False) as saved:
        label, prediction = saved["label"], saved["prediction"]
    assert label.shape == prediction.shape == (60,)
    # The reported error equals the error of the saved predictions, in the unit of the labels.
    assert content["test"]["all"]["mae"] == pytest.approx(np.abs(label - prediction).mean(), rel=1e-5)
    assert content["test"]["all"]["n"] == 60
    assert set(content["test"]) == {"all", "many", "median", "few", "zero"}


def test_events_hold_losses_metrics_by_shot_and_learning_rate(tiny: Config, tmp_path: Path) -> None:
    run(tiny("trainer.max_epochs=2"), tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scalars: set[str] = set()
    for events in (tmp_path / "run/tensorboard").glob("events*"):
        reader = EventAccumulator(str(events)).Reload()
        scalars |= set(reader.Tags()["scalars"])
    assert {"train/loss", "lr", "val/all/mae", "val/few/mae", "test/all/mae"} <= scalars
    assert "hparams/val_mae" in scalars, "TensorBoard lists the settings of the run beside this metric"


def test_best_epoch_has_the_lowest_monitored_value_and_is_evaluated(tiny: Config, tmp_path: Path) -> None:
    # A learning rate this high makes the validation error jump.
    cfg = tiny("trainer.max_epochs=6", "optimizer.lr=0.3", "logger=csv")
    content = run(cfg, tmp_path / "run")
    log = np.genfromtxt(tmp_path / "run/csv/metrics.csv", delimiter=",", names=True, deletechars="")
    seen = log["val/all/mae"][~np.isnan(log["val/all/mae"])]
    assert len(seen) == 6
    assert content["run"]["best_epoch"] == int(seen.argmin()) + 1
    assert content["val"]["all"]["mae"] == pytest.approx(seen.min(), rel=1e-5)


def test_same_seed_gives_same_metrics_and_another_seed_does_not(tiny: Config, tmp_path: Path) -> None:
    contents = [
        run(tiny("trainer.max_epochs=2", f"seed={seed}", "method=fds"), tmp_path / str(index))
        for index, seed in enumerate((1, 1, 2))
    ]
    assert contents[0]["test"] == contents[1]["test"]
    assert contents[0]["test"] != contents[2]["test"]


def test_finished_run_is_refused_and_not_changed(tiny: Config, tmp_path: Path) -> None:
    run(tiny("trainer.max_epochs=1"), tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    for resume in ("false", "true"):
        with pytest.raises(RuntimeError, match="finished run"):
            run(tiny("trainer.max_epochs=1", f"resume={resume}"), tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_ends_like_an_uninterrupted_one(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    settings = (
        "trainer.max_epochs=4",
        "method=lds_fds",
        "scheduler=multistep",
        "scheduler.milestones=[2,3]",
        f"data.num_workers={workers}",
    )
    whole = run(tiny(*settings), tmp_path / "whole")

    step = RegressionModule.training_step

    def killed(self: RegressionModule, batch: tuple, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 2 and batch_idx == 3:
            raise OSError("killed")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", killed)
        with pytest.raises(OSError, match="killed"):
            run(tiny(*settings), tmp_path / "killed")
    with pytest.raises(RuntimeError, match="resume=true"):
        run(tiny(*settings), tmp_path / "killed")
    with pytest.raises(ValueError, match=r"optimizer\.lr"):
        run(tiny(*settings, "resume=true", "optimizer.lr=0.1"), tmp_path / "killed")
    resumed = run(tiny(*settings, "resume=true"), tmp_path / "killed")

    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "killed"))
    assert resumed["val"] == whole["val"]
    assert resumed["test"] == whole["test"]
    assert resumed["run"]["best_epoch"] == whole["run"]["best_epoch"]


def test_control_c_ends_the_run_with_resume_instructions(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: RegressionModule, batch: tuple, batch_idx: int) -> torch.Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", interrupted)
        with pytest.raises(SystemExit, match="resume=true"):
            run(tiny("trainer.max_epochs=1"), tmp_path)
    # Nothing was saved yet: the resumed run starts again.
    assert run(tiny("trainer.max_epochs=1", "resume=true"), tmp_path)["run"]["epochs"] == 1


def test_fds_closes_each_epoch_once_and_before_the_checkpoint(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    end = FDS.end_epoch
    monkeypatch.setattr(FDS, "end_epoch", lambda self, *a, **k: calls.append(1) or end(self, *a, **k))
    run(tiny("trainer.max_epochs=3", "method=fds"), tmp_path)
    assert len(calls) == 3
    assert int(state(tmp_path)["model.fds.epoch"]) == 3


def test_evaluating_the_checkpoint_repeats_the_metrics_of_the_run(
    tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = run(tiny("trainer.max_epochs=2", "method=lds_fds_shrink"), tmp_path)
    printed = capsys.readouterr().out
    splits = evaluate_checkpoint(tmp_path / "checkpoints/best.ckpt", [], trust=True)
    assert splits == {split: content[split] for split in ("val", "test")}
    table = capsys.readouterr().out
    assert table
    assert table in printed


def test_evaluation_accepts_overrides_of_existing_keys_only(tiny: Config, tmp_path: Path) -> None:
    run(tiny("trainer.max_epochs=1"), tmp_path)
    checkpoint = tmp_path / "checkpoints/best.ckpt"
    assert evaluate_checkpoint(checkpoint, ["data.batch_size=7"], trust=True)["test"]["all"]["n"] == 60
    with pytest.raises(ValueError, match=r"data: .*\d+ missing"):
        evaluate_checkpoint(checkpoint, ["data.sizes=[200,60,30]"], trust=True)
    with pytest.raises(ValueError, match=r"data\.paht"):
        evaluate_checkpoint(checkpoint, ["data.paht=x"], trust=True)
    with pytest.raises(FileNotFoundError, match=r"ckpt.*none\.ckpt"):
        evaluate_checkpoint(tmp_path / "checkpoints/none.ckpt", [], trust=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.monitor=pearson"], "task.monitor"),
        (["early_stopping.patience=0"], "early_stopping.patience"),
        (["+trainer.fast_dev_run=true"], "fast_dev_run"),
        (["+method.lds.sigma=1"], r"method\.lds\.sigma"),
        (["method=inv", "+method.lds.sigma=1"], "kernel is null"),
        (["method=lds", "method.lds.kernel_size=4"], "odd"),
        (["method=lds", "method.lds.kernel=boxcar"], "boxcar"),
        (["method=fds", "method.fds.start_smooth=0"], "start_smooth"),
        (["data.sizes=[200,0,60]"], "val: expected at least one sample"),
        (["data.batch_size=0"], "batch_size"),
        (["task.target_scale=-1"], "target_scale"),
    ],
)
def test_wrong_setting_is_refused_before_anything_is_written(
    tiny: Config, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tiny(*overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_diverging_run_ends_with_an_error(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"not finite in epoch 1"):
        run(tiny("trainer.max_epochs=3", "optimizer=sgd", "optimizer.lr=1e30"), tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_early_stopping_and_validation_counted_in_steps(tiny: Config, tmp_path: Path) -> None:
    cfg = tiny(
        "trainer.max_epochs=50",
        "trainer.val_check_interval=10",
        "trainer.check_val_every_n_epoch=null",
        "early_stopping.patience=2",
        "optimizer.lr=0.5",
        "method=fds",
    )
    content = run(cfg, tmp_path)
    assert content["run"]["epochs"] < 50
    assert content["run"]["best_epoch"] <= content["run"]["epochs"]


def test_short_run_for_continuous_integration(tiny: Config, tmp_path: Path) -> None:
    content = run(tiny("trainer.max_epochs=1", "+trainer.limit_train_batches=2"), tmp_path)
    assert content["test"]["all"]["n"] == 60


def test_loss_is_checked_every_step_on_the_cpu_and_every_fifty_steps_elsewhere() -> None:
    assert all(should_check(torch.device("cpu"), step) for step in range(120))
    assert [step for step in range(120) if should_check(torch.device("cuda"), step)] == [49, 99]
