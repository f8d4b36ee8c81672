from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dir.data.tables import MISSING, TableEncoder
from dir.data.tabular import TabularData


def table(count: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": rng.normal(5.0, 2.0, count),
            "kind": rng.choice(["a", "b", "c"], count),
            "price": rng.normal(100.0, 20.0, count),
        }
    )


def saved(folder: Path, content: pd.DataFrame, name: str = "table.csv") -> str:
    content.to_csv(folder / name, index=False)
    return str(folder / name)


def ready(path: str, **kwargs: Any) -> TabularData:
    data = TabularData(path, kwargs.pop("target", "price"), **kwargs)
    data.setup()
    return data


def rows_of(data: TabularData, name: str) -> np.ndarray:
    inputs, labels = data.dataset(name).__getitems__(list(range(len(data.labels(name)))))
    return np.column_stack([inputs.numpy(), labels.numpy()])


def test_inputs_are_standardised_and_one_hot_by_the_training_rows(tmp_path: Path) -> None:
    content = table()
    data = ready(saved(tmp_path, content), split="random", share=0.2)
    assert data.encoder_args() == {"in_features": 4}
    in_train = content["price"].astype(np.float32).isin(data.labels("train").numpy())
    mean, deviation = content["size"][in_train].mean(), content["size"][in_train].std(ddof=0)
    for name in ("train", "val", "test"):
        for *kinds, size, price in rows_of(data, name):
            row = content.iloc[int(np.argmin(np.abs(content["price"] - price)))]
            assert kinds == [float(row["kind"] == kind) for kind in "abc"]
            assert size == pytest.approx((row["size"] - mean) / deviation, abs=1e-4)


def test_every_row_lands_in_one_split(tmp_path: Path) -> None:
    content = table(600)
    for split in ("balanced", "random"):
        data = ready(saved(tmp_path, content), split=split)
        prices = torch.cat([data.labels(name) for name in ("train", "val", "test")])
        np.testing.assert_allclose(np.sort(prices.numpy()), np.sort(content["price"]), rtol=1e-6)
        assert 0 < len(data.labels("val")) <= 0.13 * len(content) + 1


def test_balanced_test_labels_are_flatter_than_random_ones(tmp_path: Path) -> None:
    content = table(3000)
    path = saved(tmp_path, content)
    spread = {split: ready(path, split=split, seed=1).labels("test").std() for split in ("balanced", "random")}
    assert spread["balanced"] > 1.25 * spread["random"]


