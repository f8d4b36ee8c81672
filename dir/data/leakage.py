"""Leakage: groups of rows (identities, sentence pairs) that two splits share."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from dir._checks import message
from dir.data.csv_reading import read_table
from dir.data.splits import SPLITS, read_split
from dir.data.stsb import FILES, read_stsb
from dir.data.table_checks import require_columns

_AGEDB = re.compile(r"[^_]+_(.+)_\d+_[^_]+")


@dataclass(frozen=True)
class Leakage:
    """Groups of one split that another split also has, and their rows.

    ``shared_groups`` of ``groups`` groups in ``split``, with ``shared_rows`` of its ``rows`` rows.
    """

    split: str
    other: str
    groups: int
    shared_groups: int
    rows: int
    shared_rows: int

    def __str__(self) -> str:
        return (
            f"{self.split}: {self.shared_groups} of {self.groups} groups are also in {self.other}, with "
            f"{self.shared_rows} of {self.rows} rows"
        )


def leakage(groups: Mapping[str, Sequence[Hashable]]) -> list[Leakage]:
    """Return the groups that val and test share with train, and test with val.

    Args:
        groups: group of each row, by split (train, val, test).

    Example:
        >>> print(leakage({"train": ["a", "b"], "val": ["c"], "test": ["a", "a", "d"]})[1])
        test: 1 of 2 groups are also in train, with 2 of 3 rows
    """
    found = []
    for split, other in (("val", "train"), ("test", "train"), ("test", "val")):
        own, theirs = groups[split], set(groups[other])
        shared = set(own) & theirs
        rows = sum(group in shared for group in own)
        found.append(Leakage(split, other, len(set(own)), len(shared), len(own), rows))
    return found


def agedb_identity(path: str) -> str:
    """Return the person in a picture of AgeDB, from its file name ``id_name_age_gender.jpg``.

    Raises:
        ValueError: for a name of another form.

    Example:
        >>> agedb_identity("AgeDB/11706_OliviaHussey_31_f.jpg")
        'OliviaHussey'
    """
    match = _AGEDB.fullmatch(PurePosixPath(path).stem)
    if match is None:
        raise ValueError(message("path", "expected a name of the form id_name_age_gender.jpg", path))
    return match[1]


def csv_groups(path: Path, column: str) -> tuple[dict[str, list[Hashable]], pd.DataFrame]:
    """Return the groups of a csv of images by split, and its table.

    Args:
        path: csv with the columns path and split.
        column: column of the groups. "identity" is read from AgeDB's file names if the csv has no such column.
    """
    table = read_table(path, "csv")
    require_columns(table, ["path", "split"], path, "csv")
    if column == "identity" and column not in table:
        table["identity"] = [agedb_identity(str(name)) for name in table["path"]]
    require_columns(table, [column], path, "group")
    names = read_split(table["split"].to_numpy(dtype="U"), where=f"{path}: column 'split'", first_row=1)
    return {split: table[column][names == split].tolist() for split in SPLITS}, table


def stsb_groups(folder: Path) -> dict[str, list[Hashable]]:
    """Return the sentence pairs of the STS-B-DIR files by split, whatever the order of the two sentences."""
    pairs = {split: read_stsb(folder / name) for split, name in FILES.items()}
    return {
        split: [frozenset(pair) for pair in zip(part.first, part.second, strict=True)]
        for split, part in pairs.items()
    }
