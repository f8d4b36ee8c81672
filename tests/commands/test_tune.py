"""dir-tune on a small table: closed test rows, a search that goes on, killed workers, several workers at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dir.commands.closed_runs import train_closed
from dir.commands.sources import compose_config
from dir.commands.tune import main, tune
from dir.commands.tune_plan import Plan
from dir.commands.tune_study import MAX_ATTEMPTS, Worker, begin_search, open_study
from dir.commands.tune_target import Target
from dir.recipe import callbacks
from dir.recipe.cli import config_dir
from dir.recipe.run_folder import RunFolder
from dir.recipe.schema import register_configs
from dir.recipe.train import train

SHORT = ("trainer.max_epochs=2", "trainer.accelerator=cpu")
BALANCED = Target("all", "balanced_mae")


def plan_of(table: Path, folder: Path, *further: str, trials: int = 2, **settings: Any) -> Plan:
    register_configs()
    given = ("+experiment=tabular", f"data.path={table}", "data.target=y", "data.split_column=part", *SHORT)
    return Plan(folder, (*given, *(further or ("method=lds",))), settings.pop("target", BALANCED), trials, **settings)


def quiet(line: str) -> None: ...


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory, write_table: Callable[..., Path]
) -> tuple[Path, Plan, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tune")
    plan = plan_of(write_table(folder / "doses.csv"), folder / "search")
    return folder, plan, tune(plan, say=quiet)


def test_the_first_trial_is_the_run_of_the_config(found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path) -> None:
    _, plan, result = found
    cfg = compose_config([*plan.overrides, "logger=none", "trainer.enable_progress_bar=false"])
    train(cfg, RunFolder(tmp_path / "run"), {})
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert result["first"] == metrics["val"]["all"]["balanced_mae"]
    assert result["best"]["value"] == result["best"]["val"]["all"]["balanced_mae"] <= result["first"]
    values = [one["value"] for one in result["trials"]]
    assert values == sorted(values)
    assert result["counts"] == {"finished": 2, "pruned": 0, "failed": 0, "open": 0}


def test_the_written_experiment_is_the_best_trial(found: tuple[Path, Plan, dict[str, Any]]) -> None:
    _, plan, result = found
    assert result["command"] == f"dir-train --config-dir {plan.folder} +experiment=search-best"
    with initialize_config_dir(config_dir(), version_base="1.3"):
        written = compose("train", ["+experiment=search-best", f"hydra.searchpath=[file://{plan.folder}]"])
        direct = compose("train", result["best"]["overrides"])
    assert OmegaConf.to_container(written, resolve=True) == OmegaConf.to_container(direct, resolve=True)
    header, *rows = (plan.folder / "trials.csv").read_text().splitlines()
    assert header.startswith("trial,state,value,failure,method.lds.kernel,")
    assert [row.split(",")[:2] for row in rows] == [[str(number), "complete"] for number in range(2)]
    assert not any((plan.folder / "trials").iterdir())


def test_a_trial_has_no_test_rows(found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path) -> None:
    _, plan, _ = found
    cfg = compose_config([*plan.overrides, "logger=none", "trainer.enable_progress_bar=false"])
    train_closed(cfg, RunFolder(tmp_path / "trial"), {}, tmp_path / "log")
    metrics = json.loads((tmp_path / "trial/metrics.json").read_text())
    assert set(metrics) == {"val", "run"}
    assert set(metrics["run"]["data"]["rows"]) == {"train", "val"}
    printed = (tmp_path / "log").read_text()
    assert "val (label unit: y)" in printed
    assert not any(line.startswith(("test:", "test (")) for line in printed.splitlines())
    trees = compose_config([*plan.overrides[:-1], "method=hist_gbdt", "method.estimator.max_iter=3"])
    train_closed(trees, RunFolder(tmp_path / "trees"), {}, tmp_path / "log")
    assert set(json.loads((tmp_path / "trees/metrics.json").read_text())) == {"val", "run"}


def test_poisoned_test_rows_change_nothing(
    found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    _, _, result = found
    plan = plan_of(write_table(tmp_path / "doses.csv", poison=True), tmp_path / "search", trials=1)
    poisoned = tune(plan, say=quiet)
    (first,) = (one for one in result["trials"] if one["number"] == 0)
    assert [(one["value"], one["settings"]) for one in poisoned["trials"]] == [(first["value"], first["settings"])]


def test_a_search_goes_on_and_another_one_is_refused(
    found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    _, plan, result = found
    begun: list[str] = []
    again = tune(plan, say=begun.append)
    assert again["trials"] == result["trials"]
    assert not any(line.startswith("trial") for line in begun)
    before = sorted(plan.folder.rglob("*"))
    other_rows = write_table(tmp_path / "doses.csv")
    other_rows.write_text(other_rows.read_text().replace("train", "val", 1))
    for changed, match in (
        (replace(plan, target=Target("few", "mae")), r"another search: objective \(balanced_mae -> few/mae\)"),
        (replace(plan, overrides=(*plan.overrides, "optimizer.weight_decay=0.5")), r"optimizer\.weight_decay \("),
        (plan_of(other_rows, plan.folder), r"another search: train rows \("),
    ):
        with pytest.raises(ValueError, match=match):
            tune(changed, say=quiet)
    assert sorted(plan.folder.rglob("*")) == before


def ended_after_an_epoch(plan: Plan, end: Callable[[], None]) -> None:
    """Work on the search, and end in the first trial after its first epoch."""
    real = callbacks.Watch.on_validation_end

    def stop(self: Any, trainer: Any, module: Any) -> None:
        real(self, trainer, module)
        if trainer.current_epoch == 1:
            end()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.Watch, "on_validation_end", stop)
        Worker(plan, say=quiet).work()


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start by fork")
def test_the_trial_of_a_killed_worker_goes_on(found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path) -> None:
    _, whole, result = found
    plan = replace(whole, folder=tmp_path / "search", trials=1)
    plan = replace(plan, overrides=(*plan.overrides[:-1], "method=lds", "checkpoint_every_seconds=0"))
    begin_search(plan)
    process = multiprocessing.get_context("fork").Process(target=ended_after_an_epoch, args=(plan, kill_oneself))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (trial,) = open_study(plan).trials
    assert (trial.state.name, trial.user_attrs["attempts"]) == ("RUNNING", 1)
    assert (plan.folder / "trials/0/checkpoints/last.ckpt").is_file()
    resumed = tune(plan, say=quiet)
    assert resumed["best"]["value"] == result["first"]
    (trial,) = open_study(plan).trials
    assert trial.user_attrs["attempts"] == 2
    assert sorted(trial.intermediate_values) == [0, 1]
    assert not any((plan.folder / "workers").iterdir())


def test_ctrl_c_keeps_the_trial_and_is_no_attempt(found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path) -> None:
    _, whole, result = found
    plan = replace(whole, folder=tmp_path / "search", trials=1)
    begin_search(plan)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        ended_after_an_epoch(plan, interrupt)
    (trial,) = open_study(plan).trials
    assert (trial.state.name, trial.user_attrs["attempts"]) == ("RUNNING", 0)
    assert tune(plan, say=quiet)["best"]["value"] == result["first"]


def test_a_trial_that_kills_its_workers_is_marked(found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path) -> None:
    _, whole, _ = found
    plan = replace(whole, folder=tmp_path / "search", trials=1)
    study = begin_search(plan)
    dead = study.ask()
    dead.set_user_attr("worker", "gone-1")
    dead.set_user_attr("attempts", MAX_ATTEMPTS)
    Worker(plan, say=quiet).work()
    (trial,) = open_study(plan).trials
    assert (trial.state.name, trial.user_attrs["failure"]) == ("FAIL", "its worker was killed")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start by fork")
def test_two_workers_share_one_search(
    found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, _ = found
    plan = replace(whole, folder=tmp_path / "search")
    together, work = multiprocessing.get_context("fork").Barrier(2), Worker.work

    def begin_together(worker: Worker) -> None:
        together.wait(60)
        work(worker)

    monkeypatch.setattr(Worker, "work", begin_together)
    result = tune(plan, workers=2, say=quiet, start="fork")
    assert result["counts"] == {"finished": 2, "pruned": 0, "failed": 0, "open": 0}
    trials = open_study(plan).trials
    assert len({one.user_attrs["worker"] for one in trials}) == 2
    assert len({json.dumps(one.params) for one in trials}) == 2


def test_a_bad_trial_is_pruned_and_a_diverged_one_teaches_the_sampler(
    found: tuple[Path, Plan, dict[str, Any]], tmp_path: Path
) -> None:
    _, whole, _ = found
    rates = (*whole.overrides[:-1], "method=vanilla", "optimizer.lr=1e-9,1e30")
    plan = replace(whole, folder=tmp_path / "search", trials=7, overrides=rates)
    study = begin_search(plan)
    space = {"optimizer.lr": optuna.distributions.CategoricalDistribution(("1e-09", "1e+30"))}
    for _ in range(5):
        good = optuna.trial.create_trial(
            params={"optimizer.lr": "1e-09"}, distributions=space, value=1e-3, intermediate_values={0: 1e-3, 1: 1e-3}
        )
        study.add_trial(good)
    study.enqueue_trial({"optimizer.lr": "1e+30"})
    lines: list[str] = []
    Worker(plan, say=lines.append).work()
    assert [line.split(" (")[0] for line in lines] == [
        "trial 0: pruned, worse than the median after epoch 2",
        "trial 6: pruned, diverged",
    ]


def test_the_command_prints_the_best_trials(
    found: tuple[Path, Plan, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, plan, result = found
    arguments = [*plan.overrides, "--objective", "balanced_mae", "--trials", "2", "--folder", str(plan.folder)]
    main(arguments)
    printed = capsys.readouterr().out
    for part in ("minimize balanced_mae, 2 trials.", "task.lds.sigma: 0.5 to 10, log scale", result["command"]):
        assert part in printed
    main([*arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["trials"] == result["trials"]
