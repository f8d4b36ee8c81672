"""The data of a run: shuffled rows evaluate the same, changed rows are counted, a resumed run compares its data."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dir.bundle import load
from dir.data.tables import TableEncoder
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 2)).round(4)
    kind = draw.choice(["a", "b", "c"], 200)
    frame = pd.DataFrame({"kind": kind, "u": x[:, 0], "v": x[:, 1]})
    frame["y"] = (3 * np.exp(frame["u"]) + (frame["kind"] == "b")).round(3)
    frame.to_csv(tmp_path / "x.csv", index=False)
    return frame


@pytest.fixture
def config(tmp_path: Path, table: pd.DataFrame) -> Config:
    register_configs()

    def composed(*overrides: str) -> DictConfig:
        fixed = (f"data.path={tmp_path / 'x.csv'}", "data.target=y", "trainer.accelerator=cpu", "logger=none")
        with initialize_config_dir(config_dir(), version_base="1.3"):
            return compose("train", ["+experiment=tabular", *fixed, "trainer.max_epochs=2", *overrides])

    return composed


@pytest.fixture
def finished(config: Config, tmp_path: Path) -> Path:
    train(config("data.split=random"), RunFolder(tmp_path / "run"), {"method": "vanilla"})
    return tmp_path / "run"


def best(folder: Path) -> Path:
    return folder / "checkpoints/best.ckpt"


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def test_shuffled_file_gives_the_metrics_of_the_run(finished: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    table.sample(frac=1, random_state=1).to_csv(tmp_path / "x.csv", index=False)
    splits = evaluate_checkpoint(best(finished), [])
    assert splits == {split: metrics(finished)[split] for split in ("val", "test")}


def changed_label(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    frame.loc[[3, 9], "y"] += 10
    return frame


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda frame: pd.concat([frame, frame.head(5).assign(u=9.5)]), r"5 (rows )?(are )?new"),
        (lambda frame: frame.drop(index=[0, 7, 8]), r"3 (rows )?(are )?missing"),
        (changed_label, r"2 (rows )?(are )?changed"),
    ],
)
def test_new_missing_and_changed_rows_are_counted(
    finished: Path,
    table: pd.DataFrame,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    counts: str,
) -> None:
    change(table).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match=counts):
        evaluate_checkpoint(best(finished), [])


def test_rows_of_test_path_are_evaluated_alone_with_the_encoding_of_the_run(
    finished: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    with np.load(finished / "predictions.npz", allow_pickle=False) as saved:
        label, prediction = saved["label"], saved["prediction"]
    # Find the rows of the test split in the file by their label, which is unique here.
    unique = ~table["y"].duplicated(keep=False)
    rows = table[unique & table["y"].astype("float32").isin(label)].head(20)
    where = {value: index for index, value in enumerate(label.tolist())}
    index = [where[float(np.float32(value))] for value in rows["y"]]
    rows.to_csv(tmp_path / "new.csv", index=False)
    found = evaluate_checkpoint(best(finished), [f"data.test_path={tmp_path / 'new.csv'}"])
    assert set(found) == {"test"}
    assert found["test"]["all"]["n"] == len(rows)
    error = np.abs(label[index].astype(float) - prediction[index])
    assert found["test"]["all"]["mae"] == pytest.approx(error.mean(), rel=1e-5)


def test_run_without_a_split_says_so_and_draws_it_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "split.json.gz").unlink()
    assert evaluate_checkpoint(best(finished), [])["test"] == metrics(finished)["test"]
    assert "split.json.gz" in capsys.readouterr().err


def test_damaged_split_is_refused(finished: Path) -> None:
    path = finished / "split.json.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"split\.json\.gz: .*damaged"):
        evaluate_checkpoint(best(finished), [])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda frame: frame.assign(y=frame["y"] + 10), "data.path"),
        (lambda frame: frame.iloc[::-1], "data.path"),
    ],
)
def test_resuming_with_other_data_is_refused_by_name(
    config: Config,
    finished: Path,
    table: pd.DataFrame,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    name: str,
) -> None:
    for file in ("metrics.json", "predictions.npz"):
        (finished / file).unlink()
    change(table).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match=rf"resume: .*{name}.*sha256"):
        train(config("data.split=random", "resume=true"), RunFolder(finished), {})
    # The same content under another name is the same data.
    table.to_csv(tmp_path / "moved.csv", index=False)
    cfg = config("data.split=random", "resume=true", f"data.path={tmp_path / 'moved.csv'}")
    cfg.name = "tabular/x-y"
    train(cfg, RunFolder(finished), {})
    assert (finished / "metrics.json").is_file()


def test_resuming_without_a_record_of_the_data_is_said(
    config: Config, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "data.json" not in capsys.readouterr().err, "a new run has nothing to compare with"
    for file in ("metrics.json", "predictions.npz", "data.json"):
        (finished / file).unlink()
    train(config("data.split=random", "resume=true"), RunFolder(finished), {})
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "data.json" in line)
    assert line.startswith(f"{finished / 'data.json'}: no such file.")


def test_estimator_runs_keep_their_data_and_refuse_other_data(
    config: Config, table: pd.DataFrame, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "bagging")
    settings = ("method=bagging", "method.ensemble.n_estimators=2")
    train(config(*settings), folder, {})
    assert (folder.path / "split.json.gz").is_file()
    assert metrics(folder.path)["run"]["data"]["rows"]["train"] > 100
    folder.metrics.unlink()
    table.iloc[::-1].to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match=r"resume: .*sha256"):
        train(config(*settings, "resume=true"), RunFolder(folder.path), {})


def test_evaluation_takes_the_encoding_from_the_bundle(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle with another mean gives other numbers, and no encoder is fitted."""
    fit = TableEncoder.fit

    def refused(*_: Any) -> None:
        raise AssertionError("the encoding is fitted again")

    monkeypatch.setattr(TableEncoder, "fit", refused)
    assert evaluate_checkpoint(best(finished), [])["test"] == metrics(finished)["test"]
    shift_mean(finished / "model", "u", by=0.5)
    assert evaluate_checkpoint(best(finished), [])["test"]["all"]["mae"] != metrics(finished)["test"]["all"]["mae"]
    assert "fitted again" not in capsys.readouterr().err
    # Without a bundle the same numbers come from another fit, which the output says.
    shutil.rmtree(finished / "model")
    monkeypatch.setattr(TableEncoder, "fit", fit)
    assert evaluate_checkpoint(best(finished), [])["test"] == metrics(finished)["test"]
    assert f"{finished / 'model'}: no model bundle" in capsys.readouterr().err


