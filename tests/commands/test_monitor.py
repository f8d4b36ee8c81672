"""dir-monitor and dir-train retrain=RUN on files as users have them."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dir.commands.monitor import THRESHOLDS, main
from dir.monitor import Settings
from dir.monitor.saved import read_report
from dir.recipe.cli import config_dir, register_configs, train_main
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Monitor = Callable[..., tuple[int, dict[str, Any]]]


def houses(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    size, kind = random.normal(size=rows), random.choice(["a", "b", "c"], rows)
    price = 20 + 5 * size + 3 * (kind == "b") + random.normal(size=rows)
    return pd.DataFrame({"size": size, "kind": kind, "price": price})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of trees on a table of houses."""
    register_configs()
    folder = tmp_path_factory.mktemp("houses")
    houses(700, 0).to_csv(folder / "houses.csv", index=False)
    fixed = ["+experiment=tabular", "method=hist_gbdt", "data.target=price", "logger=none", "data.split=random"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [*fixed, f"data.path={folder / 'houses.csv'}"])
    train(cfg, RunFolder(folder / "run"), {"method": "hist_gbdt", "overrides": ["method=hist_gbdt", "seed=0"]})
    return folder / "run"


@pytest.fixture
def monitor(run: Path, tmp_path: Path) -> Monitor:
    """`monitor(frame, ...)` -> exit status and the content of the json file."""

    def call(frame: pd.DataFrame, *more: str, model: Path = run) -> tuple[int, dict[str, Any]]:
        frame.to_csv(tmp_path / "new.csv", index=False)
        with pytest.raises(SystemExit) as ended:
            main([f"model={model}", str(tmp_path / "new.csv"), *more, "--json", str(tmp_path / "out" / "new.json")])
        assert isinstance(ended.value.code, int), ended.value.code
        return ended.value.code, json.loads((tmp_path / "out" / "new.json").read_text())

    return call


def without_monitoring(run: Path, target: Path) -> Path:
    """Return a copy of a run as an earlier release wrote it."""
    shutil.copytree(run, target)
    path = target / "model" / "model.json"
    content = json.loads(path.read_text())
    del content["run"]["monitoring"]
    content["sha256"] = "0" * 64
    text = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
    path.write_bytes(text.replace(b"0" * 64, hashlib.sha256(text).hexdigest().encode()))
    return target


