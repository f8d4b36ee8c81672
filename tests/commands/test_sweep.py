"""The titles and the table of a sweep; tests/recipe/test_cli.py has a sweep of real runs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from dir.commands.sweep import SweepReport

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def config(
    *overrides: str, sweeper: str = BASIC, number: int = 0, folder: str = "", sweep_dir: Path | str = "outputs"
) -> DictConfig:
    return OmegaConf.create(
        {
            "hydra": {
                "mode": "MULTIRUN",
                "sweeper": {"_target_": sweeper, "params": None},
                "sweep": {"dir": str(sweep_dir)},
                "overrides": {"task": list(overrides)},
                "job": {"num": number},
                "runtime": {"output_dir": folder},
            }
        }
    )


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Return four run folders; the last run is unfinished."""
    found = [tmp_path / f"toy/{method}/seed_{seed}" for method in ("vanilla", "lds") for seed in (0, 1)]
    for number, folder in enumerate(found):
        folder.mkdir(parents=True)
        groups = {"all": {"n": 5, "mae": 1.0 + number}, "few": {"n": 2, "mae": 2.0 + number}}
        if number < 3:
            (folder / "metrics.json").write_text(json.dumps({"test": groups}))
    return found


def test_each_run_has_a_title_and_the_end_has_a_table(
    folders: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    report = SweepReport()
    report.on_multirun_start(config("+experiment=toy", "method=vanilla,lds", "+seed=range(0,2)"))
    for number, folder in enumerate(folders):
        job = ("+experiment=toy", f"method={folder.parent.name}", f"+seed={folder.name[-1]}")
        report.on_job_start(config(*job, number=number))
        report.on_job_end(config(*job, number=number, folder=str(folder)))
    printed = capsys.readouterr().out
    assert "run 1 of 4: method=vanilla +seed=0\n" in printed
    assert "run 4 of 4: method=lds +seed=1\n" in printed
    report.on_multirun_end(config())
    table = capsys.readouterr().out
    assert "1.500 ± 0.707" in table  # vanilla over two seeds
    assert "3.000" in table  # lds, the finished seed alone
    assert "dir-compare toy --all" in table


def test_another_sweeper_decides_the_number_of_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = SweepReport()
    report.on_multirun_start(config("method=vanilla,lds", sweeper="hydra_plugins.hydra_optuna_sweeper.OptunaSweeper"))
    report.on_job_start(config("method=lds", number=2))
    assert "run 3: method=lds" in capsys.readouterr().out
    report.on_multirun_end(config())
    assert capsys.readouterr().out == ""


def test_runs_in_other_processes_print_titles_there_and_one_table_here(
    folders: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = SweepReport()
    report.on_multirun_start(config("+experiment=toy", "method=vanilla,lds", sweep_dir=tmp_path))
    for number, folder in enumerate(folders):
        # joblib and submitit give a pickled copy to each run.
        copy = pickle.loads(pickle.dumps(report))
        copy.on_job_start(config(f"method={folder.parent.name}", number=number))
        copy.on_job_end(config(number=number, folder=str(folder)))
    assert "run 2 of 2: method=vanilla\n" in capsys.readouterr().out
    assert len(list(tmp_path.glob(".sweep_*"))) == 1
    report.on_multirun_end(config())
    assert "1.500 ± 0.707" in capsys.readouterr().out
    assert not list(tmp_path.glob(".sweep_*"))


def test_one_run_and_the_other_ranks_print_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    single = config("method=lds")
    single.hydra.mode = "RUN"
    SweepReport().on_job_start(single)
    monkeypatch.setenv("RANK", "1")
    SweepReport().on_job_start(config("method=lds"))
    assert capsys.readouterr().out == ""
