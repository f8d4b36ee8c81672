"""Checks of the columns of a table: names, numbers, categories, dates, missing values and leaks of the target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir.data.dates import ORDER, parse_dates
from dir.data.number_texts import is_number, missing_advice, number_advice
from dir.data.problems import Problems, list_setting, listed, show_rows, shown
from dir.data.tables import parse_numbers

# A column of text with more values is an identifier, a date or free text rather than a category.
MAX_CATEGORIES = 20
# With fewer distinct values a feature may have the order of the target by chance.
MIN_DISTINCT = 10
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?")


def require_columns(table: pd.DataFrame, names: Sequence[str], path: Path, option: str, advice: str = "") -> None:
    """Raise a ValueError if the table lacks one of the columns; the message lists the columns that it has."""
    problems = Problems(str(path))
    find_columns(table, names, option, problems, advice)
    problems.raise_all()


def select_columns(
    raw: pd.DataFrame,
    given: Mapping[str, Sequence[str]],
    targets: Sequence[str],
    apart: Sequence[str],
    hint: str,
    problems: Problems,
) -> pd.DataFrame:
    """Return the features and the target of a training file, after a check of every column that the settings name.

    Args:
        raw: the file.
        given: columns that the settings name, by config key; those of ``data.drop`` are left out.
        targets: columns of the labels.
        apart: columns with another role, which are no features.
        hint: advice if a column is not there.
        problems: gets the problems.

    Raises:
        ValueError: with all columns that the file lacks, or if no feature is left.
    """
    for key, names in given.items():
        find_columns(raw, names, key, problems, hint)
    problems.raise_all()
    table = raw.drop(columns=list({*given["data.drop"], *apart}))
    if not set(table.columns) - set(targets):
        beside = f" and {listed(apart)}" if apart else ""
        named = f"target {targets[0]!r}" if len(targets) == 1 else f"targets {listed(targets)}"
        problems.add(f"no column is left besides the {named}{beside}")
    problems.raise_all()
    return table


def find_columns(
    table: pd.DataFrame, names: Sequence[str], option: str, problems: Problems, advice: str = ""
) -> None:
    """Add the columns that the table lacks to the problems."""
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        problems.add(f"no column {listed(lacking)} ({option}; found: {listed(table.columns)})", advice)


def as_numbers(column: pd.Series[Any], where: str) -> pd.Series[Any]:
    """Return a column as float64, missing values as NaN.

    Raises:
        ValueError: for text and infinite numbers; the rows are named.
    """
    problems = Problems(where)
    numbers = find_numbers(column, problems)
    problems.raise_all()
    return numbers


def find_numbers(column: pd.Series[Any], problems: Problems) -> pd.Series[Any]:
    """Return a column as float64; add text and infinite numbers to the problems."""
    numbers = parse_numbers(column)
    # Inputs are trained on in float32, in which larger numbers are infinite.
    large = np.abs(numbers.to_numpy()) > np.finfo(np.float32).max
    wrong = (numbers.isna() & column.notna()).to_numpy() | large
    if wrong.any():
        advice = number_advice(column.dropna().astype(str))
        texts = wrong & ~is_number(column).to_numpy()
        if texts.any() and not texts[wrong].all():
            # A text among numbers, which pandas has then left as they are written.
            wrong, advice = texts, missing_advice(column[texts])
        rows = np.flatnonzero(wrong)
        problems.add(
            f"column {shown(column.name)}: {len(rows)} values are not finite numbers, the first is "
            f"{shown(column.iloc[rows[0]])}; rows {show_rows(rows)}",
            advice,
        )
    return numbers


def is_text(column: pd.Series[Any]) -> bool:
    """Return whether a column holds other values than numbers and missing values."""
    return not (pd.api.types.is_numeric_dtype(column) or column.isna().all())


def guess_categories(table: pd.DataFrame, problems: Problems) -> list[str]:
    """Return the columns of text with few values; add other columns of text to the problems."""
    found = []
    for name in table.columns:
        column = table[name].dropna()
        if not is_text(column):
            continue
        texts = column.astype(str)
        numbers = is_number(column)
        example = shown(column[~numbers].iloc[0] if not numbers.all() else column.iloc[0])
        # A setting with a long name is harder to read than its key.
        drop, dates, letters = (
            list_setting(f"data.{key}", [name]) if len(str(name)) < 60 else f"data.{key}"
            for key in ("drop", "dates", "letters")
        )
        if advice := number_advice(texts):
            problems.add(f"column {shown(name)}: numbers like {example} are read as text", advice)
        elif numbers.mean() >= 0.5:
            problem = f"column {shown(name)}: numbers, except for values like {example}"
            others = f"Otherwise correct them, or set {drop} or data.categorical=[...]."
            problems.add(problem, f"{missing_advice(column[~numbers])} {others}")
        elif texts.str.fullmatch(_DATE).mean() >= 0.9 and parse_dates(column).notna().mean() >= 0.3:
            problem = f"column {shown(name)}: dates like {example}"
            problems.add(problem, f"Set {dates} to use them as numbers, or {drop}.")
        elif column.nunique() > MAX_CATEGORIES:
            problem = f"column {shown(name)}: {column.nunique()} different texts like {example}"
            advice = f"Set {drop} or data.categorical=[...] (with all categorical columns)."
            if 2 * column.nunique() > len(column):
                # Most rows have a text of their own, so that its categories tell nothing about new rows.
                name_of = str(name) if re.fullmatch(r"\w+", str(name)) else "COLUMN"
                advice = (
                    f"Set {drop}. Or train on the texts (sentences, molecules as SMILES, ...) instead of the table: "
                    f"+experiment=text data.text={name_of}, see docs/own_data.md."
                )
            if texts.str.len().nunique() == 1:
                advice += f" If each character counts, set {letters}."
            problems.add(problem, advice)
        else:
            found.append(name)
    return found


def find_index_columns(table: pd.DataFrame, problems: Problems) -> None:
    """Add columns without a name, which are mostly the index of a saved frame, to the problems."""
    for name in table.columns:
        if re.fullmatch(r"Unnamed: \d+(_level_\d+)?", str(name)):
            numbers = parse_numbers(table[name]).to_numpy()
            counts = bool((np.diff(numbers) == 1).all())
            kind = "it counts the rows, as the index of a saved frame does" if counts else "its header is empty"
            problems.add(
                f"column {shown(name)} has no name; {kind}",
                f"Set {list_setting('data.drop', [name])}, or name the column.",
            )


def find_bad_dates(column: pd.Series[Any], problems: Problems) -> None:
    """Add the values of a column of dates that are no dates to the problems."""
    rows = np.flatnonzero((parse_dates(column).isna() & column.notna()).to_numpy())
    if len(rows):
        example = shown(column.iloc[rows[0]])
        problem = f"column {shown(column.name)}: {len(rows)} values are no dates, the first is {example}"
        advice = f"Correct them, or remove the column from data.dates. {ORDER}."
        problems.add(f"{problem}; rows {show_rows(rows)}", advice)


def find_letters(column: pd.Series[Any], problems: Problems, length: int | None = None) -> int:
    """Return the length of the texts of a column; add texts of another length to the problems.

    Args:
        column: texts, or missing.
        problems: gets the problem.
        length: the length to expect. None (default): the most frequent one.
    """
    lengths = column.astype("string").str.len().dropna().astype("int64")
    if length is None:
        length = int(lengths.mode().min()) if len(lengths) else 0
    wrong = lengths.index[lengths != length].to_numpy()
    if len(wrong) or not length:
        first = f", the first is {shown(column[wrong[0]])}; rows {show_rows(wrong)}" if len(wrong) else ""
        problem = (
            f"column {shown(column.name)}: expected texts of {length or 'one'} letters, {len(wrong)} differ{first}"
        )
        problems.add(problem, "Correct these rows, or remove the column from data.letters.")
    return length


def find_missing(table: pd.DataFrame, targets: Sequence[str], missing: str, problems: Problems) -> pd.DataFrame:
    """Apply the policy for missing values: "refuse", "median" (features only, filled in later) or "drop".

    A row that lacks the label of one of several targets is such a row.

    Returns:
        the table, without rows with missing values if ``missing="drop"``. Missing values that the policy does not
        cover are added to the problems.
    """
    gone = table.isna()
    if missing == "drop":
        kept = table[~gone.any(axis=1).to_numpy()]
        if kept.empty:
            problems.add("every row has a missing value", "Set data.missing=median, or data.drop.")
        return kept
    watched = [name for name in table.columns if missing != "median" or name in targets]
    for name in watched:
        if gone[name].any():
            rows = show_rows(np.flatnonzero(gone[name].to_numpy()))
            fill = "data.missing=drop leaves out these rows."
            advice = fill if name in targets else f"data.missing=median fills in numbers, {fill}"
            problems.add(f"column {shown(name)}: missing values in rows {rows}", advice)
    return table


def find_leaks(table: pd.DataFrame, features: Sequence[str], target: str, problems: Problems) -> None:
    """Add numeric features that equal the target, or rise or fall with it in every row, to the problems.

    A rounded, clipped or binned copy of the target repeats values, and still never falls while the target rises.
    """
    for name in features:
        kind = leak_of(table[name].to_numpy(np.float64), table[target].to_numpy(np.float64))
        if kind:
            advice = f"Set {list_setting('data.drop', [name])}, or data.leaks=allow if this is intended."
            problems.add(f"column {shown(name)} {kind} {shown(target)}: it leaks the label", advice)


def leak_of(feature: NDArray[np.float64], label: NDArray[np.float64]) -> str:
    """Return "equals the target" or "is a monotone function of the target"; or "" for a feature that is neither.

    Rows with a missing value are ignored.
    """
    both = ~(np.isnan(feature) | np.isnan(label))
    feature, label = feature[both], label[both]
    # A few rows out of order tell most features apart from a leak; sorting all rows is slow for many windows.
    few = slice(None, None, max(1, len(label) // 500))
    if not any(_in_order(sign * feature[few], label[few]) for sign in (1, -1)):
        return ""
    if min(len(np.unique(feature)), len(np.unique(label))) < MIN_DISTINCT:
        return ""
    if np.array_equal(feature, label):
        return "equals the target"
    if never_falls(feature, label) or never_falls(-feature, label):
        return "is a monotone function of the target"
    return ""


def never_falls(feature: NDArray[Any], label: NDArray[Any]) -> bool:
    """Return whether each label is at least as large as the labels of all smaller features.

    Equal features may have different labels, if these explain at most half of the variance of the labels: two
    unrelated columns that are mostly zero also have this order.

    Example:
        >>> never_falls(np.array([1.0, 1.0, 2.0]), np.array([0.0, 1.0, 9.0]))
        True
        >>> never_falls(np.array([1.0, 1.0, 2.0]), np.array([0.0, 9.0, 8.0]))
        False
    """
    if not _in_order(feature, label):
        return False
    _, group, size = np.unique(feature, return_inverse=True, return_counts=True)
    means = np.bincount(group, label) / size
    return bool(np.square(label - means[group]).sum() <= 0.5 * np.square(label - label.mean()).sum())


def _in_order(feature: NDArray[Any], label: NDArray[Any]) -> bool:
    # Sorted by feature and then by label, the labels of a larger feature start where those of the smaller one end.
    return bool((np.diff(label[np.lexsort((label, feature))]) >= 0).all())
