"""Texts of a column that are numbers in another format, and texts among numbers: what to set."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from dir.data.problems import list_setting
from dir.data.tables import parse_numbers

_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}([,.' ])\d{3}(\1\d{3})*([.,]\d+)?\s*")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
# A number in any of the formats that the settings of a csv can name.
_NUMBER = re.compile(rf"{_THOUSANDS.pattern}|{_DECIMAL_COMMA.pattern}")


def is_number(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return which values are numbers, also with other separators than those of the options."""
    return parse_numbers(column).notna() | column.astype("string").str.fullmatch(_NUMBER).fillna(False).astype(bool)


def missing_advice(texts: pd.Series[Any]) -> str:
    """Return the setting that makes these texts missing values."""
    values = list(dict.fromkeys(texts.astype(str)))
    few = list_setting("data.na_values", values) if len(values) <= 3 else "data.na_values=[...]"
    return f"If they stand for missing values, set {few}."


def number_advice(texts: pd.Series[Any]) -> str:
    """Return advice if the texts are numbers with other separators than those of the options."""
    if not len(texts):
        return ""
    plain = texts.str.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*")
    comma, thousands = texts.str.fullmatch(_DECIMAL_COMMA), texts.str.fullmatch(_THOUSANDS)
    groups = texts[thousands & ~plain].str.extract(_THOUSANDS)[0].unique()
    if len(groups) == 1 and bool((plain | thousands).all()):
        sep = groups[0]
        either = " (or data.decimal=',' if the comma is a decimal comma)" if bool((comma | plain).all()) else ""
        return f"Set data.thousands={sep!r}{either}."
    if bool((comma | plain).all()) and bool(comma.any()):
        return "Set data.decimal=','."
    return ""
