from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dir.recipe.cli import evaluate_main, train_main
from dir.recipe.folder_name import suffix
from dir.recipe.run_folder import RunFolder

TINY = Path(__file__).parent / "tiny"
SHORT = ["data=tiny", "model=tiny", "name=tiny", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
SUFFIX = ",data=tiny,model=tiny,trainer.max_epochs=1"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Calls scripts/train.py's main in an empty folder."""
    monkeypatch.syspath_prepend(str(TINY))
    monkeypatch.chdir(tmp_path)
    # Coverage traces, which Hydra takes for a debugger, and then raises where it would print and exit.
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)

    def call(*arguments: str) -> None:
        flags = [a for a in arguments if a.startswith("-")]
        rest = [a for a in arguments if not a.startswith("-")]
        search = f"hydra.searchpath=[file://{TINY}]"
        monkeypatch.setattr(sys, "argv", ["train.py", *flags, search, *SHORT, *rest])
        train_main()

    return call


def test_a_sweep_runs_in_one_process_into_the_folders_of_single_runs(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("method=lds", "seed=1")
    single = tmp_path / f"outputs/tiny/lds/seed_1{SUFFIX}"
    first = (single / "metrics.json").read_bytes()
    command("-m", "method=vanilla,lds", "seed=0,1")
    finished = {str(p.parent.relative_to(tmp_path / "outputs/tiny")) for p in tmp_path.rglob("metrics.json")}
    assert finished == {f"{m}/seed_{s}{SUFFIX}" for m in ("vanilla", "lds") for s in (0, 1)}
    printed = capsys.readouterr().out
    assert f"finished before, skipped: {single}" in printed
    assert [line for line in printed.splitlines() if line.startswith("run ")] == [
        f"run {2 * row + seed + 1} of 4: method={method} seed={seed}"
        for row, method in enumerate(("vanilla", "lds"))
        for seed in (0, 1)
    ]
    assert "Seeds 0, 1: vanilla, lds." in printed  # below the table at the end
    assert (single / "metrics.json").read_bytes() == first
    facts = json.loads((tmp_path / f"outputs/tiny/vanilla/seed_0{SUFFIX}/metrics.json").read_text())["run"]
    assert (facts["method"], facts["seed"], facts["name"]) == ("vanilla", 0, "tiny")
    # Nothing of Hydra's own lies in a run folder, and the config is resolved.
    assert {p.name for p in single.iterdir()} == {
        "config.yaml",
        "metrics.json",
        "predictions.npz",
        "data.json",
        "split.json.gz",
        "checkpoints",
        "model",
        "tensorboard",
    }
    assert yaml.safe_load((single / "config.yaml").read_text())["data"]["seed"] == 1


def test_a_refused_run_leaves_no_folder(command: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        command("data.sizes=[10,0,10]")
    assert list(tmp_path.rglob("*")) == []


def test_an_unknown_key_is_refused_by_name(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        command("optimizer.learning_rate=1")
    assert "optimizer.learning_rate" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command("method.lds.sigma=1")
    assert "method.lds.sigma" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == []


def test_without_arguments_the_experiments_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    script = Path(__file__).parents[2] / "scripts/train.py"
    with pytest.raises(SystemExit, match="age_synthetic"):
        runpy.run_path(str(script), run_name="__main__")


def test_evaluate_prints_the_tables_of_the_run(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("method=fds")
    printed = capsys.readouterr().out
    checkpoint = tmp_path / f"outputs/tiny/fds/seed_0{SUFFIX}/checkpoints/best.ckpt"
    evaluate_main([f"ckpt={checkpoint}", "trust=true"])
    table = capsys.readouterr().out
    assert "balanced_mae" in table
    assert table in printed
    for wrong in ([], ["ckpt"], [f"ckpt={checkpoint}", "verbose"]):
        with pytest.raises(SystemExit, match="usage"):
            evaluate_main(wrong)
    with pytest.raises(SystemExit, match=r"trust: .*got 'maybe'"):
        evaluate_main([f"ckpt={checkpoint}", "trust=maybe"])


def test_an_error_about_settings_or_data_is_one_message_and_a_bug_keeps_its_traceback(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command("method=lds", "method.lds.max_weight=-1")
    # The interpreter prints the message of a SystemExit and exits with status 1.
    assert re.match(r"max_weight: .*got -1", str(ended.value.code))
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        with pytest.raises(ValueError, match="max_weight"):
            command("method=lds", "method.lds.max_weight=-1")

    def bug(*args: object) -> None:
        raise ValueError("a bug outside of the package")

    monkeypatch.setattr("dir.recipe.train.check", bug)
    with pytest.raises(SystemExit):
        command("method=lds")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer.accelerator=abacus"], r"trainer: .*abacus"),
        (["trainer.precision=7"], r"trainer: .*7"),
        (["model=resnet"], r"model: .*ResNetEncoder.* in_features.*TinyData"),
        (["logger=csv", "logger._target_=lightning.pytorch.loggers.CometLogger"], r"logger: .*comet"),
    ],
)
def test_a_refusal_of_another_package_names_the_key_and_leaves_nothing(
    command: Callable[..., None], tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        command("logger=none", *arguments)
    assert re.match(message, str(ended.value.code), re.DOTALL)
    assert list(tmp_path.rglob("*")) == []


def test_a_run_that_fails_after_its_first_files_leaves_no_folder_above_them(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        assert list(tmp_path.rglob("config.yaml"))
        raise ValueError("fails before the first step")

    monkeypatch.setattr("dir.recipe.train.fit", broken)
    with pytest.raises(SystemExit):
        command("logger=none")
    assert list(tmp_path.rglob("*")) == []


def test_evaluate_prints_an_error_as_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match=r"^ckpt: .*none\.ckpt"):
        evaluate_main([f"ckpt={tmp_path / 'none.ckpt'}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(FileNotFoundError):
        evaluate_main([f"ckpt={tmp_path / 'none.ckpt'}"])


def test_suffix_names_what_was_overridden_and_stays_short() -> None:
    assert suffix(["+experiment=x", "method=lds", "seed=3", "resume=true", "data.path=/a/b"]) == ""
    assert suffix(["b=2", "+a=1"]) == ",a=1,b=2"
    assert "/" not in suffix(["data.encoder=some/model", "data.views=[[mean, -1]]"])
    settings = [
        "data.batch_size=16",
        "task.lds.kernel_size=5",
        "task.lds.sigma=1",
        "task.shots.many=20",
        "task.shots.few=6",
    ]
    assert suffix(settings).count("=") == 5  # a handful is spelt out
    long = [f"task.bins.key_{i}={i}" for i in range(20)]
    assert len(suffix(long)) < 40
    assert suffix(long) == suffix(long[::-1]) != suffix(long[1:])


def test_default_name_is_short_and_tells_input_files_apart() -> None:
    table = ["data=tabular", "model=mlp", "data.target=price"]
    assert suffix([*table, "data.path=/a/houses.csv"]) == ",data.path=houses,data.target=price"
    assert suffix([*table, "data.path=/a/flats.csv"]) != suffix([*table, "data.path=/a/houses.csv"])
    assert suffix(["data=agedb", "model=resnet", "seed=1", "method=lds"]) == ""
    # With a name of the user's own, the name says nothing about data and model.
    assert suffix(["data=agedb", "model=resnet", "name=mine"]) == ",data=agedb,model=resnet"


def test_a_run_without_experiment_and_name_is_called_after_its_data_and_model(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SHORT", [one for one in SHORT if not one.startswith("name=")])
    command()
    (metrics,) = tmp_path.rglob("metrics.json")
    assert metrics.parent == tmp_path / "outputs/tiny-tiny/vanilla/seed_0,trainer.max_epochs=1"
    assert json.loads(metrics.read_text())["run"]["name"] == "tiny-tiny"


def test_a_folder_is_finished_when_its_metrics_are_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.check(resume=False)
    folder.path.mkdir()
    folder.check(resume=False)
    (folder.path / "metrics.json.partial").write_text("{")
    assert not folder.finished
    with pytest.raises(RuntimeError, match="unfinished"):
        folder.check(resume=False)
    folder.check(resume=True)
