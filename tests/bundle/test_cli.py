"""scripts/predict.py and scripts/export.py on files as users have them."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dir.bundle import load
from dir.bundle.cli import export_main, predict_main

Run = Callable[..., Path]
Files = tuple[Path, Path]


def predict(run: Path, source: Path, target: Path, *more: str) -> pd.DataFrame:
    predict_main([f"model={run}", f"input={source}", f"output={target}", "device=cpu", *more])
    return pd.read_csv(target)


@pytest.fixture
def spoiled(table_files: Files, tmp_path: Path) -> Path:
    """The test rows without the target, the 3rd with an unknown category and the 5th with a missing number."""
    test = pd.read_csv(table_files[1]).drop(columns="price")
    test.loc[2, "kind"] = "castle"
    test.loc[4, "u"] = np.nan
    test.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def test_a_csv_without_the_target(table_run: Run, table_files: Files, tmp_path: Path) -> None:
    run = table_run("method=vir")
    test = pd.read_csv(table_files[1])
    test.drop(columns="price").to_csv(tmp_path / "new.csv", index=False)
    found = predict(run, tmp_path / "new.csv", tmp_path / "out.csv")
    assert list(found.columns) == ["input_row", "id", "prediction", "variance"]
    assert found["id"].tolist() == test["id"].tolist()
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(found["prediction"], arrays["prediction"], rtol=1e-6)
        np.testing.assert_allclose(found["variance"], arrays["variance"], rtol=1e-6)


def test_rows_that_cannot_be_predicted_stop_the_script_and_leave_nothing(
    table_run: Run, spoiled: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(SystemExit, match=r"2 of 40 rows(.|\n)*row 3: .*castle(.|\n)*row 5: .*missing"):
        predict(table_run("method=vanilla"), spoiled, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv", "out.csv"}


def test_on_error_skip_leaves_rows_out_and_lists_them(
    table_run: Run, spoiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = table_run("method=vanilla")
    found = predict(run, spoiled, tmp_path / "out.csv", "on_error=skip")
    assert found["input_row"].tolist() == [row for row in range(1, 41) if row not in (3, 5)]
    skipped = pd.read_csv(tmp_path / "out.skipped.csv")
    assert skipped["input_row"].tolist() == [3, 5]
    assert "castle" in skipped["reason"][0]
    assert "2 rows skipped" in capsys.readouterr().err
    assert len(predict(run, spoiled, tmp_path / "out.csv", "on_error=skip", "unknown=zeros")) == 39
    pd.read_csv(spoiled).iloc[[2, 4]].to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(SystemExit, match="2 of 2 rows"):
        predict(run, tmp_path / "bad.csv", tmp_path / "none.csv", "on_error=skip")
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("kind,floor,u,v\na,1,2,3,4\n", r"more or fewer than 4 fields.*lines 2"),
        ("kind,floor,u,u\na,1,2,3\n", r"more than once: \['u'\]"),
        ("kind,floor,u,v\n", "no rows"),
        ("", "the file is empty"),
        ("kind;floor;u;v\na;1;2;3\n", r"no column 'kind', 'floor', 'u', 'v'.*set data\.sep=';'"),
        ("kind,floor,u,v,prediction\na,1,2,3,4\n", "'prediction'"),
    ],
)
def test_a_misread_table_is_refused(table_run: Run, tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(SystemExit, match=match):
        predict(table_run("method=vanilla"), tmp_path / "new.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_pictures_by_folder_csv_and_npz(image_run: Path, image_arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    pictures = image_arrays["images"][:6]
    expected = load(image_run).predict(pictures)
    (tmp_path / "pictures/more").mkdir(parents=True)
    names = [f"more/{n}.png" if n > 3 else f"a{n}.png" for n in range(6)]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / "pictures" / name)
    found = predict(image_run, tmp_path / "pictures", tmp_path / "out.csv")
    assert found["path"].tolist() == names
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-6)
    table = pd.DataFrame({"patient": list("abcdef"), "path": names})
    table.to_csv(tmp_path / "pictures/list.csv", index=False)
    found = predict(image_run, tmp_path / "pictures/list.csv", tmp_path / "out.csv")
    assert found["patient"].tolist() == list("abcdef")
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-6)
    np.savez(tmp_path / "new.npz", images=pictures)
    found = predict(image_run, tmp_path / "new.npz", tmp_path / "out.csv", "batch_size=4")
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-5)
    (tmp_path / "pictures/a1.png").write_bytes(b"no picture")
    found = predict(image_run, tmp_path / "pictures", tmp_path / "out.csv", "on_error=skip")
    assert found["input_row"].tolist() == [1, 3, 4, 5, 6]


def test_sentence_pairs_by_tsv(
    embedding_run: Path, pairs_folder: Path, sentence_encoder: Path, tmp_path: Path
) -> None:
    found = predict(
        embedding_run, pairs_folder / "test_new.tsv", tmp_path / "out.csv", f"text_encoder={sentence_encoder}"
    )
    assert list(found.columns) == ["input_row", "genre", "sentence1", "sentence2", "score", "prediction"]
    with np.load(embedding_run / "predictions.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(found["prediction"], arrays["prediction"], rtol=1e-5, atol=1e-5)


def test_wrong_arguments_end_with_the_usage(
    table_run: Run, table_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, test = table_run("method=vanilla"), table_files[1]
    for arguments in ([], ["model"], [f"model={run}"], ["modle=x", "input=y", "output=z"]):
        with pytest.raises(SystemExit, match="usage: dir-predict"):
            predict_main(arguments)
    for more, match in (
        (["on_error=ignore"], "on_error.*'ignore'"),
        (["batch_size=many"], "batch_size.*'many'"),
        (["unknown=drop"], "unknown.*'drop'"),
    ):
        with pytest.raises(SystemExit, match=match):
            predict_main([f"model={run}", f"input={test}", f"output={tmp_path / 'out.csv'}", *more])
    with pytest.raises(SystemExit, match=r"output.*test\.csv"):
        predict_main([f"model={run}", f"input={test}", f"output={test}"])
    for name, main in (("predict", "usage: predict"), ("export", "usage: export")):
        monkeypatch.setattr(sys, "argv", [f"{name}.py"])
        with pytest.raises(SystemExit, match=main):
            runpy.run_path(str(Path(__file__).parents[2] / f"scripts/{name}.py"), run_name="__main__")


def test_export_writes_the_file(table_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = table_run("method=vanilla")
    export_main([f"model={run}", "format=torch_export", f"output={tmp_path / 'model.pt2'}"])
    assert "numbers, codes" in capsys.readouterr().out
    assert (tmp_path / "model.pt2").stat().st_size > 0
    with pytest.raises(SystemExit, match=r"format.*'tflite'"):
        export_main([f"model={run}", "format=tflite", f"output={tmp_path / 'x'}"])
