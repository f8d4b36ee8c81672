"""Reading of one or two columns of text, a label and the splits from a csv or tsv file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._checks import message
from dir.data.csv_reading import CsvOptions, read_cells, read_table, sniff
from dir.data.problems import Problems, show_rows, shown
from dir.data.splits import Names, read_split, refuse_shared_groups
from dir.data.table_checks import find_columns, find_numbers
from dir.data.target_names import target_values


@dataclass(frozen=True)
class Texts:
    """The rows of a file.

    Attributes:
        columns: the texts of each text column, [N] each.
        labels: float64 [N], or [N, K] of several targets.
        split: split of each row, or None if the file gives none.
        groups: identity of each row, or None if the file gives none.
    """

    columns: list[list[str]]
    labels: NDArray[np.float64]
    split: Names | None
    groups: NDArray[np.str_] | None

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts of each row, [N]."""
        return list(zip(*self.columns, strict=True))

    def copies(self) -> NDArray[np.int64]:
        """Return the number of the distinct texts of each row, in the order of their first appearance."""
        numbers: dict[tuple[str, ...], int] = {}
        return np.array([numbers.setdefault(row, len(numbers)) for row in self.rows], dtype=np.int64)


def text_columns(text: Any) -> list[str]:
    """Return the names of one or two text columns, given as one name or as a list.

    Raises:
        ValueError: for another number of names, or a name that occurs twice.

    Example:
        >>> text_columns("sentence"), text_columns(["token", "sentence"])
        (['sentence'], ['token', 'sentence'])
    """
    names = [text] if isinstance(text, str) else list(text) if isinstance(text, Sequence) else [text]
    if len(names) not in (1, 2) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        advice = "Set data.text=COLUMN or data.text=[FIRST,SECOND]."
        raise ValueError(message("data.text", "expected the name of one column, or of two columns", names, advice))
    return names


def read_texts(
    path: Path,
    text: Sequence[str],
    targets: Sequence[str],
    split_column: str | None,
    group: str | None,
    options: CsvOptions,
) -> Texts:
    """Read a file of texts and numbers.

    Cells of text are taken as they stand: the word "null" is a text, and a quotation mark belongs to its text with
    ``quoting="none"``.

    Args:
        path: file with a header.
        text: columns of text.
        targets: columns of the labels.
        split_column: column of the splits, see :func:`dir.data.splits.read_split`; None for none.
        group: column of identities; None for none.
        options: how the file is written.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for missing columns, empty texts, labels that are no finite numbers, missing identities, unknown
            splits, and identities in two of the file's splits. All problems are listed, with their rows (counted
            from 1 below the header).
    """
    others = {"data.split_column": split_column, "data.group": group}
    named = {name for name in others.values() if name is not None}
    table = read_table(path, "data.path", options, text=sorted(named), verbatim=text)
    if options.quoting == "minimal":
        check_quoting(path, options)
    problems = Problems(str(path))
    hint = sniff(path, options)
    wanted = {"data.text": list(text), "data.target": list(targets)} | {key: [n] for key, n in others.items() if n}
    for option, names in wanted.items():
        find_columns(table, names, option, problems, hint)
    problems.raise_all()
    for name in text:
        empty = np.array([not cell.strip() for cell in table[name]], dtype=bool)
        if empty.any():
            problem = f"column {shown(name)}: no text in rows {show_rows(np.flatnonzero(empty))}"
            problems.add(problem, "Fill in these texts, or remove the rows from a copy of the file.")
    labels = table.assign(**{name: find_numbers(table[name], problems) for name in targets})
    for name in (*targets, *sorted(named)):
        gone = np.flatnonzero(table[name].isna().to_numpy())
        if len(gone):
            problems.add(f"column {shown(name)}: missing values in rows {show_rows(gone)}")
    problems.raise_all()
    split = None
    if split_column is not None:
        where = f"{path}: column {shown(split_column)}"
        split = read_split(table[split_column].to_numpy(dtype="U"), where, first_row=1)
    groups = None if group is None else table[group].to_numpy(dtype="U")
    if split is not None and groups is not None:
        refuse_shared_groups(split, groups, f"{path}: column {shown(group)}")
    columns = [table[name].tolist() for name in text]
    return Texts(columns, target_values(labels, targets), split, groups)


def check_quoting(path: Path, options: CsvOptions) -> None:
    """Raise a ValueError if quotation marks seem to be part of the texts: they would join rows or lose characters."""
    advice = "Set data.quoting=none if quotation marks are part of the texts."
    try:
        with path.open(newline="", encoding=options.codec) as stream:
            for _ in csv.reader(stream, delimiter=options.sep, strict=True):
                pass
    except csv.Error as error:
        problem = f"quotation marks that neither enclose a text nor are doubled within one ({error})"
        raise ValueError(message(str(path), problem, advice=advice)) from error
    rows = len(read_cells(path, options)[1])
    header, lines, _ = read_cells(path, replace(options, quoting="none"))
    if len(lines) > rows and all(len(line) == len(header) for line in lines):
        problem = f"{rows} rows below the header, and {len(lines)} rows if quotation marks are part of the texts"
        raise ValueError(message(str(path), problem, advice=advice))