def shift_mean(bundle: Path, column: str, by: float) -> None:
    """Change the mean of a column in a bundle."""
    path = bundle / "model.json"
    content = json.loads(path.read_text())
    (found,) = (part for part in content["input"]["encoder"]["numbers"] if part["name"] == column)
    found["mean"] += by
    content["sha256"] = "0" * 64
    blank = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
    path.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode()))


def test_rows_of_test_path_need_no_data_of_the_run(
    finished: Path, table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.to_csv(tmp_path / "new.csv", index=False)
    whole = evaluate_checkpoint(best(finished), [f"data.test_path={tmp_path / 'new.csv'}"])["test"]
    # Training rows that changed, from which an encoding fitted again would differ, and then no rows at all.
    for change in (lambda: table.assign(u=table["u"] * 9).to_csv(tmp_path / "x.csv"), (tmp_path / "x.csv").unlink):
        change()
        found = evaluate_checkpoint(finished, [f"data.test_path={tmp_path / 'new.csv'}"])
        assert found == {"test": whole}
    model = load(finished)
    expected = np.abs(model.predict(table).astype(float) - table["y"].to_numpy(np.float32).astype(float)).mean()
    assert whole["all"]["mae"] == pytest.approx(expected, rel=1e-6)
    assert str(finished / "model") in capsys.readouterr().out
    # The shot groups are those of the run: its test rows are in the same groups as in metrics.json.
    with np.load(finished / "predictions.npz", allow_pickle=False) as saved:
        kept = table[table["y"].astype("float32").isin(saved["label"])]
        many = int((saved["shot"] == "median").sum())
    kept.to_csv(tmp_path / "same.csv", index=False)
    again = evaluate_checkpoint(finished, [f"data.test_path={tmp_path / 'same.csv'}"])["test"]
    assert again["median"]["n"] >= many > 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda frame: frame.drop(columns="y"), r"new\.csv.*'y'"),
        (lambda frame: frame.assign(y=frame["y"].where(frame.index != 3)), r"y: 1 missing labels.* 4"),
        (lambda frame: frame.assign(u=frame["u"].where(frame.index != 3)), r"row 4: .*missing"),
        (lambda frame: frame.assign(y="many"), r"'y': 200 values are not finite numbers"),
    ],
)
def test_rows_of_test_path_that_cannot_be_evaluated_are_named(
    finished: Path, table: pd.DataFrame, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], match: str
) -> None:
    change(table).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(ValueError, match=match):
        evaluate_checkpoint(finished, [f"data.test_path={tmp_path / 'new.csv'}"])


def test_rows_in_another_dialect_and_beyond_the_labels_of_the_run(
    finished: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    rows = pd.concat([table, table.head(4).assign(y=[-500.0, -400.0, 900.0, 1000.0])])
    rows.to_csv(tmp_path / "new.csv", index=False, sep=";", decimal=",")
    path = f"data.test_path={tmp_path / 'new.csv'}"
    found = evaluate_checkpoint(finished, [path, "data.sep=';'", "data.decimal=','"])["test"]
    assert found["all"]["n"] == len(rows)
    rows.head(200).to_csv(tmp_path / "inside.csv", index=False)
    inside = evaluate_checkpoint(finished, [f"data.test_path={tmp_path / 'inside.csv'}"])["test"]
    assert found["zero"]["n"] - inside["zero"]["n"] == 4
    for group in ("many", "median", "few"):
        # Sums over batches of other sizes may differ in the last digit.
        expected = {name: value and pytest.approx(value, rel=1e-9) for name, value in inside[group].items()}
        assert found[group] == expected
