"""Columns of letters: each position one-hot over the alphabet of the training rows, in runs and in bundles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dir.bundle.fields import Fields
from dir.bundle.inputs.rows import RowsError
from dir.bundle.inputs.tables import TableInputs
from dir.data.tables import MAX_ONE_HOT, TableEncoder
from dir.data.tabular import TabularData

LETTERS = "ACDE"


def variants(count: int = 90) -> pd.DataFrame:
    random = np.random.default_rng(0)
    # The letter E never stands at the first position, and W only in the last row.
    texts = ["".join([random.choice(list("ACD")), *random.choice(list(LETTERS), 2)]) for _ in range(count)]
    split = np.resize(["train", "train", "val", "test"], count)
    texts[-1], split[-1] = "AWA", "test"
    return pd.DataFrame(
        {"variant": texts, "x": random.normal(size=count), "fold": split, "y": random.normal(size=count)}
    )


def ready(folder: Path, table: pd.DataFrame, **settings: Any) -> TabularData:
    table.to_csv(folder / "v.csv", index=False)
    data = TabularData(str(folder / "v.csv"), "y", **{"letters": ["variant"], "split_column": "fold"} | settings)
    data.setup()
    return data


def test_each_position_is_one_hot_over_the_alphabet_of_the_training_rows(tmp_path: Path) -> None:
    table = variants()
    data = ready(tmp_path, table)
    assert data.encoder_args() == {"in_features": 3 * 4 + 1}
    assert data.describe()["columns"]["variant"]["kind"] == "letters"
    for split in ("train", "test"):
        inputs, labels = data.dataset(split).__getitems__(list(range(len(data.labels(split)))))
        for row, label in zip(inputs.numpy(), labels, strict=True):
            text = table["variant"][np.abs(table["y"] - float(label)).argmin()]
            # An unknown letter of a test row is encoded as zeros, like an unknown category.
            expected = [[float(letter == known) for known in LETTERS] for letter in text]
            np.testing.assert_array_equal(row[:12].reshape(3, 4), expected)


def test_texts_of_digits_keep_their_zeros(tmp_path: Path) -> None:
    table = variants().assign(variant=np.resize(["010", "110", "011", "001", "100"], 90))
    assert ready(tmp_path, table).encoder_args() == {"in_features": 3 * 2 + 1}


@pytest.mark.parametrize(
    ("change", "settings", "problem"),
    [
        ({4: "VDGV"}, {}, r"column 'variant': expected texts of 3 letters, 1 differ, the first is 'VDGV'; rows 5\."),
        ({}, {"drop": ["variant"]}, r"^data\.letters: expected a column that is not in data\.drop, got 'variant'"),
        ({}, {"letters": ["none"]}, r"no column 'none' \(data\.letters"),
        ({3: None}, {}, r"column 'variant': missing values in rows 4\."),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, change: Any, settings: Any, problem: str) -> None:
    table = variants()
    table["variant"] = [change.get(row, text) for row, text in enumerate(table["variant"])]
    with pytest.raises(ValueError, match=problem):
        ready(tmp_path, table, **settings)
    with pytest.raises(ValueError, match="the file has a column 'variant_2'"):
        ready(tmp_path, variants().assign(variant_2=1.0))


def test_the_bundle_encodes_as_the_run_and_names_unknown_letters(tmp_path: Path) -> None:
    table = variants()
    data = ready(tmp_path, table, missing="median")
    inputs = TableInputs(Fields(json.loads(json.dumps(data.encoding())), "model.json", "input"))
    known = table[:-1]
    ids = data.row_numbers("train")
    rows = inputs.open(known.iloc[ids])
    encoded = rows.batch(list(range(rows.count)))[1]
    np.testing.assert_array_equal(encoded, data.dataset("train").__getitems__(list(range(len(ids))))[0])
    wrong = pd.DataFrame({"x": [0.0] * 5, "variant": ["AWA", "EAA", "AA", None, 123]})
    rows = inputs.open(wrong)
    assert rows.problems[0] == (
        "column 'variant': letter 'W' at position 2 does not occur in the training rows, got 'AWA'"
    )
    # E stands at other positions of the training rows: the alphabet is one.
    assert 1 not in rows.problems
    assert rows.problems[2] == "column 'variant': expected a text of 3 letters, got 'AA'"
    assert 3 not in rows.problems, "data.missing=median"
    assert "letter '1' at position 1" in rows.problems[4]
    assert inputs.open(wrong, unknown="zeros").problems.keys() == {2}


def test_a_run_predicts_and_exports(tmp_path: Path, run_once: Callable[..., Path]) -> None:
    import dir.bundle

    variants()[:-1].to_csv(tmp_path / "v.csv", index=False)
    path = run_once(
        "+experiment=tabular",
        f"data.path={tmp_path / 'v.csv'}",
        "data.target=y",
        "data.letters=[variant]",
        "data.split_column=fold",
    )
    model = dir.bundle.load(path)
    test = variants()[:-1].query("fold == 'test'")
    with np.load(path / "predictions.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(model.predict(test), saved["prediction"])
    assert dir.bundle.export(model, tmp_path / "m.pt2", "torch_export") == ["numbers", "codes"]
    with pytest.raises(RowsError, match="letter 'W' at position 2"):
        model.predict(variants())


def test_a_column_of_too_many_categories_is_refused_with_advice(tmp_path: Path) -> None:
    texts = [f"{row:05}" for row in range(MAX_ONE_HOT + 1)]
    problem = f"column 'id' has {MAX_ONE_HOT + 1} categories in the training rows, more than {MAX_ONE_HOT}"
    with pytest.raises(ValueError, match=rf"^data\.categorical: {re.escape(problem)}.*data\.letters=\[id\]"):
        TableEncoder(["id"]).fit(pd.DataFrame({"id": texts}))
    assert TableEncoder(["id"]).fit(pd.DataFrame({"id": texts[1:]})).width == MAX_ONE_HOT
    table = variants()
    with pytest.raises(
        ValueError, match=r"different texts like .*If each character counts, set data\.letters=\[variant\]"
    ):
        ready(tmp_path, table, letters=[])
