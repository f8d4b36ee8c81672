"""Downweighting of rows whose labels look wrong: weights by the audit, matched by row id, reported by shot group."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dir.recipe.audit import audit_run
from dir.recipe.build import build
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.noise import downweight
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, table_config: Any) -> Any:
    """Return a function that composes a config, and the csv of an audit whose errors are known."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    frame = pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "w": rng.integers(1, 4, 300), "y": np.exp(x[:, 0]) + x[:, 1] / 9}
    )
    frame.to_csv(folder / "x.csv", index=False)
    config = partial(table_config, folder / "x.csv", 2, "data.split=random", "task.shots.many=20", "task.shots.few=5")
    data = build(config("data.drop=[w]")).data
    ids = data.row_ids("train")
    error = rng.uniform(0.5, 1.5, len(ids))
    error[::10] = 50.0
    table = pd.DataFrame({"row_id": ids, "training_error": error, "held_out_error": 1.0, "score": error})
    # The csv of an audit is sorted by suspicion, not by the order of the split.
    table.sort_values("score").to_csv(folder / "audit.csv", index=False)
    return config, folder, error


def noise(folder: Path, *more: str) -> list[str]:
    return ["data.drop=[w]", "+noise=downweight", f"noise.audit={folder / 'audit.csv'}", *more]


def test_weights_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    signal, groups = rng.exponential(1.0, 400), np.repeat([0, 1], 200)
    signal[200:] *= 20
    weights = downweight(signal, groups, limit=2.0)
    for group in (0, 1):
        rows = signal[groups == group]
        middle = np.median(rows)
        z = (rows - middle) / (1.4826 * np.median(np.abs(rows - middle)))
        expected = np.where(z > 2, (2 / np.where(z > 2, z, 1)) ** 2, 1)
        np.testing.assert_allclose(weights[groups == group], expected)
    # Compared with all rows, the group with large errors would be suspicious as a whole.
    assert downweight(signal, np.zeros(400), 2.0)[200:].mean() < 0.5 < weights[200:].mean()
    np.testing.assert_array_equal(downweight(np.array([1.0, 1.0, 1.0, 9.0]), np.zeros(4)), 1)


def test_suspicious_rows_weigh_less_by_row_id_and_the_run_says_so(
    case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder, error = case
    parts = build(config("method=lds", *noise(folder)))
    importance = parts.data.importance("train")
    assert importance is not None
    assert np.array_equal(importance.numpy() < 1, error == 50)
    assert parts.data.importance("test") is None
    weights = parts.module.weight(parts.data.labels("train"), importance)
    assert weights is not None
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-5)
    train(config("method=lds", *noise(folder)), RunFolder(tmp_path / "run"), {"method": "lds"})
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("noise: ")]
    assert sum(int(line.split()[1]) for line in lines) == (error == 50).sum()
    assert sum(int(line.split()[3]) for line in lines) == len(error)
    assert any(" in few weigh less" in line for line in lines)
    recorded = json.loads((tmp_path / "run" / "data.json").read_text())
    assert recorded["description"]["importance"]["notes"] == lines
    assert "noise.audit" in recorded["fingerprint"]["files"]
    # Evaluation does not need the weights, and an audit does not build on an audit.
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    config_file = tmp_path / "run" / "config.yaml"
    config_file.write_text(config_file.read_text().replace("audit.csv", "gone.csv"))
    assert evaluate_checkpoint(tmp_path / "run", [])["test"] == metrics["test"]
    with pytest.raises(ValueError, match=r"^run: its training rows are downweighted"):
        audit_run(tmp_path / "run" / "checkpoints" / "best.ckpt")


