"""Sweeps on other launchers of Hydra: joblib on one machine, and SLURM with an sbatch that only keeps its script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import submitit

from dir.recipe import cli
from dir.recipe.cli import train_main

TINY = Path(__file__).parent / "tiny"
SHORT = ["data=tiny", "model=tiny", "name=tiny", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none"]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs a sweep on the tiny data in the folder of the test."""
    monkeypatch.syspath_prepend(str(TINY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", f"hydra.searchpath=[file://{TINY}]", *SHORT, *arguments])
        train_main()

    return call


def runs(folder: Path) -> set[str]:
    return {path.parent.parent.name for path in folder.glob("outputs/tiny/*/*/metrics.json")}


def test_a_sweep_with_joblib_has_titles_and_a_table(
    sweep: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One job at a time: joblib then stays in this process. docs/tuning.md shows a sweep in two.
    sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "method=vanilla,lds")
    printed = capsys.readouterr().out
    assert runs(tmp_path) == {"vanilla", "lds"}
    assert "run 2 of 2: method=lds\n" in printed
    assert "Seeds 0: vanilla, lds." in printed
    assert not list((tmp_path / "outputs").glob(".sweep*"))


def test_a_sweep_on_slurm_submits_one_array_whose_jobs_are_runs(
    sweep: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in (
        ("sbatch", f'cp "${{@: -1}}" {tmp_path}/script.sh\necho Submitted batch job 42'),
        ("srun", ""),
    ):
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")

    def work(job: Any) -> list[Any]:
        """Run the job from its pickled file, as _submit does on a node, instead of waiting for it."""
        return [submitit.core.utils.DelayedSubmission.load(job.paths.submitted_pickle).result()]

    monkeypatch.setattr(submitit.Job, "results", work)
    for name, value in (("SUBMITIT_EXECUTOR", "slurm"), ("SLURM_JOB_ID", "42"), ("SLURM_JOB_NUM_NODES", "1")):
        monkeypatch.setenv(name, value)
    sweep(
        "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=null", "method=lds,inv"
    )
    script = (tmp_path / "script.sh").read_text()
    for line in ("array=0-1%2", "partition=gpu", "time=240", "cpus-per-task=4", "mem=16GB", "job-name=dir-train"):
        assert f"#SBATCH --{line}\n" in script
    assert "gpus" not in script
    # Lightning takes USR1 for the end of the time; submitit must use another signal.
    assert "--signal=USR2@" in script
    printed = capsys.readouterr().out
    assert runs(tmp_path) == {"lds", "inv"}
    assert "run 1 of 2: method=lds\n" in printed
    assert "Seeds 0: inv, lds." in printed or "Seeds 0: lds, inv." in printed
    assert not list((tmp_path / "outputs").glob(".sweep*"))


def test_a_missing_launcher_is_named_with_its_extra(
    sweep: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"^hydra/launcher: the package hydra-submitit-launcher is missing, got 'sl"):
        sweep("hydra/launcher=slurm")
    assert list(tmp_path.iterdir()) == []
