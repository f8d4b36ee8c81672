"""Windows of a table: which rows they hold, where they end, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dir.data.base import SPLITS
from dir.data.describe import format_description
from dir.data.series import find_series
from dir.data.tabular import TabularData


def frame(count: int = 80) -> pd.DataFrame:
    """Hourly rows in a mixed order; each label tells its row, and so does x."""
    at = pd.date_range("2013-12-30", periods=count, freq="h")
    random = np.random.default_rng(0)
    table = pd.DataFrame({"at": at.strftime("%Y-%m-%d %H:%M"), "x": random.normal(size=count)})
    table["wind"] = random.choice(["N", "S"], count)
    table["y"] = np.round(random.normal(size=count), 6)
    return table


def ready(folder: Path, table: pd.DataFrame, shuffle: bool = True, **kwargs: Any) -> TabularData:
    rows = table.sample(frac=1, random_state=1) if shuffle else table
    rows.to_csv(folder / "s.csv", index=False)
    fixed: dict[str, Any] = {"time": "at", "split": "time", "share": 0.25, "window": 3}
    data = TabularData(str(folder / "s.csv"), "y", **fixed | kwargs)
    data.setup()
    return data


def batches(data: TabularData, split: Any) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = data.dataset(split).__getitems__(list(range(len(data.labels(split)))))
    return inputs.numpy(), labels.numpy()


@pytest.mark.parametrize(("window", "horizon", "lags"), [(3, 1, True), (4, 2, False), (1, 1, True), (2, 0, False)])
def test_a_sample_is_the_last_rows_before_its_label(tmp_path: Path, window: int, horizon: int, lags: bool) -> None:
    table = frame()
    data = ready(tmp_path, table, window=window, horizon=horizon, lags=lags)
    border = {"train": (0, 40), "val": (40, 60), "test": (60, 80)}
    names = ["x", "y"] if lags else ["x"]
    fitted = table[: 40 - horizon]
    for split in SPLITS:
        inputs, labels = batches(data, split)
        low, high = border[split]
        # Sorted by time, the windows of a split are its rows in turn: no window crosses a border.
        expected = [table["y"][label] for label in range(low + window - 1 + horizon, high)]
        assert labels.tolist() == np.array(expected, dtype=np.float32).tolist()
        for sample, label in zip(inputs, range(low + window - 1 + horizon, high), strict=True):
            rows = table.iloc[label - horizon - window + 1 : label - horizon + 1]
            numbers = (rows[names] - fitted[names].mean()) / fitted[names].std(ddof=0)
            kinds = np.stack([rows["wind"] == "N", rows["wind"] == "S"], axis=1)
            encoded = np.concatenate([kinds, numbers], axis=1)
            np.testing.assert_allclose(sample.reshape(window, -1), encoded, atol=1e-5)
    assert data.encoder_args() == {"in_features": window * (3 + lags)}


def test_gaps_end_windows_and_are_counted(tmp_path: Path) -> None:
    # A row is missing among the training rows, and one among the test rows.
    table = frame().drop(index=[10, 70])
    data = ready(tmp_path, table, window=3)
    labels = {*np.concatenate([batches(data, split)[1] for split in SPLITS]).tolist()}
    lost = [row for row in table.index if np.float32(table["y"][row]) not in labels]
    # 38, 20 and 20 of the 78 rows: every start of a split and every gap costs three labels.
    assert lost == [0, 1, 2, 11, 12, 13, 39, 40, 41, 59, 60, 61, 71, 72, 73]
    text = format_description(data.describe())
    assert "63 windows of 3 rows at steps of 0 days 01:00:00, with the target's past" in text
    assert "1 series; 2 irregular steps, which end windows; 0 windows left out" in text


def test_each_group_is_a_series_of_its_own(tmp_path: Path) -> None:
    parts = [frame().assign(site=site, y=lambda part, k=k: part["y"] + 100 * k) for k, site in enumerate("abcdefgh")]
    table = pd.concat(parts)
    data = ready(tmp_path, table, group="site", split="balanced", window=5)
    sites: list[set[int]] = []
    for split in SPLITS:
        inputs, labels = batches(data, split)
        own = np.round(labels / 100).astype(int)
        assert len(labels) == 75 * len(set(own)), "all windows of whole groups"
        mean, scale = (
            next(c for c in data.encode.to_dict()["numbers"] if c["name"] == "y")[k] for k in ("mean", "scale")
        )
        past = inputs.reshape(len(inputs), 5, -1)[:, :, -1] * scale + mean
        np.testing.assert_array_equal(np.round(past / 100), np.repeat(own[:, None], 5, axis=1))
        sites.append(set(own))
    assert sum(map(len, sites)) == len(set().union(*sites)) == 8


def test_missing_labels_drop_their_windows_and_missing_inputs_follow_the_policy(tmp_path: Path) -> None:
    table = frame()
    table.loc[20, "y"] = np.nan
    data = ready(tmp_path, table, lags=False)
    assert sum(len(data.labels(split)) for split in SPLITS) == 80 - 9 - 1
    assert "1 windows left out because their label is missing" in format_description(data.describe())
    with pytest.raises(ValueError, match=r"column 'y': missing values in rows 21\. data\.missing=median"):
        ready(tmp_path, table, shuffle=False)
    filled = ready(tmp_path, table, missing="median")
    assert sum(len(filled.labels(split)) for split in SPLITS) == 80 - 9 - 1
    dropped = ready(tmp_path, table, missing="drop")
    assert sum(len(dropped.labels(split)) for split in SPLITS) == 80 - 9 - 4, "its row, and the windows over the gap"


def test_a_value_from_the_future_is_a_leak(tmp_path: Path) -> None:
    table = frame()
    for shift, place in ((1, "at the end of a window"), (3, "2 rows before the end of a window")):
        leaking = table.assign(lead=np.round(table["y"].shift(-shift), 6))[:-shift]
        problem = rf"column 'lead' {place} equals the target 'y': it leaks the label\. Set data\.drop=\[lead\]"
        with pytest.raises(ValueError, match=problem):
            ready(tmp_path, leaking, window=4)
        ready(tmp_path, leaking, window=4, leaks="allow")
    # An earlier value, and the target's own past even where it rises forever, are no leaks.
    ready(tmp_path, table.assign(before=table["y"].shift(1).fillna(0)), window=4)
    ready(tmp_path, table.assign(y=np.arange(80.0)), window=4)


def test_a_split_is_restored_and_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    data = ready(tmp_path, frame())
    expected = {split: batches(data, split) for split in SPLITS}
    ids = data.split_ids()
    frame().to_csv(tmp_path / "s.csv", index=False)
    again = TabularData(str(tmp_path / "s.csv"), "y", time="at", split="time", share=0.25, window=3)
    again.restore_split(ids)
    for split in SPLITS:
        for one, other in zip(batches(again, split), expected[split], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_windows_are_rows_of_a_table_for_resampling(tmp_path: Path) -> None:
    data = ready(tmp_path, frame())
    rows, labels = data.table("train")
    assert list(rows)[:3] == ["x[-2]", "wind[-2]", "y[-2]"] or set(rows) >= {"x[-2]", "wind[0]", "y[-1]"}
    inputs = data.encode(rows).numpy()
    np.testing.assert_array_equal(inputs, batches(data, "train")[0])
    data.replace_train(rows[:10], labels[:10])
    np.testing.assert_array_equal(batches(data, "train")[0], inputs[:10])


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ({"split": "random"}, r"^data\.split: windows of one series overlap.*got 'random'\. Set data\.split=time"),
        ({"split": "balanced"}, r"^data\.split: windows of one series overlap"),
        ({"time": None, "split": "balanced", "split_column": "wind"}, r"^data\.window: needs data\.time"),
        ({"horizon": 0}, r"^data\.horizon: the last row of a window holds its own label.*data\.lags=false"),
        ({"window": 0}, r"^data\.window: expected an integer >= 1, got 0"),
        ({"window": None, "horizon": 2}, r"^data\.horizon: only applies to windows, got 2"),
        ({"window": None, "lags": False}, r"^data\.lags: only applies to windows"),
        ({"window": 20}, r"no window of 20 rows and a label 1 steps later for test.*Set a smaller data\.window"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, kwargs: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ready(tmp_path, frame(), **kwargs)


def test_several_series_without_a_group_are_noticed(tmp_path: Path) -> None:
    twice = pd.concat([frame(), frame()])
    with pytest.raises(ValueError, match=r"^data\.time: 80 of 160 rows have the time of another row.*data\.group"):
        ready(tmp_path, twice, leaks="allow")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25)), unique=True, min_size=2, max_size=40),
    st.integers(1, 4),
    st.integers(0, 2),
)
def test_windows_are_those_of_a_search_by_hand(rows: list[tuple[int, int]], length: int, horizon: int) -> None:
    keys, times = np.array([row[0] for row in rows]), np.array([row[1] * 0.1 for row in rows])
    found = find_series(times, keys, step=0.1).windows(length, horizon).tolist()
    place = {row: number for number, row in enumerate(rows)}
    wanted = [(key, time + back) for key, time in rows for back in [0] if True]
    expected = [
        [place[(key, time - back)] for back in range(length + horizon - 1, -1, -1)]
        for key, time in sorted(wanted)
        if all((key, time - back) in place for back in range(length + horizon))
    ]
    assert found == expected


def test_the_step_is_the_most_frequent_difference() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.7, 0.8, 2.0])
    found = find_series(times, np.zeros(7))
    assert found.step == pytest.approx(0.1)
    assert found.irregular == 2
    assert re.match(r"\[0, 1, 2, 3, 0, 1, 0\]", str(found.run.tolist()))
    with pytest.raises(ValueError, match=r"^data\.window: no series has two rows of different times"):
        find_series(np.arange(3.0), np.arange(3))
