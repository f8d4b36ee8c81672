"""Columns of dates in one convention for each way of writing them."""

from __future__ import annotations

from typing import Any

import pandas as pd

# Two numbers of the same mark before the year: the order of day and month is a convention.
_TWO_BEFORE_YEAR = r"\s*(?P<first>\d{1,2})(?P<mark>[./ -])(?P<second>\d{1,2})(?P=mark)(?:\d{4}|\d{2})(?:\D.*)?"
# pandas reads a time of day alone as a time of the day on which the file is read.
_HOUR = r"\s*\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?\s*"
ORDER = "Dates are read as 13.05.2015 (the day first), 05/13/2015 (the month first) or 2015-05-13"


def parse_dates(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of dates as datetimes in UTC, NaT where the value is missing or no date.

    The order of day and month depends on the mark alone, and never on the other values: with dots the day comes
    first, with slashes, dashes and spaces the month. A date that fits the other order alone becomes NaT, and so
    does a time of day alone. (pandas would change the order from row to row: 06/05 is June and 13/05 is May.)

    Example:
        >>> found = parse_dates(pd.Series(["06.05.2015", "06/05/2015", "2015-06-05 12:30", "13/05/2015"]))
        >>> found.dt.strftime("%d %B %H:%M").tolist()
        ['06 May 00:00', '05 June 00:00', '05 June 12:30', nan]
    """
    texts = column.astype("string")
    texts = texts.mask(texts.str.fullmatch(_HOUR).fillna(False).to_numpy(bool))
    parts = texts.str.extract(f"^{_TWO_BEFORE_YEAR}$")
    dots = parts["mark"].eq(".").fillna(False).to_numpy(bool)
    month = pd.to_numeric(parts["first"].mask(dots, parts["second"]), errors="coerce")
    wrong = month.gt(12).fillna(False).to_numpy(bool)
    found = pd.to_datetime(texts.mask(dots), errors="coerce", format="mixed", utc=True)
    if dots.any():
        days_first = pd.to_datetime(texts.where(dots), errors="coerce", format="mixed", dayfirst=True, utc=True)
        found = found.fillna(days_first)
    return found.mask(wrong)