def test_the_exit_status_is_0_without_drift_3_with_drift_and_4_with_a_larger_error(
    monitor: Monitor, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = houses(300, 1)
    status, report = monitor(same, "--picture", str(tmp_path / "new.png"))
    assert (status, report["status"], report["rows"]) == (0, 0, 300)
    assert [one["column"] for one in report["inputs"]] == ["size", "kind"]
    assert (tmp_path / "new.png").read_bytes().startswith(b"\x89PNG")
    assert "status 0: no drift" in capsys.readouterr().out
    assert read_report(tmp_path / "out" / "new.json") == report
    assert report["model_sha256"] == json.loads((run / "model" / "model.json").read_text())["sha256"]

    status, report = monitor(same.assign(size=same["size"] + 1).drop(columns="price"))
    assert (status, report["realised_error"]) == (3, None)
    assert report["inputs"][0]["drift"] == ["psi", "ks"]

    status, report = monitor(same.assign(price=same["price"] + 6))
    assert status == 4
    assert report["realised_error"]["all"]["worse"]
    shown = capsys.readouterr().out
    assert "the error is larger than on validation: all" in shown
    assert f"dir-train retrain={report['model']}" in shown


def test_rows_that_cannot_be_predicted_are_counted(monitor: Monitor) -> None:
    frame = houses(200, 2).drop(columns="price")
    frame.loc[:19, "size"] = np.nan
    frame.loc[20:49, "kind"] = "castle"
    status, report = monitor(frame, "missing=0.05")
    assert (status, report["unpredicted"]) == (3, pytest.approx(0.1))
    size, kind = report["inputs"]
    assert (size["missing"], kind["unknown"]) == (0.1, 0.15)
    assert ("missing" in size["drift"], "unknown" in kind["drift"]) == (True, True)


def test_thresholds_are_settings(monitor: Monitor) -> None:
    assert [field.name for field in fields(Settings)] == list(THRESHOLDS)
    frame = houses(300, 1)
    frame = frame.assign(size=frame["size"] + 0.5)
    assert monitor(frame)[0] != 0
    status, report = monitor(frame.drop(columns="price"), "psi=5", "ks=0.9", "error=5", "alpha=0.05")
    assert status == 0
    assert report["settings"] == {"psi": 5.0, "ks": 0.9, "missing": 0.02, "error": 5.0, "alpha": 0.05}


def test_a_run_of_an_earlier_release_is_monitored_by_its_data(monitor: Monitor, run: Path, tmp_path: Path) -> None:
    frame = houses(200, 3)
    expected = monitor(frame)[1]
    older = without_monitoring(run, tmp_path / "older")
    found = monitor(frame, model=older)[1]
    for report in (expected, found):
        del report["model"], report["model_sha256"], report["retrain"]
    assert found == expected
    config = OmegaConf.load(older / "config.yaml")
    config.data.path = str(tmp_path / "gone.csv")
    OmegaConf.save(config, older / "config.yaml")
    with pytest.raises(SystemExit, match=r"keeps no aggregates.*gone\.csv.*dir-train retrain=RUN"):
        main([f"model={older}", str(tmp_path / "new.csv")])
    (older / "config.yaml").unlink()
    with pytest.raises(SystemExit, match=r"keeps no aggregates.*no config\.yaml"):
        main([f"model={older}", str(tmp_path / "new.csv")])


def test_wrong_arguments_end_with_status_2_or_a_message(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    houses(9, 0).to_csv(tmp_path / "new.csv", index=False)
    new = str(tmp_path / "new.csv")
    for arguments, expected in (
        ([f"model={run}"], "input: not given"),
        ([new], "model: not given"),
        ([f"model={run}", new, "psii=1"], "psii: no such argument. Did you mean psi?"),
        ([f"model={run}", new, "psi=big"], "psi: expected a number, got 'big'"),
        ([f"model={run}", new, new], "input: expected one file"),
        ([f"model={run}", new, "--picture", "x.gif"], "ends in .png, .svg or .pdf, got 'x.gif'"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert expected in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no model bundle"):
        main([f"model={tmp_path}", new])
    with pytest.raises(SystemExit, match="psi: expected a finite number >= 0, got -1"):
        main([f"model={run}", new, "psi=-1"])
    houses(9, 0).drop(columns="size").to_csv(new, index=False)
    with pytest.raises(SystemExit, match="size"):
        main([f"model={run}", new])


def test_a_run_is_trained_again_from_its_own_config(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    houses(400, 7).to_csv("more.csv", index=False)

    def retrain(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", ["dir-train", f"retrain={run}", *more])
        train_main()

    retrain("data.path=more.csv")
    retrain("data.path=more.csv")
    first, second = (Path(f"outputs/tabular/houses-price-retrained{end}/hist_gbdt/seed_0") for end in ("", "-2"))
    before, after = (OmegaConf.load(folder / "config.yaml") for folder in (run, first))
    assert after.data.path == "more.csv"
    after.data.path, after.name = before.data.path, before.name
    assert before == after
    info = json.loads((first / "metrics.json").read_text())["run"]
    assert (info["method"], info["overrides"]) == (
        "hist_gbdt",
        ["method=hist_gbdt", "seed=0", "data.path=more.csv"],
    )
    assert (second / "metrics.json").is_file()
    for arguments, expected in (
        (["-m"], "-m: expected key=value"),
        (["data.paht=x"], "paht"),
        (["method=lds"], "method: a run that is trained again keeps its groups, got 'lds'"),
    ):
        with pytest.raises(SystemExit, match=expected):
            retrain(*arguments)
    monkeypatch.setattr(sys, "argv", ["dir-train", f"retrain={tmp_path}"])
    with pytest.raises(SystemExit, match="finished run"):
        train_main()
