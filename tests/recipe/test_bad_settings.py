"""Unknown keys, missing values and values out of range: the error names the key, and nothing is written."""

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
        (["+optimizer.lrr=1"], r"optimizer\.lrr: .*got 1\..*lr\?"),
        (["optimizer.lr=high"], r"optimizer"),
        (["optimizer.lr=-1"], r"optimizer.*-1"),
        (["scheduler=multistep", "+scheduler.gama=1"], r"scheduler\.gama: .*got 1\..*gamma\?"),
        (["scheduler=onecycle", "scheduler.max_lr=null"], "scheduler"),
        (["+data.nois=1"], r"data\.nois: .*got 1\..*noise\?"),
        (["+model.encoder.drop_out=1"], r"model\.encoder\.drop_out: .*got 1\..*dropout\?"),
        (["+trainer.max_epoch=1"], r"trainer\.max_epoch: .*got 1\..*max_epochs\?"),
        (["method=lds", "+method.lds.kernal=gaussian"], r"method\.lds\.kernal: .*kernel\?"),
        (["method=fds", "+method.fds.ratioclip=2"], r"method\.fds\.ratioclip: .*ratio_clip\?"),
        (["task.bins._target_=dir.bins.LabelBinz"], r"task\.bins\._target_: .*got 'dir\.bins\.LabelBinz'"),
        (["resume=maybe"], "resume: .*got 'maybe'"),
        (["trainer.max_epochs=0"], r"trainer\.max_epochs: .*got 0"),
        (["trainer.max_epochs=null"], r"trainer\.max_epochs: .*got None"),
        (["+trainer.limit_train_batches=0"], r"trainer\.limit_train_batches"),
        (["+trainer.limit_val_batches=0"], r"trainer\.limit_val_batches"),
        (["method=lds", "method.lds.max_weight=0"], "max_weight"),
        (["method=lds", "method.lds.reweight=none"], "reweight"),
        (["method=fds", "method.fds.momentum=1"], "momentum"),
        (["resume=previous"], r"previous\.ckpt"),
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
        (["+methd=lds"], "methd: unknown key. Did you mean method?"),
        (["++sed=1"], "sed: unknown key. Did you mean seed?"),
        (["++task.monitr=mse"], "task.monitr: unknown key. Did you mean monitor?"),
        # Two pluses add a key or override one; these keys exist.
        (["++resume=maybe"], "resume"),
        (["++early_stopping.patience=0"], "early_stopping.patience"),
        (["+task.monitr=mse"], "task.monitr"),
        (["+task.fds.sigm=1"], "task.fds.sigm: unknown key. Did you mean sigma?"),
        (["+method.pwer=1"], "method.pwer"),
        (["+method.power=1"], "method.power"),
        (["+model.encodr=1"], "model.encodr: unknown key. Did you mean encoder?"),
        (["method=rrt", "+method.retrain.epoch=3"], "method.retrain.epoch: unknown key. Did you mean epochs?"),
        # Hydra refuses these types when it composes the config.
        (["task.lds.sigma=high"], "task.lds.sigma"),
        (["task.lds.kernel_size=2.5"], "task.lds.kernel_size"),
        (["task.fds.ratio_clip=3"], "task.fds.ratio_clip"),
        (["method.views=two"], "method.views"),
        (["early_stopping.patience=often"], "early_stopping.patience"),
        (["seed=first"], "seed"),
        (["task.family=l3"], "task.family: expected one of 'l1', 'mse', got 'l3'"),
        # Values that the config of a data set must give.
        (["task.unit=???"], "task.unit: missing value"),
        (["task.unit=???", "task.shots=???"], "task.shots, task.unit: missing value"),
        (["+protocol=gaps"], "protocol.gaps: missing value"),
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
    with pytest.raises(SystemExit) as ended:
        train_main()
    # Hydra prints the errors of composing; the interpreter prints the message of a SystemExit.
    assert message in capsys.readouterr().err + str(ended.value.code)
    assert list(tmp_path.rglob("*")) == []


def test_hydra_refuses_an_unknown_key_when_composing(tiny: Config) -> None:
    with pytest.raises(ConfigCompositionException, match="lrr"):
        tiny("optimizer.lrr=1")