def test_the_weights_multiply_the_importance_and_reach_the_trees(case: Any) -> None:
    config, folder, _ = case
    both = [*noise(folder)[1:], "data.importance=w"]
    plain = build(config("data.importance=w")).data.importance("train")
    data = build(config(*both)).data
    alone = build(config(*noise(folder))).data.importance("train")
    torch.testing.assert_close(data.importance("train"), plain * alone)
    assert data.importance("test") is not None
    assert data.importance_source == "data.importance=w, noise.audit=audit.csv"
    with pytest.raises(ValueError, match=r"^method\.resample: .*noise\.audit=audit\.csv"):
        build(config("method=random_over", *noise(folder)))


def test_a_csv_of_weights_is_taken_as_it_is(case: Any, tmp_path: Path) -> None:
    config, folder, error = case
    table = pd.read_csv(folder / "audit.csv").assign(weight=lambda t: t["training_error"] / 7)
    table.to_csv(tmp_path / "audit.csv", index=False)
    importance = build(config(*noise(tmp_path))).data.importance("train")
    np.testing.assert_allclose(importance, error / 7, rtol=1e-6)


def test_a_changed_audit_stops_a_resumed_run(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, folder, _ = case
    shutil.copy(folder / "audit.csv", tmp_path / "audit.csv")
    with monkeypatch.context() as patch:
        patch.setattr("dir.recipe.module.RegressionModule.on_train_epoch_end", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config(*noise(tmp_path)), RunFolder(tmp_path / "run"), {"method": "vanilla"})
    table = pd.read_csv(tmp_path / "audit.csv")
    table.assign(training_error=1.0).to_csv(tmp_path / "audit.csv", index=False)
    with pytest.raises(ValueError, match=r"^resume: the data of .*noise\.audit"):
        train(config(*noise(tmp_path), "resume=true"), RunFolder(tmp_path / "run"), {"method": "vanilla"})


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        (None, ["noise.signal=loss"], r"^noise\.signal: expected one of 'training_error'"),
        (None, ["noise.by=bin"], r"^noise\.by: expected one of 'shot', 'all'"),
        (None, ["noise.limit=0"], r"^noise\.limit: .*got 0"),
        (
            None,
            ["seed=1"],
            r"^noise\.audit: \d+ of \d+ training rows are not in audit\.csv.*Audit a run with the same",
        ),
        (None, ["method=bagging"], r"^method: .*is not fitted with the importance"),
        (lambda t: t.drop(columns="row_id"), [], r"audit\.csv: no column 'row_id'"),
        (lambda t: t.drop(columns="training_error"), [], r"audit\.csv: no column 'training_error'"),
        (lambda t: t.assign(row_id=np.nan), [], r"audit\.csv: expected one row for each row_id"),
        (lambda t: t.assign(training_error="x"), [], r"audit\.csv: column 'training_error': .* got 'x'"),
        (lambda t: t.assign(weight=-1.0), [], r"^noise\.audit=audit\.csv: expected finite numbers >= 0"),
    ],
)
def test_an_audit_that_does_not_fit_is_refused(
    case: Any, change: Any, overrides: list[str], message: str, tmp_path: Path
) -> None:
    config, folder, _ = case
    table = pd.read_csv(folder / "audit.csv")
    (table if change is None else change(table)).to_csv(tmp_path / "audit.csv", index=False)
    with pytest.raises(ValueError, match=message):
        train(config(*noise(tmp_path), *overrides), RunFolder(tmp_path / "run"), {"method": "m"})
    assert not (tmp_path / "run").exists()


def test_a_missing_audit_and_settings_without_the_method_are_refused(case: Any, tmp_path: Path) -> None:
    config = case[0]
    with pytest.raises(FileNotFoundError, match=r"^noise\.audit: there is no file"):
        build(config(*noise(tmp_path)))
    with pytest.raises(ValueError, match=r"^noise\.audit: missing value"):
        train(config("+noise=downweight"), RunFolder(tmp_path / "run"), {"method": "m"})
    with pytest.raises(ValueError, match=r"^noise\.limit: this run has no noise=downweight"):
        train(config("+noise.limit=2"), RunFolder(tmp_path / "run"), {"method": "m"})
