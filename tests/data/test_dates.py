"""Dates: one order of day and month for each way of writing them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dir.data import TabularData
from dir.data.dates import parse_dates


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%m-%d-%Y", "%Y-%m-%d", "%Y/%m/%d", "%d %b %Y"])
@pytest.mark.parametrize("hour", ["", " %H:%M"])
def test_every_day_of_a_year_is_read_as_it_was_written(form: str, hour: str) -> None:
    days = [datetime(2015, 1, 1, tzinfo=timezone.utc) + pd.Timedelta(days=day) for day in range(365)]
    found = parse_dates(pd.Series([day.strftime(form + hour) for day in days]))
    assert found.tolist() == [pd.Timestamp(day) for day in days]


def test_the_other_order_is_no_date() -> None:
    assert parse_dates(pd.Series(["13/05/2015", "05.13.2015", "13-05-2015", "13 05 2015", None, "x"])).isna().all()


def test_a_time_of_day_is_no_date() -> None:
    assert parse_dates(pd.Series(["12:30", "7:05:09", "7:05 pm"])).isna().all()


def test_a_column_with_the_day_before_a_slash_is_refused_with_its_rows(tmp_path: Path) -> None:
    days = pd.date_range("2015-01-01", periods=100).strftime("%d/%m/%Y")
    random = np.random.default_rng(0)
    pd.DataFrame({"day": days, "x": random.normal(size=100), "y": random.normal(size=100)}).to_csv(
        tmp_path / "days.csv", index=False
    )
    with pytest.raises(ValueError, match=r"column 'day': dates like '01/01/2015'\. Set data\.dates=\[day\]"):
        TabularData(str(tmp_path / "days.csv"), "y").setup()
    pattern = r"column 'day': 54 values are no dates, the first is '13/01/2015'; rows 13, 14.*read as 13\.05\.2015"
    with pytest.raises(ValueError, match=pattern):
        TabularData(str(tmp_path / "days.csv"), "y", dates=["day"]).setup()