def test_the_seed_draws_the_split(tmp_path: Path) -> None:
    path = saved(tmp_path, table())
    first, again, other = (ready(path, seed=seed).labels("test").tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("split", ["balanced", "random"])
def test_copies_of_rows_change_no_split_and_never_cross_it(tmp_path: Path, split: str) -> None:
    content = table(90)
    once = ready(saved(tmp_path, content), split=split)
    twice = ready(saved(tmp_path, pd.concat([content, content.iloc[::2]]), "twice.csv"), split=split)
    for name in ("train", "val", "test"):
        assert set(once.labels(name).tolist()) == set(twice.labels(name).tolist())


def test_a_test_file_of_its_own(tmp_path: Path) -> None:
    content, extra = table(100), table(17, seed=9)
    extra.loc[0, "kind"] = "never seen"
    data = ready(saved(tmp_path, content), test_path=saved(tmp_path, extra[["kind", "price", "size"]], "test.csv"))
    np.testing.assert_allclose(data.labels("test").numpy(), extra["price"], rtol=1e-6)
    assert len(data.labels("train")) + len(data.labels("val")) == 100
    assert rows_of(data, "test")[0, :3].tolist() == [0.0, 0.0, 0.0]


def test_constant_columns_stay_finite(tmp_path: Path) -> None:
    data = ready(saved(tmp_path, table().assign(size=0.1)))
    assert abs(rows_of(data, "val")[:, 3]).max() < 1e-6


def test_missing_values_are_refused_by_column_and_row(tmp_path: Path) -> None:
    content = table()
    content.loc[[4, 7], "size"] = np.nan
    content.loc[9, "kind"] = None
    path = saved(tmp_path, content)
    with pytest.raises(
        ValueError, match=r"(?s)2 problems.*'size': .*rows 5, 8\..*missing=median.*missing=drop.*'kind': .*rows 10\."
    ):
        ready(path)
    assert len(rows_of(ready(path, missing="drop"), "train")) < len(rows_of(ready(path, missing="median"), "train"))


def test_missing_numbers_take_the_training_median(tmp_path: Path) -> None:
    content = table()
    content.loc[10, ["size", "kind"]] = [np.nan, None]
    path = saved(tmp_path, content)
    for seed in range(20):  # until the row is none of the training rows
        data = ready(path, missing="median", seed=seed)
        held_out = np.concatenate([rows_of(data, "val"), rows_of(data, "test")])
        hit = held_out[np.abs(held_out[:, 4] - content["price"][10]) < 1e-4]
        if len(hit):
            break
    assert hit[0, :3].tolist() == [0.0, 0.0, 0.0]
    assert hit[0, 3] == pytest.approx(np.median(rows_of(data, "train")[:, 3]), abs=1e-5)


def test_a_missing_target_is_never_filled_in(tmp_path: Path) -> None:
    content = table()
    content.loc[2, "price"] = np.nan
    path = saved(tmp_path, content)
    with pytest.raises(ValueError, match=r"'price': missing values in rows 3\. data\.missing=drop"):
        ready(path, missing="median")
    assert torch.isfinite(ready(path, missing="drop").labels("train")).all()


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        ({}, {"target": "cost"}, r"no column 'cost' \(data\.target; found: 'size'"),
        ({}, {"drop": ["weight"]}, r"no column 'weight' \(data\.drop;"),
        ({}, {"categorical": ["colour"]}, r"no column 'colour' \(data\.categorical;"),
        ({}, {"drop": ["size", "kind"]}, "no column is left"),
        ({"day": [f"2011-{i}" for i in range(120)]}, {}, r"'day': 120 different texts like '2011-0'"),
        ({"size": ["1.5"] * 119 + ["?"]}, {}, r"'size': numbers, except for values like '\?'.*data\.na_values"),
        ({}, {"categorical": []}, r"column 'kind': 120 values are not finite numbers.*\(120 in all\)"),
        ({"price": ["1", "2", "cheap"] * 40}, {}, r"column 'price': 40 values.*'cheap'; rows 3, 6, 9"),
        ({"size": [np.inf, *range(119)]}, {}, r"column 'size': 1 values.*rows 1\.$"),
        ({"price": 5}, {}, r"^data\.target: .*two distinct labels, all 120 in column 'price' are 5\. Choose"),
        ({"tax": 0}, {"target": ["price", "tax"]}, r"^data\.target: .*all 120 in column 'tax' are 0\."),
    ],
)
def test_refuses_what_it_cannot_encode(
    tmp_path: Path, change: dict[str, Any], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ready(saved(tmp_path, table().assign(**change)), **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"missing": "mean"}, r"^data\.missing: .*got 'mean'"),
        ({"split": "stratified"}, r"^data\.split: .*got 'stratified'"),
        ({"drop": ["price"]}, r"^data\.target: .*data\.drop, got 'price'"),
        ({"categorical": ["price"]}, r"^data\.target: .*data\.categorical, got 'price'"),
    ],
)
def test_refuses_options_at_once(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularData("table.csv", "price", **kwargs)


def test_refuses_files_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.path"):
        ready(str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match=r"data\.test_path"):
        ready(saved(tmp_path, table()), test_path=str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match="no rows"):
        ready(saved(tmp_path, table(0)))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty\.csv: not readable"):
        ready(str(tmp_path / "empty.csv"))


def test_a_table_too_small_to_split_says_so(tmp_path: Path) -> None:
    content = table(4).assign(price=[1.5, 2.25, 3.0, 4.0])
    with pytest.raises(ValueError, match=r"4 rows leave none for val"):
        ready(saved(tmp_path, content))


@settings(deadline=None, max_examples=50)
@given(
    numbers=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    texts=st.lists(st.text(max_size=5), min_size=20, max_size=20),
)
def test_any_table_is_encoded_to_finite_numbers(numbers: list[float], texts: list[str]) -> None:
    content = pd.DataFrame({"x": numbers, "t": texts[: len(numbers)]})
    encode = TableEncoder(["t"]).fit(content)
    rows = encode(content).numpy().astype(np.float64)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[:, :-1].sum(axis=1), 1.0)
    assert abs(rows[:, -1].mean()) < 1e-3


