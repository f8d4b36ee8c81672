"""Files that a table could be misread from: each is read as meant, or refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dir.bundle.fields import Fields
from dir.bundle.files import read_inputs
from dir.bundle.inputs.tables import TableInputs
from dir.data.describe import format_description
from dir.data.tables import TableEncoder, expand_dates
from dir.data.tabular import TabularData

COUNT = 60


def columns(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "size": rng.integers(1000, 9000, COUNT) + 0.5,
        "kind": rng.choice(["a", "b"], COUNT),
        "price": rng.permutation(COUNT) + 100.25,
    }


def data_of(folder: Path, text: str | bytes, target: str = "price", **kwargs: Any) -> TabularData:
    path = folder / "houses.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return TabularData(str(path), target, split="random", **kwargs)


def frame(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame(columns() | changes)


def tensors(data: TabularData) -> list[np.ndarray]:
    data.setup()
    found = []
    for split in ("train", "val", "test"):
        inputs, labels = data.dataset(split).__getitems__(list(range(len(data.labels(split)))))  # type: ignore[arg-type,attr-defined]
        found += [inputs.numpy(), labels.numpy()]
    return found


def refused(folder: Path, content: pd.DataFrame | str, match: str, **kwargs: Any) -> str:
    text = content if isinstance(content, str) else content.to_csv(index=False)
    with pytest.raises(ValueError, match=match) as caught:
        data_of(folder, text, **kwargs).setup()
    return str(caught.value)


def test_separator_decimal_thousands_encoding_and_missing_texts_are_read_as_set(tmp_path: Path) -> None:
    expected = tensors(data_of(tmp_path, frame(kind=["é", "b"] * 30).to_csv(index=False)))
    content = frame(kind=["é", "b"] * 30)
    written = content.assign(
        size=[f"{value:,.1f}".translate(str.maketrans(",.", ".,")) for value in content["size"]],
        price=[f"{value:.2f}".replace(".", ",") for value in content["price"]],
    ).to_csv(index=False, sep=";")
    european = data_of(tmp_path, written.encode("cp1252"), sep=";", decimal=",", thousands=".", encoding="cp1252")
    for got, wanted in zip(tensors(european), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    texts = frame().astype({"size": object})
    texts.loc[3, "size"] = "unknown"
    refused(tmp_path, texts, r"'size': numbers, except for values like 'unknown'.*data\.na_values")
    assert (
        sum(map(len, tensors(data_of(tmp_path, texts.to_csv(index=False), missing="drop", na_values=["unknown"]))))
        == 118
    )


def test_a_file_with_semicolons_is_refused_with_the_options_to_set(tmp_path: Path) -> None:
    text = frame().to_csv(index=False, sep=";", decimal=",")
    message = refused(tmp_path, text, r"houses\.csv: no column 'price' \(data\.target|houses\.csv: \d+ rows")
    assert "data.sep=';' and data.decimal=','" in message
    data_of(tmp_path, text, sep=";", decimal=",").setup()
    assert "data.sep='\\t'" in refused(tmp_path, frame().to_csv(index=False, sep="\t"), "no column 'price'")


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"houses\.csv: expected text in utf-8 .*data\.encoding"):
        data_of(tmp_path, frame(kind="é").to_csv(index=False).encode("cp1252")).setup()


def test_zero_bytes_are_refused_by_line(tmp_path: Path) -> None:
    lines = frame().to_csv(index=False).splitlines()
    for column in range(3):
        cells = lines[5].split(",")
        cells[column] = cells[column][:1] + "\0"
        refused(tmp_path, "\n".join([*lines[:5], ",".join(cells), *lines[6:]]), r"houses\.csv: zero bytes in line 6")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sep": ";;"}, r"^data\.sep: .*got ';;'"),
        ({"decimal": ","}, r"^data\.sep: expected different characters.*\[',', ',', None\]"),
        ({"encoding": "utf-9"}, r"^data\.encoding: .*got 'utf-9'"),
        ({"leaks": "maybe"}, r"^data\.leaks: .*got 'maybe'"),
        ({"target": []}, r"^data\.target: expected the name of one column, or of several, got \[\]"),
        ({"target": ["a", "a"]}, r"^data\.target: expected each column once, got 'a'"),
        ({"target": ["a", "mean"]}, r"^data\.target: .* mean over them, got 'mean'"),
        (
            {"target": ["a", "b"], "log_target": True},
            r"^data\.log_target: not possible with several targets, got True",
        ),
        ({"target": ["a", "b"], "importance": "c"}, r"^data\.importance: not possible with several targets, got 'c'"),
        ({"target": ["price", "b"], "drop": ["b"]}, r"^data\.target: .*data\.drop, got 'b'"),
        ({"dates": ["price"]}, r"^data\.target: .*data\.dates, got 'price'"),
    ],
)
def test_options_are_checked_at_once(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        data_of(tmp_path, "", **options)


def test_rows_with_another_number_of_fields_are_refused_by_line(tmp_path: Path) -> None:
    lines = frame().to_csv(index=False).splitlines()
    for wrong in (lambda line: line + ",9", lambda line: line.rsplit(",", 1)[0]):
        shifted = [lines[0], *map(wrong, lines[1:])]
        refused(tmp_path, "\n".join(shifted), r"60 rows with more or fewer than 3 fields, in lines 2, 3,")
        refused(
            tmp_path, "\n".join([*lines[:5], wrong(lines[5]), *lines[6:]]), r"1 rows .*in lines 6\.", missing="median"
        )


def test_repeated_and_long_names_are_refused_together(tmp_path: Path) -> None:
    lines = frame(a=1.0, b=2.0, c=3.0).to_csv(index=False).splitlines()
    text = "\n".join([",".join(["size", "kind", "price", "price", "kind", "x" * 300]), *lines[1:]])
    message = refused(tmp_path, text, r"houses\.csv: 2 problems:")
    assert re.search(r"1\. column names that occur more than once: \['kind', 'price'\]|\['price', 'kind'\]", message)
    assert "more than 200 characters: 'xxx" in message
    assert "x" * 100 not in message


def test_the_index_of_a_saved_frame_is_refused_unless_dropped(tmp_path: Path) -> None:
    text = frame().to_csv()
    refused_text = r"'Unnamed: 0' has no name; it counts the rows.*data\.drop=\[\"Unnamed: 0\"\]'"
    refused(tmp_path, text, refused_text)
    dropped = tensors(data_of(tmp_path, text, drop=["Unnamed: 0"]))
    for got, wanted in zip(dropped, tensors(data_of(tmp_path, frame().to_csv(index=False))), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("leak", "kind"),
    [(lambda y: y, "equals"), (lambda y: -3 * y, "monotone"), (lambda y: np.exp(y / 50), "monotone")],
)
def test_a_feature_that_gives_the_target_away_is_refused_unless_allowed(tmp_path: Path, leak: Any, kind: str) -> None:
    content = frame()
    content.insert(0, "total", leak(content["price"]))
    refused(tmp_path, content, rf"column 'total' .*{kind}.* 'price'.*data\.leaks=allow")
    data_of(tmp_path, content.to_csv(index=False), leaks="allow").setup()
    content["total"] += np.random.default_rng(1).normal(0.0, abs(content["total"]).max() / 20, COUNT)
    data_of(tmp_path, content.to_csv(index=False)).setup()


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (["1,200", "950", "12,000"] * 20, r"data\.thousands=','"),
        (["1,5", "2,25", "3"] * 20, r"data\.decimal=','"),
        (["1.200.000", "950", "12.000"] * 20, r"data\.thousands='\.'"),
    ],
)
def test_numbers_with_other_separators_are_no_categories(tmp_path: Path, values: list[str], advice: str) -> None:
    refused(tmp_path, frame(size=values), rf"column 'size': numbers like .*{advice}")


def test_dates_become_numbers(tmp_path: Path) -> None:
    days = pd.date_range("2020-02-28 18:00", periods=COUNT, freq="36h")
    text = frame(day=days.astype(str)).to_csv(index=False)
    refused(tmp_path, text, r"column 'day': dates like '2020-02-28.*data\.dates=\[day\]")
    data = data_of(tmp_path, text, dates=["day"])
    data.setup()
    assert data.encoder_args() == {"in_features": 2 + 1 + 6}
    found = expand_dates(pd.DataFrame({"day": days.astype(str)}), ["day"]).iloc[1]
    assert found.tolist() == [2020, 3, 6, 61, 6, (days[1] - pd.Timestamp(0)).total_seconds() / 86400]
    refused(
        tmp_path,
        frame(day=["soon", *days.astype(str)[1:]]),
        r"'day': 1 values are no dates.*'soon'; rows 1",
        dates=["day"],
    )


def test_all_problems_of_a_file_are_in_one_message(tmp_path: Path) -> None:
    content = frame(
        day=pd.date_range("2020-01-01", periods=COUNT).astype(str), total=columns()["price"], cost="1,200"
    )
    content.loc[7, "size"] = np.nan
    message = refused(tmp_path, content.rename(columns={"kind": ""}), "5 problems")
    for problem in (
        "'size': missing values in rows 8",
        "'day': dates",
        "'total' equals",
        "'cost': numbers",
        "has no name",
    ):
        assert problem in message


def test_a_column_named_self_is_a_column(tmp_path: Path) -> None:
    plain = tensors(data_of(tmp_path, frame().to_csv(index=False)))
    for old in ("size", "kind", "price"):
        renamed = frame().rename(columns={old: "self"})
        data = data_of(tmp_path, renamed.to_csv(index=False), target="self" if old == "price" else "price")
        for got, wanted in zip(tensors(data), plain, strict=True):
            np.testing.assert_array_equal(got, wanted)
        data.replace_train(*data.table("train"))


def test_nullable_and_sparse_columns_are_encoded_as_plain_ones() -> None:
    plain = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [0.0, 0.0, 2.0], "c": ["x", "y", None]})
    other = pd.DataFrame(
        {
            "a": pd.array([1, None, 3], dtype="Int64"),
            "b": pd.arrays.SparseArray([0.0, 0.0, 2.0]),
            "c": pd.array(["x", "y", None], dtype="string"),
        }
    )
    encode = TableEncoder(["c"]).fit(plain)
    assert torch.equal(encode(other), encode(plain))
    assert torch.equal(TableEncoder(["c"]).fit(other)(other), encode(plain))
    assert encode.complete(other)["a"].tolist() == [1.0, 2.0, 3.0]


def test_labels_that_float32_cannot_tell_apart_are_float64(tmp_path: Path) -> None:
    seconds = 1_600_000_000 + np.arange(COUNT) * 20
    assert len(np.unique(seconds.astype(np.float32))) < 15
    for price, dtype in ((seconds, torch.float64), (seconds - seconds.min(), torch.float32)):
        data = data_of(tmp_path, frame(price=price).to_csv(index=False))
        data.setup()
        labels = torch.cat([data.labels(split) for split in ("train", "val", "test")])
        assert labels.dtype == dtype
        assert sorted(labels.tolist()) == sorted(price.tolist())
        assert data.describe()["target"]["dtype"] == str(dtype).removeprefix("torch.")


def test_a_description_tells_how_the_columns_and_labels_were_read(tmp_path: Path) -> None:
    content = frame(note="n", who=[f"p{n % 9}" for n in range(COUNT)], price=[0.0] * 20 + [7.5] * 25 + [9.0] * 15)
    content.loc[3, "size"] = np.nan
    data = data_of(tmp_path, content.to_csv(index=False), drop=["note"], group="who", missing="median", share=0.2)
    data.setup()
    found = json.loads(json.dumps(data.describe()))
    kinds = {name: column["kind"] for name, column in found["columns"].items()}
    assert kinds == {"size": "number", "kind": "category", "price": "target", "note": "dropped", "who": "group"}
    assert found["columns"]["size"]["missing"] == 1
    assert found["columns"]["who"]["distinct"] == 9
    assert found["columns"]["who"]["examples"] == ["p0", "p1", "p2"]
    splits = found["splits"]
    assert sum(split["zeros"] for split in splits.values()) == 20
    assert sum(split["rows"] for split in splits.values()) == COUNT
    assert (splits["train"]["min"], splits["train"]["max"], splits["train"]["distinct"]) == (0.0, 9.0, 3)
    text = format_description(found)
    assert re.search(r"^who +group +0 +9 +p0, p1, p2$", text, flags=re.MULTILINE)
    assert "zeros, most frequent 7.5 (" in text


def test_a_bundle_reads_new_files_as_the_run_read_its_own(tmp_path: Path) -> None:
    days = pd.date_range("2020-02-28 18:00", periods=COUNT, freq="36h").astype(str)
    text = frame(day=days).to_csv(index=False, sep=";", decimal=",").replace("a;", "?;", 1)
    data = data_of(tmp_path, text, sep=";", decimal=",", dates=["day"], na_values=["?"], missing="median")
    expected = tensors(data)[4]
    encoder = TableInputs(Fields(json.loads(json.dumps(data.encoding())), "model.json", "input"))
    rows = [row for row in range(COUNT) if row_order(data)[row] == "test"]
    path = tmp_path / "new.csv"
    lines = text.splitlines()
    path.write_text("\n".join([lines[0], *(lines[1 + row] for row in rows)]))
    file = read_inputs(SimpleNamespace(encoder=encoder), path)  # type: ignore[arg-type]
    assert list(file.keys.columns) == ["price"]
    opened = encoder.open(file.inputs)
    assert not opened.problems
    np.testing.assert_array_equal(opened.batch(list(range(len(rows))))[1].numpy(), expected)  # type: ignore[union-attr]
    wrong = file.inputs.assign(day=["soon", *file.inputs["day"][1:]])
    assert list(encoder.open(wrong).problems) == [0]
    with pytest.raises(ValueError, match=r"no column \['day'\]"):
        encoder.open(file.inputs.drop(columns="day"))


def row_order(data: TabularData) -> dict[int, str]:
    """The split of each row of the file, by its label, which tells the row."""
    prices = columns()["price"].astype(np.float32).tolist()
    return {
        prices.index(price): split
        for split in ("train", "val", "test")
        for price in data.labels(split).tolist()  # type: ignore[arg-type]
    }
