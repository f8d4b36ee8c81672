"""Settings that nothing reads and values without a meaning: named, before anything is written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig

from dir.recipe.cli import train_main
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
TINY = Path(__file__).parent / "tiny"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+optimizer.lrr=1"], r"optimizer\.lrr: Adam has no such argument; did you mean lr\?"),
        (["optimizer.lr=high"], r"optimizer, scheduler: "),
        (["optimizer.lr=-1"], r"optimizer, scheduler: Invalid learning rate: -1"),
        (["scheduler=multistep", "+scheduler.gama=1"], r"scheduler\.gama: MultiStepLR .*did you mean gamma\?"),
        (["scheduler=onecycle", "scheduler.max_lr=null"], "optimizer, scheduler"),
        (["+data.nois=1"], r"data\.nois: TinyData has no such argument; did you mean noise\?"),
        (["+model.encoder.drop_out=1"], r"model\.encoder\.drop_out: .*did you mean dropout\?"),
        (["+trainer.max_epoch=1"], r"trainer\.max_epoch: Trainer has no such argument; did you mean max_epochs\?"),
        (["method=lds", "+method.lds.kernal=gaussian"], r"method\.lds\.kernal: LDS .*did you mean kernel\?"),
        (["method=fds", "+method.fds.ratioclip=2"], r"method\.fds\.ratioclip: FDS .*did you mean ratio_clip\?"),
        (["task.bins._target_=dir.bins.LabelBinz"], r"task\.bins\._target_: dir\.bins\.LabelBinz cannot be imported"),
        (["resume=maybe"], "resume: expected true, false or previous, got maybe"),
        (["trainer.max_epochs=0"], r"trainer\.max_epochs: expected at least 1, got 0"),
        (["trainer.max_epochs=null"], r"trainer\.max_epochs: expected at least 1, or -1 .*got null"),
        (["+trainer.limit_train_batches=0"], r"trainer\.limit_train_batches"),
        (["+trainer.limit_val_batches=0"], r"trainer\.limit_val_batches"),
        (["method=lds", "method.lds.max_weight=0"], "max_weight"),
        (["method=lds", "method.lds.reweight=none"], "reweight"),
        (["method=fds", "method.fds.momentum=1"], "momentum"),
        (["resume=previous"], r"resume=previous: there is no .*previous\.ckpt"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    tiny: Config, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(tiny(*overrides), RunFolder(tmp_path / "run"), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer.lrr=1"], "optimizer.lrr"),
        (["+methd=lds"], "+methd=lds: nothing reads methd; did you mean method?"),
        (["++sed=1"], "++sed=1: nothing reads sed"),
        (["++task.monitr=mse"], "nothing reads task.monitr"),
        # Two pluses add or override: these are read, and found to have no meaning.
        (["++resume=maybe"], "resume: expected true, false or previous"),
        (["++early_stopping.patience=0"], "early_stopping.patience: expected null or at least 1"),
        (["+task.monitr=mse"], "nothing reads task.monitr"),
        (["+task.fds.sigm=1"], "nothing reads task.fds.sigm"),
        (["+method.pwer=1"], "nothing reads method.pwer"),
        (["method=ldss"], "ldss"),
        (["early_stopping.patiens=1"], "patiens"),
    ],
)
def test_a_typo_on_the_command_line_is_named_and_nothing_is_written(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(TINY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)
    fixed = [f"hydra.searchpath=[file://{TINY}]", "data=tiny", "model=tiny", "trainer.accelerator=cpu"]
    monkeypatch.setattr(sys, "argv", ["train.py", *fixed, *arguments])
    with pytest.raises(SystemExit):
        train_main()
    assert message in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == []


def test_hydra_refuses_an_unknown_key_when_composing(tiny: Config) -> None:
    with pytest.raises(ConfigCompositionException, match="lrr"):
        tiny("optimizer.lrr=1")
