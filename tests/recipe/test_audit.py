"""Audit of training labels: planted wrong labels are found, and the folds are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from sklearn.metrics import average_precision_score

from dir.recipe import audit
from dir.recipe.audit import audit_run, score_rows
from dir.recipe.audit_cli import main
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

SETTINGS = ["+experiment=tabular", "data.target=y", "trainer.accelerator=cpu", "logger=none", "seed=0"]


def table(path: Path, wrong: int = 20) -> pd.DataFrame:
    """Write a table whose label is a smooth function of x, with some wrong labels, and return it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.exp(x[:, 0] + 0.3 * x[:, 1])})
    planted = rng.choice(400, wrong, replace=False)
    frame.loc[planted, "y"] = rng.uniform(3, 12, wrong)
    frame["wrong"] = np.isin(np.arange(400), planted)
    frame.drop(columns="wrong").to_csv(path, index=False)
    return frame


def run(folder: Path, *overrides: str) -> Path:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [*SETTINGS, f"data.path={folder / 'table.csv'}", *overrides])
    train(cfg, RunFolder(folder / "run"), {"method": "vanilla"})
    return folder / "run"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("audit")
    frame = table(folder / "table.csv")
    return run(folder, "data.split=random", "trainer.max_epochs=12"), frame


def test_planted_labels_are_ranked_first(
    audited: tuple[Path, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    path, frame = audited
    main([str(path), "--folds", "3", "--out", str(path / "suspects.csv"), "--show", "5"])
    printed = capsys.readouterr().out
    assert "network 3 of 3" in printed
    assert "disagreement: standard deviation over 8 dropout masks" in printed
    found = pd.read_csv(path / "suspects.csv")
    assert f"The 5 most suspicious of {len(found)} training labels" in printed
    wrong = frame.set_index(frame["y"].astype("float32"))["wrong"]
    planted = wrong[found["label"].astype("float32")].to_numpy()
    assert planted.sum() >= 10
    precision = average_precision_score(planted, found["score"])
    by_label = average_precision_score(planted, found["label"])
    assert precision > 0.75
    # A ranking by the label alone would flag every rare label.
    assert precision > by_label + 0.1
    for name in ("training_disagreement", "held_out_disagreement"):
        assert (found[name] > 0).all()


def test_each_row_is_held_out_by_exactly_one_fold(
    audited: tuple[Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def fake(cfg, set_up, out, seed):
        seen.append(out)
        # The error of fold k after its last of two epochs is k where held out; in training it is 10 and 20.
        errors = np.where(out, [[0.0], [len(seen) - 1]], [[10.0], [20.0]])
        # The disagreement of fold k is k where held out, and 3 in training.
        return errors, np.full(len(out), 7.0), np.where(out, len(seen) - 1.0, 3.0)

    monkeypatch.setattr(audit, "_train_fold", fake)
    found = audit_run(audited[0] / "checkpoints" / "best.ckpt", folds=4, progress=False)
    assert np.array_equal(np.sum(seen, axis=0), np.ones(len(found.label)))
    np.testing.assert_allclose(found.training_error, 15.0)
    np.testing.assert_allclose(found.held_out_error, np.argmax(seen, axis=0))
    np.testing.assert_allclose(found.prediction, 7.0)
    np.testing.assert_allclose(found.held_out_disagreement, np.argmax(seen, axis=0))
    np.testing.assert_allclose(found.training_disagreement, 3.0)


def test_the_audit_repeats_itself_and_writes_nothing(audited: tuple[Path, pd.DataFrame]) -> None:
    path, _ = audited
    before = sorted(file.stat().st_mtime_ns for file in path.rglob("*"))
    first, second = (audit_run(path / "checkpoints" / "best.ckpt", folds=2, progress=False) for _ in range(2))
    np.testing.assert_array_equal(first.score, second.score)
    assert sorted(file.stat().st_mtime_ns for file in path.rglob("*")) == before


@pytest.mark.parametrize(("folds", "match"), [(1, r"folds.*got 1"), (1000, r"folds.*training rows.*1000")])
def test_bad_numbers_of_folds_are_refused(audited: tuple[Path, pd.DataFrame], folds: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        audit_run(audited[0] / "checkpoints" / "best.ckpt", folds=folds)


def test_an_existing_output_is_kept(audited: tuple[Path, pd.DataFrame], capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = audited
    with pytest.raises(SystemExit):
        main([str(path), "--out", str(path / "metrics.json")])
    assert "metrics.json" in capsys.readouterr().err


def test_a_method_that_resamples_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "table.csv")
    path = run(tmp_path, "data.split=random", "trainer.max_epochs=1", "method=random_over")
    with pytest.raises(ValueError, match=r"method\.resample"):
        audit_run(path / "checkpoints" / "best.ckpt")


def test_the_power_of_the_label_prior_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "table.csv")
    path = run(tmp_path, "data.split=random", "trainer.max_epochs=1", "method=histogram", "method.head.power=0.5")
    audit_run(path / "checkpoints" / "best.ckpt", folds=2)
    assert "power of the label prior: 0.5, as in training" in capsys.readouterr().out


def test_score_is_the_rank_of_the_error_over_the_epochs(audited: tuple[Path, pd.DataFrame]) -> None:
    np.testing.assert_allclose(score_rows(np.array([3.0, 2.0, 1.0])), [1, 2 / 3, 1 / 3])
    found = audit_run(audited[0] / "checkpoints" / "best.ckpt", folds=2, progress=False)
    assert np.array_equal(np.argsort(found.score, kind="stable"), np.argsort(found.training_error, kind="stable"))


def test_row_numbers_name_the_rows_of_the_file(audited: tuple[Path, pd.DataFrame]) -> None:
    path, frame = audited
    data = audit.build(audit.load_config(path / "checkpoints" / "best.ckpt", [])).data
    for split in ("train", "test"):
        np.testing.assert_allclose(data.labels(split), frame["y"].to_numpy()[data.row_numbers(split)], rtol=1e-6)
