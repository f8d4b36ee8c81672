"""Splits of a table by a column, by time, and by several group columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dir.data.base import SPLITS
from dir.data.describe import format_description
from dir.data.table_times import TimeColumns
from dir.data.tabular import TabularData

COUNT = 60


def frame() -> pd.DataFrame:
    """Hours of two days and a half over a new year, in a mixed order; the label tells the row."""
    at = pd.date_range("2013-12-30 12:00", periods=COUNT, freq="h")
    table = pd.DataFrame({"year": at.year, "month": at.month, "day": at.day, "hour": at.hour})
    table["at"] = at.strftime("%Y-%m-%d %H:%M")
    table["x"] = np.sin(np.arange(COUNT) * 1.7)
    table["site"], table["unit"] = np.arange(COUNT) // 6 % 5, np.arange(COUNT) // 30
    table["fold"] = np.resize(["train", "val", "test", "train"], COUNT)
    table["y"] = np.arange(COUNT) * 1.0
    return table.sample(frac=1, random_state=0)


def ready(folder: Path, table: pd.DataFrame | None = None, **settings: Any) -> TabularData:
    table = frame() if table is None else table
    used = [settings.get("split_column"), *np.ravel(settings.get("time", [])), *np.ravel(settings.get("group", []))]
    drop = [name for name in table if name not in ("x", "y", *used)]
    table.to_csv(folder / "t.csv", index=False)
    data = TabularData(str(folder / "t.csv"), "y", **{"drop": drop, "leaks": "allow"} | settings)
    data.setup()
    return data


def labels(data: TabularData) -> dict[str, list[float]]:
    return {split: sorted(data.labels(split).tolist()) for split in SPLITS}


def test_a_column_gives_the_split_and_is_no_feature(tmp_path: Path) -> None:
    table = frame()
    data = ready(tmp_path, split_column="fold")
    assert labels(data) == {split: sorted(table["y"][table["fold"] == split]) for split in SPLITS}
    assert data.encoder_args() == {"in_features": 1}
    assert "split by column 'fold': 30 train, 15 val, 15 test rows" in format_description(data.describe())
    codes = ready(
        tmp_path, table.assign(fold=table["fold"].map({"train": 0, "val": 1, "test": 2})), split_column="fold"
    )
    assert labels(codes) == labels(data)


def test_wrong_values_of_a_split_column_are_named_with_their_rows(tmp_path: Path) -> None:
    table = frame().assign(fold=["holdout", None, *["train"] * (COUNT - 2)])
    with pytest.raises(ValueError, match=r"column 'fold'.*2 entries differ: 'holdout' \(row 1\), 'nan' \(row 2\)"):
        ready(tmp_path, table, split_column="fold")
    with pytest.raises(ValueError, match="no sample of val"):
        ready(tmp_path, table.assign(fold=np.resize(["train", "test"], COUNT)), split_column="fold")


@pytest.mark.parametrize("time", ["at", ["year", "month", "day", "hour"]])
def test_the_earliest_rows_train_and_the_latest_test(tmp_path: Path, time: Any) -> None:
    data = ready(tmp_path, split="time", time=time, share=0.2)
    expected = np.split(np.arange(COUNT) * 1.0, [36, 48])
    assert labels(data) == {split: list(part) for split, part in zip(SPLITS, expected, strict=True)}
    # Calendar columns are features, and a date that data.dates does not list is none.
    assert data.encoder_args() == {"in_features": 1 if time == "at" else 5}
    assert "split by time, the latest 0.2 of the rows each: 36 train, 12 val, 12 test" in format_description(
        data.describe()
    )


@pytest.mark.parametrize(
    ("time", "val", "test"),
    [
        (["year", "month", "day", "hour"], [2013, 12, 31], 2014),
        (["year", "month", "day", "hour"], [2013, 12, 31, 0], [2014, 1, 1, 0]),
        ("at", "2013-12-31", 2014),
        ("at", "2013-12-31 00:00", "2014-01-01"),
    ],
)
def test_borders_of_a_split_by_time(tmp_path: Path, time: Any, val: Any, test: Any) -> None:
    data = ready(tmp_path, split="time", time=time, val_from=val, test_from=test)
    assert [len(part) for part in labels(data).values()] == [12, 24, 24]
    assert labels(data)["test"] == list(np.arange(36, COUNT) * 1.0)


def test_equal_times_stay_in_one_split(tmp_path: Path) -> None:
    table = frame()
    table["epoch"] = np.floor(table["y"] / 7)
    data = ready(
        tmp_path,
        table,
        split="time",
        time="epoch",
        drop=["year", "month", "day", "hour", "at", "site", "unit", "fold"],
    )
    found = [{np.floor(label / 7) for label in part} for part in labels(data).values()]
    assert sum(map(len, found)) == len(set().union(*found)) == 9


def test_dropped_times_order_the_rows_and_are_no_features(tmp_path: Path) -> None:
    table = frame()
    drop = ["year", "day", "at", "site", "unit", "fold"]
    data = ready(tmp_path, table, split="time", time=["year", "month", "day", "hour"], drop=drop, share=0.2)
    assert data.encoder_args() == {"in_features": 3}
    assert labels(data)["test"] == list(np.arange(48, COUNT) * 1.0)


def test_several_group_columns_name_one_identity(tmp_path: Path) -> None:
    table = frame()
    data = ready(tmp_path, table, group=["site", "unit"], share=0.2)
    groups = table.set_index("y")[["site", "unit"]].apply(tuple, axis=1)
    found = [{groups[label] for label in part} for part in labels(data).values()]
    assert sum(map(len, found)) == len(set().union(*found)) == 10
    assert data.encoder_args() == {"in_features": 1}
    by_time = ready(tmp_path, table, split="time", time="at", group=["site"], share=0.2)
    assert "groups: 4 of 5 have rows in more than one split" in format_description(by_time.describe())


def test_a_run_with_these_settings_is_restored(tmp_path: Path) -> None:
    data = ready(tmp_path, split="time", time="at", val_from="2013-12-31", test_from="2014-01-01")
    again = TabularData(str(tmp_path / "t.csv"), "y", drop=[*data.settings()["drop"], "at"], leaks="allow")
    again.restore_split(data.split_ids())
    assert labels(again) == labels(data)
    assert data.settings()["val_from"] == "2013-12-31"
    assert "time" not in again.settings(), "runs of earlier releases have no such setting"


TIME = {"split": "time", "time": "at"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"split": "time"}, r"^data\.split: needs data\.time"),
        ({"time": "at"}, r"^data\.time: .*got \['at'\]\. Set data\.split=time"),
        ({"val_from": 2013}, r"^data\.val_from: only applies to data\.split=time"),
        ({**TIME, "val_from": 2013}, r"^data\.test_from: not set.*Set both"),
        ({**TIME, "split_column": "fold"}, r"^data\.split_column: not possible together with data\.split=time"),
        ({"split_column": "y"}, r"^data\.split_column: expected another column than data\.target"),
        (
            {**TIME, "test_path": "u.csv", "test_from": 1},
            r"^data\.test_from: not possible together with data\.test_path",
        ),
        (
            {**TIME, "val_from": 2014, "test_from": 2013},
            r"^data\.test_from: expected a time after data\.val_from=2014",
        ),
        ({**TIME, "val_from": "soon", "test_from": 2014}, r"^data\.val_from: expected a date, got 'soon'"),
        ({**TIME, "val_from": 2020, "test_from": 2021}, r"leaves no row for val"),
        ({"split": "time", "time": ["month", "day"]}, r"several columns must be year, month, day, hour"),
        ({"split": "time", "time": "when"}, r"no column 'when' \(data\.time"),
        (
            {"split": "time", "time": "fold"},
            r"rows have no dates there, the first is '(train|val|test)'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, settings: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ready(tmp_path, **{"drop": ["year", "month", "day", "hour", "at", "site", "unit", "fold"]} | settings)


def test_times_are_counted_in_the_unit_of_the_finest_column() -> None:
    table = pd.DataFrame({"Year": [2011, 2012, 2012], "Month": [12, 2, 13], "Day": [31, 29, 1], "Hour": [23, 0, 0]})
    hours = TimeColumns(("Year", "Month", "Day", "Hour"), "calendar").values(table)
    assert hours[:2].tolist() == [(pd.Timestamp(at) - pd.Timestamp(0)) / pd.Timedelta("1h") for at in
                                  ("2011-12-31 23:00", "2012-02-29 00:00")]  # fmt: skip
    assert np.isnan(hours[2]), "there is no month 13"
    months = TimeColumns(("Year", "Month"), "calendar")
    assert np.diff(months.values(table[:2])).tolist() == [2.0]
    assert months.bound([2012, 2], "data.val_from") == months.values(table)[1]
