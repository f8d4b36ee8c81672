"""Bundles of text runs predict raw texts as their runs did; predict.py and evaluate.py take files of texts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dir.bundle import BundleError, RowsError, export, load
from dir.bundle.cli import predict_main
from dir.recipe.evaluate import evaluate_checkpoint

Run = Callable[..., Path]
WORDS = ("a", "cat", "two", "dogs", "tall", "word", "five")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    numbers = np.arange(48)
    sentences = [" ".join(WORDS[int(d)] for d in np.base_repr(n + 49, 7)) + ' "null' for n in numbers]
    split = [("train", "train", "dev", "test")[n % 4] for n in numbers]
    words = [WORDS[n % 7] for n in numbers]
    return pd.DataFrame({"word": words, "sentence": sentences, "score": numbers % 9 * 0.5, "part": split})


@pytest.fixture(scope="module")
def file(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.tsv"
    rows = [table.columns.tolist(), *table.astype(str).to_numpy().tolist()]
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def text_run(run_once: Run, file: Path, sentence_encoder: Path) -> Run:
    def run(*overrides: str) -> Path:
        # A large learning rate: two short epochs then tell the texts apart.
        given = [
            "optimizer.lr=0.003",
            "data.batch_size=4",
            "data.target=score",
            "data.split_column=part",
            "data.quoting=none",
            "data.max_length=32",
        ]
        return run_once(f"data.path={file}", f"data.encoder={sentence_encoder}", *given, *overrides)

    return run


@pytest.fixture(scope="module")
def pair_run(text_run: Run) -> Path:
    return text_run("+experiment=text", "data.text=[word,sentence]", "data.cache_dir=null", "method=lds")


@pytest.fixture(scope="module")
def token_run(text_run: Run) -> Path:
    return text_run("+experiment=text_finetune", "data.text=sentence")


def predictions_of(run: Path) -> np.ndarray:
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        predictions = arrays["prediction"]
    assert predictions.std() > 1e-3, predictions
    return predictions


def test_frames_and_tuples_of_two_texts(pair_run: Path, table: pd.DataFrame, sentence_encoder: Path) -> None:
    model = load(pair_run, text_encoder=sentence_encoder)
    test = table[table["part"] == "test"]
    expected = predictions_of(pair_run)
    np.testing.assert_allclose(model.predict(test), expected, rtol=1e-5, atol=1e-6)
    pairs = list(zip(test["word"], test["sentence"], strict=True))
    np.testing.assert_allclose(model.predict(pairs), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(model.predict([pair[::-1] for pair in pairs]), expected, atol=1e-4)
    with pytest.raises(RowsError, match=r"row 2: expected two texts, got \('a', ' '\)"):
        model.predict([("a", "cat"), ("a", " ")])
    with pytest.raises(ValueError, match="expected the columns word, sentence, missing sentence"):
        model.predict(test[["word"]])
    with pytest.raises(BundleError, match="text_encoder"):
        load(pair_run).predict(pairs)


def test_a_model_on_one_embedding_is_exported(text_run: Run, tmp_path: Path, sentence_encoder: Path) -> None:
    run = text_run("+experiment=text", "data.text=sentence", "data.cache_dir=null")
    model = load(run, text_encoder=sentence_encoder)
    assert export(model, tmp_path / "model.pt2", format="torch_export") == ["first"]
    exported = torch.export.load(tmp_path / "model.pt2").module()
    rows = model.encoder.open(["a cat", "two tall dogs"])
    with torch.no_grad():
        found = exported(rows.batch([0, 1])[1]).numpy()
    np.testing.assert_allclose(found, model.predict(["a cat", "two tall dogs"]), rtol=1e-5, atol=1e-6)


def test_one_text_of_a_trained_transformer(
    token_run: Path, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(token_run)
    test = table.loc[table["part"] == "test", "sentence"].tolist()
    np.testing.assert_allclose(model.predict(test), predictions_of(token_run), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="expected a list of texts, or a frame"):
        model.predict("a cat")
    with caplog.at_level(logging.WARNING):
        found = model.predict(["a cat " * 20, "a cat", None], on_error="nan")
    assert np.isnan(found).tolist() == [False, False, True]
    assert "1 of 3 rows have a text that is cut at 32 tokens" in caplog.text


def test_predict_and_evaluate_read_the_file_as_the_run_did(
    pair_run: Path, token_run: Path, table: pd.DataFrame, file: Path, sentence_encoder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.csv"
    for run, more in ((pair_run, [f"text_encoder={sentence_encoder}"]), (token_run, [])):
        predict_main([f"model={run}", f"input={file}", f"output={output}", *more])
        written = pd.read_csv(output, keep_default_na=False)
        assert written["sentence"].tolist() == table["sentence"].tolist()
        test = (table["part"] == "test").to_numpy()
        np.testing.assert_allclose(written["prediction"][test], predictions_of(run), rtol=1e-5, atol=1e-6)
        expected = float(np.abs(predictions_of(run) - table["score"][test]).mean())
        # The run's own rows, found by their content; then the rows of a file of test rows.
        assert evaluate_checkpoint(run, [])["test"]["all"]["mae"] == pytest.approx(expected, rel=1e-5)
        lines = file.read_text(encoding="utf-8").splitlines()
        other = tmp_path / "other.tsv"
        other.write_text("\n".join([lines[0], *np.array(lines[1:])[test]]) + "\n", encoding="utf-8")
        found = evaluate_checkpoint(run, [f"data.test_path={other}"])
        assert found["test"]["all"]["mae"] == pytest.approx(expected, rel=1e-5)


def test_a_file_with_an_empty_text_or_written_otherwise(token_run: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "new.csv", tmp_path / "out.csv"
    source.write_text("id;sentence\n1;a cat\n2;\n3;null\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"set data\.sep=';'"):
        predict_main([f"model={token_run}", f"input={source}", f"output={output}"])
    call = [f"model={token_run}", f"input={source}", f"output={output}", "data.sep=;", "data.quoting=minimal"]
    with pytest.raises(SystemExit, match=r"row 2: expected a text, got ''"):
        predict_main(call)
    predict_main([*call, "on_error=skip"])
    assert pd.read_csv(output)["input_row"].tolist() == [1, 3]


def test_mlflow_predicts_texts_as_the_bundle_does(
    token_run: Path, pair_run: Path, table: pd.DataFrame, pyfunc_of: Callable[[Path], Any]
) -> None:
    model = pyfunc_of(token_run)
    texts = table.loc[table["part"] == "test", ["sentence"]]
    np.testing.assert_allclose(model.predict(texts), predictions_of(token_run), rtol=1e-4, atol=1e-5)
    with pytest.raises(Exception, match="sentence"):
        model.predict(texts.rename(columns={"sentence": "text"}))
    # A frozen encoder in a folder of this machine would be missing elsewhere.
    with pytest.raises(BundleError, match="a local folder of the run"):
        pyfunc_of(pair_run)