class Doubled:
    """Keeps what it was given, and returns it twice, the second time with another label."""

    def fit_resample(self, X: pd.DataFrame, y: pd.Series) -> tuple[pd.DataFrame, pd.Series]:  # noqa: N803
        self.X, self.y = X, y
        return pd.concat([X, X], ignore_index=True), pd.concat([y, y + 1], ignore_index=True)


def test_resampling_sees_the_training_rows_before_their_encoding_and_no_others(tmp_path: Path) -> None:
    content = table(300)
    data = ready(saved(tmp_path, content))
    before = {name: rows_of(data, name) for name in ("train", "val", "test")}
    resampler = Doubled()
    data.resample(resampler)
    assert list(resampler.X.columns) == ["size", "kind"]
    assert set(resampler.X["kind"]) == {"a", "b", "c"}
    # As they stand in the file, in its order.
    given = content[content["price"].astype(np.float32).isin(before["train"][:, -1])]
    np.testing.assert_allclose(resampler.X["size"], given["size"], rtol=1e-12)
    np.testing.assert_allclose(resampler.y, given["price"], rtol=1e-12)
    one_more = before["train"] + np.array([0, 0, 0, 0, 1], dtype=np.float32)
    np.testing.assert_allclose(rows_of(data, "train"), np.concatenate([before["train"], one_more]), rtol=1e-6)
    for name in ("val", "test"):
        np.testing.assert_array_equal(rows_of(data, name), before[name])
    pd.testing.assert_series_equal(data.table("train")[1].iloc[: len(given)], resampler.y)


def test_missing_values_reach_a_resampler_filled_in_and_are_encoded_as_before(tmp_path: Path) -> None:
    content = table(300)
    content.loc[::7, "size"] = np.nan
    content.loc[::5, "kind"] = None
    data = ready(saved(tmp_path, content), missing="median")
    before = rows_of(data, "train")
    resampler = Doubled()
    data.resample(resampler)
    assert not resampler.X.isna().any().any()
    assert set(resampler.X["kind"]) == {"a", "b", "c", MISSING}
    np.testing.assert_array_equal(rows_of(data, "train")[: len(before)], before)


def test_a_restricted_training_set_is_what_is_resampled(tmp_path: Path) -> None:
    data = ready(saved(tmp_path, table(300)))
    rows = torch.arange(0, len(data.labels("train")), 3)
    before = rows_of(data, "train")[rows]
    data.restrict("train", rows)
    data.resample(Doubled())
    np.testing.assert_array_equal(rows_of(data, "train")[: len(rows)], before)
    assert len(data.labels("train")) == 2 * len(rows)


def test_the_tables_at_hand_load(shared: Path) -> None:
    folder = shared / "data/tabular"
    abalone = ready(str(folder / "abalone.csv"), target="Rings")
    assert abalone.encoder_args() == {"in_features": 10}
    assert sum(len(abalone.labels(name)) for name in ("train", "val", "test")) == 4177
    with pytest.raises(ValueError, match=r"'dteday': dates like '2011-01-01'.*data\.dates=\[dteday\]"):
        ready(str(folder / "bike_sharing_hour.csv"), target="cnt")
    drop = ["dteday", "instant", "casual", "registered"]
    assert ready(str(folder / "bike_sharing_hour.csv"), target="cnt", drop=drop).encoder_args() == {"in_features": 12}
    assert ready(str(folder / "wine_quality.csv"), target="quality").encoder_args() == {"in_features": 13}


def test_a_missing_value_does_not_rename_the_other_categories() -> None:
    """pandas reads a column of 1, 2 as whole numbers, and 1, 2, missing as 1.0, 2.0."""
    encode = TableEncoder(["kind"]).fit(pd.DataFrame({"kind": [1, 2], "x": [0.0, 1.0]}))
    assert encode(pd.DataFrame({"kind": [1.0, None], "x": [0.0, 1.0]}))[:, :2].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_an_encoder_survives_json_exactly() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"kind": random.choice(["a", "b"], 50), "x": random.normal(size=50) * 1e7, "y": random.normal(size=50)}
    )
    table.loc[3, "x"] = np.nan
    encoder = TableEncoder(["kind"]).fit(table)
    read = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    torch.testing.assert_close(read(table), encoder(table), rtol=0, atol=0)
    assert read.width == encoder.width == 4
