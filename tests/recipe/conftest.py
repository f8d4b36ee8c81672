"""Fixtures for runs on data that trains within a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmarks.reliability.killed_runs import Runs
from dir.recipe.cli import config_dir, register_configs

TINY = Path(__file__).parent / "tiny"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Return a function that composes configs/train.yaml with the tiny data, the tiny model and overrides."""
    monkeypatch.syspath_prepend(str(TINY))
    register_configs()

    def config(*overrides: str) -> DictConfig:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            search = f"hydra.searchpath=[file://{TINY}]"
            # Drawing figures takes half a second. test_run_figures.py draws them.
            fixed = ["data=tiny", "model=tiny", "name=tiny", "trainer.accelerator=cpu", "figures=null"]
            return compose("train", [search, *fixed, *overrides])

    return config


def compose_table(path: Path, epochs: int, *overrides: str) -> DictConfig:
    """Return the config of a short run on the column ``y`` of a csv file."""
    register_configs()
    quick = [f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    fixed = ["+experiment=tabular", f"data.path={path}", "data.target=y", "logger=none"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [*fixed, *quick, *overrides])


@pytest.fixture(scope="session")
def table_config() -> Callable[..., DictConfig]:
    """Return :func:`compose_table`."""
    return compose_table


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of an empty MLflow store whose artifacts lie beside it; making its tables takes seconds."""
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    # The store keeps its artifacts in the working directory of the process that made it.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.MlflowClient(uri).search_experiments(max_results=1)
    return uri


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return runs in separate, pre-started processes; the run named `whole` is uninterrupted."""
    found = Runs(tmp_path_factory.mktemp("runs"))
    found.finish("whole")
    yield found
    found.close()
