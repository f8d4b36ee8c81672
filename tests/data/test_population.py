"""The rows of a run that its monitoring compares new rows with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dir.data import RegressionData, TabularData
from dir.data.arrays import ArrayDataset


class Numbers(RegressionData):
    def build(self) -> dict[str, ArrayDataset]:
        parts = {"train": range(10), "val": range(20, 24), "test": range(30, 33)}
        return {
            name: ArrayDataset(torch.zeros(len(rows), 1), torch.tensor(rows, dtype=torch.float32))
            for name, rows in parts.items()
        }


def test_labels_of_all_splits_are_those_before_a_protocol() -> None:
    data = Numbers()
    data.setup()
    data.restrict("train", torch.tensor([1, 2, 3]))
    data.restrict("train", torch.tensor([0, 2]))
    labels, table = data.population()
    assert sorted(labels.tolist()) == [*range(10), *range(20, 24), *range(30, 33)]
    assert table is None
    data.close_test()
    assert sorted(data.population()[0].tolist()) == [*range(10), *range(20, 24)]


def houses(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    kind = random.choice(["a", "b"], rows).astype(object)
    kind[3] = None
    day = [f"2024-01-{1 + row % 28:02d}" for row in range(rows)]
    return pd.DataFrame({"size": random.normal(size=rows), "kind": kind, "day": day, "price": np.arange(rows) + 0.5})


def test_a_table_gives_the_columns_that_its_bundle_encodes(tmp_path: Path) -> None:
    frame = houses(60, 0)
    frame.to_csv(tmp_path / "houses.csv", index=False)
    houses(20, 1).to_csv(tmp_path / "test.csv", index=False)
    common = {"path": str(tmp_path / "houses.csv"), "target": "price", "dates": ["day"]}
    common |= {"missing": "median", "split": "random"}
    for more in ({}, {"test_path": str(tmp_path / "test.csv")}):
        data = TabularData(**common, **more)
        labels, table = data.population()
        assert table is not None
        assert list(table.columns) == data.encoding()["columns"]
        assert sorted(labels.tolist()) == frame["price"].tolist()
        np.testing.assert_array_equal(np.sort(table["size"]), np.sort(frame["size"]))
        assert table["kind"].isna().sum() == 1
        assert set(table["kind"].dropna()) == {"a", "b"}
        assert table["day_day_of_week"].between(0, 6).all()
    data.close_test()
    labels, table = data.population()
    assert (len(labels), table) == (60, None)
