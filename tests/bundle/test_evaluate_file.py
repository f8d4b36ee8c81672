"""evaluate.py with data.test_path: the test rows of a run in a file of their own give the metrics of the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dir.bundle import load
from dir.bundle.inputs.arrays import ArrayInputs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.evaluate_file import evaluate_file

Run = Callable[..., Path]
Files = tuple[Path, Path]


def evaluate(run: Path, path: Path, *more: str) -> dict[str, Any]:
    found = evaluate_checkpoint(run, [f"data.test_path={path}", *more])
    assert list(found) == ["test"]
    return found["test"]


def of_run(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())["test"]


@pytest.mark.parametrize("method", ["vanilla", "vir", "isotonic"])
def test_rows_of_a_table(table_run: Run, table_files: Files, method: str) -> None:
    run = table_run(f"method={method}")
    assert evaluate(run, table_files[1]) == of_run(run)


def test_rows_of_a_table_by_scikit_learn(table_run: Run, table_files: Files) -> None:
    run = table_run("method=bagging", "method.ensemble.n_estimators=2")
    assert evaluate(run, table_files[1]) == of_run(run)


def test_rows_with_missing_values_are_left_out_where_the_run_did_so(
    table_run: Run, table_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = table_run("data.missing=drop")
    rows = pd.read_csv(table_files[1])
    pd.concat([rows, rows.head(2).assign(u=np.nan)]).to_csv(tmp_path / "new.csv", index=False)
    assert evaluate(run, tmp_path / "new.csv") == of_run(run)
    assert "2 of 42 rows have a missing value" in capsys.readouterr().out


def test_pictures_of_an_npz_file(image_run: Path, image_arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    test = image_arrays["split"] == 2
    arrays = {name: image_arrays[name][test] for name in ("images", "place")}
    np.savez(tmp_path / "new.npz", **arrays)
    assert evaluate(image_run, tmp_path / "new.npz") == of_run(image_run)
    np.savez(tmp_path / "short.npz", images=arrays["images"], place=arrays["place"][:3])
    with pytest.raises(ValueError, match=r"short\.npz: .*images"):
        evaluate(image_run, tmp_path / "short.npz")
    np.savez(tmp_path / "nan.npz", images=arrays["images"], place=np.where(arrays["place"] > 7, np.nan, 1.0))
    with pytest.raises(ValueError, match=r"nan\.npz: place: \d+ missing labels"):
        evaluate(image_run, tmp_path / "nan.npz")


def test_pictures_of_a_csv(run_once: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = []
    for number in range(40):
        name = f"{number}.png"
        Image.fromarray(random.integers(0, 255, (20, 24, 3)).astype(np.uint8)).save(tmp_path / name)
        rows.append((name, int(random.integers(20, 60)), ("train", "train", "val", "test")[number % 4]))
    table = pd.DataFrame(rows, columns=["path", "age", "split"])
    table.to_csv(tmp_path / "faces.csv", index=False)
    run = run_once(
        "+experiment=agedb",
        f"data.csv={tmp_path / 'faces.csv'}",
        f"data.path={tmp_path}",
        "data.image_size=16",
        "data.num_workers=0",
        "model.encoder.depth=18",
        "trainer.max_epochs=1",
    )
    (tmp_path / "elsewhere").mkdir()
    new = tmp_path / "elsewhere/new.csv"
    # The paths start from data.path, wherever the csv is.
    table[table["split"] == "test"][["age", "path"]].to_csv(new, index=False)
    assert evaluate(run, new) == of_run(run)
    pd.DataFrame({"path": ["../x.png"], "age": [3]}).to_csv(new, index=False)
    with pytest.raises(ValueError, match=r"column 'path': 1 paths lead out"):
        evaluate(run, new)
    pd.DataFrame({"path": ["3.png", None], "age": [3, 4]}).to_csv(new, index=False)
    with pytest.raises(ValueError, match=r"column 'path': missing values in rows 2"):
        evaluate(run, new)
    shutil.move(tmp_path / "3.png", tmp_path / "gone.png")
    table[table["split"] == "test"].to_csv(new, index=False)
    with pytest.raises(ValueError, match=r"row 1: .*3\.png"):
        evaluate(run, new)


def test_pairs_of_sentences(embedding_run: Path, pairs_folder: Path, tmp_path: Path) -> None:
    found, expected = evaluate(embedding_run, pairs_folder / "test_new.tsv"), of_run(embedding_run)
    for group, values in expected.items():
        for name, value in values.items():
            assert found[group][name] == (None if value is None else pytest.approx(value, rel=1e-4))
    text = (pairs_folder / "test_new.tsv").read_text()
    (tmp_path / "new.tsv").write_text(text + "news\ta\tb\t7.5\n")
    with pytest.raises(ValueError, match=r"new\.tsv: .*score in 0\.\.5.*22"):
        evaluate(embedding_run, tmp_path / "new.tsv")


def test_files_without_rows_and_data_without_a_form_of_files_are_refused(
    embedding_run: Path, table_run: Run, table_files: Files, tmp_path: Path
) -> None:
    (tmp_path / "new.tsv").write_text("sentence1\tsentence2\tscore\n")
    with pytest.raises(ValueError, match=r"data\.test_path: .*no rows"):
        evaluate(embedding_run, tmp_path / "new.tsv")
    with pytest.raises(FileNotFoundError, match=r"data\.test_path: .*none\.csv"):
        evaluate(embedding_run, tmp_path / "none.csv")
    model = load(table_run("method=vanilla"))
    model.encoder = ArrayInputs()
    with pytest.raises(ValueError, match=r"data\.test_path: .*arrays.*load\(RUN\)\.predict"):
        evaluate_file(model, table_files[1], None, torch.device("cpu"), outside=False)


def test_another_checkpoint_than_the_best_needs_the_data_of_the_run(image_run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", images=np.zeros((2, 12, 10), np.uint8), place=np.ones(2))
    with pytest.raises(ValueError, match=r"data\.test_path: .*NpzImages.*ckpt=RUN"):
        evaluate_checkpoint(image_run / "checkpoints/last.ckpt", [f"data.test_path={tmp_path / 'new.npz'}"])


def test_settings_that_change_the_encoding_are_refused(embedding_run: Path) -> None:
    with pytest.raises(ValueError, match=r"data: .*another way than in the run: normalize"):
        evaluate_checkpoint(embedding_run, ["data.normalize=false"])
