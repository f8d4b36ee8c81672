"""The bundle of a run in MLflow: registered, champion by the validation metric, loaded back and served."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from dir.bundle import Model, load
from dir.bundle.inputs.arrays import ArrayInputs
from dir.bundle.pyfunc import _inputs
from dir.recipe.run_folder import RunFolder
from dir.recipe.tracking.mlflow_registry import beats, register
from dir.recipe.train import train

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
Config = Callable[..., DictConfig]
NEW = {"dir.monitor": "val/all/mae", "dir.value": "2.0", "dir.data_hash": "a", "dir.cost": "null"}


@pytest.mark.parametrize(
    ("challenger", "champion", "wins", "words"),
    [
        ({}, None, True, "there is no champion"),
        ({}, {"dir.value": "2.5"}, True, "2 here and 2.5 of the champion"),
        ({}, {"dir.value": "2.0"}, False, "2 here and 2 of the champion"),
        ({}, {"dir.value": "1.5"}, False, "2 here and 1.5 of the champion"),
        ({}, {"dir.value": "9", "dir.data_hash": "b"}, False, "under another data"),
        ({"dir.data_hash": ""}, {"dir.value": "9", "dir.data_hash": ""}, False, "under another data"),
        ({}, {"dir.value": "9", "dir.monitor": "val/all/mse"}, False, "under another metric"),
        ({}, {"dir.value": "9", "dir.cost": "{}"}, False, "under another cost"),
        ({}, {"dir.value": ""}, False, "value of the champion is unknown"),
        ({"dir.correction": "affine"}, {"dir.value": "9"}, False, "fitted on the same rows"),
        ({"dir.value": ""}, None, False, "val/all/mae is undefined"),
    ],
)
def test_a_version_becomes_champion_only_after_a_fair_comparison(
    challenger: dict[str, str], champion: dict[str, str] | None, wins: bool, words: str
) -> None:
    found, reason = beats({**NEW, **challenger}, None if champion is None else {**NEW, **champion})
    assert found is wins
    assert words in reason


def written_table(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x, kind = rng.exponential(size=120), rng.choice(["a", "b"], size=120)
    frame = pd.DataFrame({"x": x, "kind": kind, "y": 3 * x + (kind == "a")})
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


@pytest.mark.slow
def test_runs_are_registered_and_the_champion_predicts_and_serves_as_the_bundle_does(
    table_config: Config,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table = written_table(tmp_path)
    given = ("logger=mlflow", f"logger.tracking_uri='{store}'", "logger.register=toy")
    values = {}
    network = ["method=vanilla", "optimizer.lr=0.0001"]
    for number, settings in enumerate((network, ["method=hist_gbdt"], network), 1):
        folder = RunFolder(tmp_path / str(number))
        train(table_config(table, 2, *given, *settings), folder, {})
        content = json.loads(folder.metrics.read_text())
        values[number] = content["val"]["all"]["mse"]
    assert values[2] < values[1] == values[3]
    client = mlflow.MlflowClient(store)
    assert {name: int(number) for name, number in client.get_registered_model("toy").aliases.items()} == {
        "champion": 2
    }
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("MLflow model toy")]
    assert [line.rpartition("; ")[2] for line in said] == [
        "version 1 is the champion",
        "version 2 is the champion",
        "version 2 stays the champion",
    ]
    assert f"{values[3]:.6g} here and {values[2]:.6g} of the champion" in said[2]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    mlflow.set_tracking_uri(store)
    champion = mlflow.pyfunc.load_model("models:/toy@champion")
    rows = pd.read_csv(table).drop(columns="y").head(5)
    expected = load(tmp_path / "2").predict(rows)
    np.testing.assert_array_equal(champion.predict(rows), expected)
    assert champion.metadata.get_input_schema().input_types() == [
        mlflow.types.DataType.double,
        mlflow.types.DataType.string,
    ]
    example = champion.input_example
    assert np.isfinite(champion.predict(example)).all()
    check_served(rows, expected, tmp_path)


def check_served(rows: pd.DataFrame, expected: Any, folder: Path) -> None:
    """Serve the champion on loopback for one request, and compare the answer with our own predictions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/toy@champion"]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        content = json.dumps({"dataframe_split": rows.to_dict(orient="split")}).encode()
        request = Request(f"http://127.0.0.1:{port}/invocations", content, {"Content-Type": "application/json"})
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < deadline, (folder / "serve.log").read_text()
            try:
                with urlopen(request, timeout=30) as answer:
                    served = json.load(answer)["predictions"]
                break
            except (URLError, ConnectionError):
                time.sleep(0.3)
    finally:
        # The server is a child of the command.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    np.testing.assert_allclose(served, expected, rtol=1e-6)


def test_inputs_that_mlflow_cannot_describe_are_refused_by_name() -> None:
    description: Any = None
    with pytest.raises(ValueError, match="no form for the inputs of this model, got 'arrays'"):
        _inputs(Model(description, ArrayInputs(), estimator=object()))


def test_a_run_without_a_bundle_that_loads_is_kept_but_not_registered(
    tiny: Config, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("logger=mlflow", f"logger.tracking_uri='{store}'", "logger.register=arrays", "trainer.max_epochs=1")
    train(tiny(*given), RunFolder(tmp_path / "run"), {})
    assert mlflow.MlflowClient(store).search_registered_models("name = 'arrays'") == []
    kept = json.loads((tmp_path / "run" / "tracking.json").read_text())["mlflow"]
    assert mlflow.MlflowClient(store).get_run(kept["run_id"]).info.status == "FINISHED"
    assert re.search("no version of arrays in MLflow: .*TinyEncoder", capsys.readouterr().err)
    client: Any = None  # not asked
    register(client, "", tmp_path, "arrays")
    assert "no version of arrays in MLflow: the run has no model bundle" in capsys.readouterr().err
