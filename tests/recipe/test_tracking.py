"""What a run writes to MLflow, and what happens where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from dir.recipe.run_folder import RunFolder
from dir.recipe.tracking.mlflow_logger import public_uri
from dir.recipe.train import train

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
Config = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder: a store writes artifacts beside it or into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


def logged(store: str, folder: Path) -> Any:
    kept = json.loads((folder / "tracking.json").read_text())["mlflow"]
    return mlflow.MlflowClient(store).get_run(kept["run_id"])


def artifacts(store: str, run: Any, path: str | None = None) -> set[str]:
    return {file.path for file in mlflow.MlflowClient(store).list_artifacts(run.info.run_id, path)}


def to_mlflow(store: str, *more: str) -> list[str]:
    return ["logger=mlflow", f"logger.tracking_uri='{store}'", "trainer.max_epochs=1", *more]


def test_a_run_holds_settings_metrics_by_shot_data_commit_figures_and_files(
    tiny: Config, store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny" / "lds" / "seed_0"
    train(tiny("method=lds", *to_mlflow(store, "figures=end")), RunFolder(folder), {"method": "lds"})
    run = logged(store, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny/lds/seed_0")
    assert run.data.params["method"] == "lds"
    assert run.data.params["trainer.max_epochs"] == "1"
    assert not any(name.startswith("logger") for name in run.data.params)
    for split, name in (("test", "test"), ("val", "best/val")):
        for group, values in metrics[split].items():
            for metric, value in values.items():
                if value is None:
                    assert f"{name}/{group}/{metric}" not in run.data.metrics
                else:
                    assert run.data.metrics[f"{name}/{group}/{metric}"] == pytest.approx(value)
    assert "val/all/mae" in run.data.metrics
    assert run.data.tags["dir.folder"] == str(folder)
    assert run.data.tags["dir.data_hash"] == metrics["run"]["data"]["hash"]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == metrics["run"]["data"]["hash"]
    assert {"config.yaml", "metrics.json", "predictions.npz", "figures"} <= artifacts(store, run)
    assert "figures/label_density.png" in artifacts(store, run, "figures")
    assert "figures/test/residuals.png" in artifacts(store, run, "figures/test")


def test_boosted_trees_are_logged_too(table_config: Config, store: str, tmp_path: Path) -> None:
    rows = "".join(f"{x},{x % 7}\n" for x in range(90))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    cfg = table_config(tmp_path / "t.csv", 1, "method=hist_gbdt", *to_mlflow(store)[:2])
    train(cfg, RunFolder(tmp_path / "run"), {})
    run = logged(store, tmp_path / "run")
    assert run.info.status == "FINISHED"
    assert "test/all/mae" in run.data.metrics


def test_a_run_that_fails_is_marked_and_a_resumed_run_continues_it(
    tiny: Config, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("planted")

    cfg, folder = tiny("method=vanilla", *to_mlflow(store)), RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("dir.recipe.train.evaluate_splits", fails)
        with pytest.raises(RuntimeError, match="planted"):
            train(cfg, folder, {})
    first = logged(store, folder.path)
    assert first.info.status == "FAILED"
    cfg.resume = True
    train(cfg, RunFolder(folder.path), {})
    again = logged(store, folder.path)
    assert (again.info.run_id, again.info.status) == (first.info.run_id, "FINISHED")


def test_a_run_of_mlproject_uses_the_run_that_mlflow_has_made(
    tiny: Config, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(store)
    made = client.create_run(client.create_experiment("project")).info.run_id
    client.log_param(made, "method", "vanilla")
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    train(tiny("method=vanilla", *to_mlflow(store)), RunFolder(tmp_path / "run"), {"method": "vanilla"})
    assert logged(store, tmp_path / "run").info.run_id == made


def test_a_store_that_cannot_be_used_is_refused_before_a_file_is_written(tiny: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cfg = tiny(*to_mlflow(f"sqlite:///{tmp_path}/file/mlflow.db"))
    with pytest.raises(RuntimeError, match="logger: the MLflow store cannot be used"):
        train(cfg, RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_service_that_is_gone_is_refused(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Neptune announced the end"):
        train(tiny("logger=neptune"), RunFolder(tmp_path / "run"), {})


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:secret@host:5000", "http://host:5000"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_a_password_in_an_address_is_never_written(uri: str, shown: str) -> None:
    assert public_uri(uri) == shown


def test_a_project_of_wandb_has_no_slash_whatever_the_experiment_is_called(tiny: Config) -> None:
    cfg = tiny("logger=wandb", "name=tabular/houses-price")
    assert (cfg.logger.project, cfg.logger.group) == ("deep-imbalanced-regression", "tabular/houses-price")
