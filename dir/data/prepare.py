"""The csv files of the age benchmarks, from the folders as their authors distribute them.

AgeDB-DIR: ``id_name_age_gender.jpg`` (``11706_OliviaHussey_31_f.jpg``): the age stands in the name.

IMDB-WIKI-DIR: ``..._birthday_year.jpg`` (``nm0000001_rm124825600_1899-5-10_1968.jpg``,
``10000217_1981-05-05_2009.jpg``): the age is that on 1 July of the year in which the picture was taken. Where
the folder holds the archives' ``imdb.mat`` and ``wiki.mat``, faces that their detector scored under 1, and
pictures with a second face, are left out, as in the paper; without these files every picture is taken.

Splits: of the n pictures of an age, ``min(cap, n // 3)`` go to val and as many to test; cap is 30 for AgeDB-DIR and
150 for IMDB-WIKI-DIR. This gives the published counts for every age; the pictures drawn differ from the published
ones (whose order came from a directory listing), so use the published csv to compare with published numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.io import loadmat

from dir.data.splits import balanced_split

CAPS = {"agedb": 30, "imdb_wiki": 150}
MAX_AGE = 120
MIN_FACE_SCORE = 1.0
_AGEDB = re.compile(r"[^_]+_.+_(\d+)_[^_]+")
_IMDB_WIKI = re.compile(r".+_(\d+)-(\d+)-(\d+)_(\d+)")


@dataclass
class Prepared:
    """What :func:`prepare` made: the table with the columns age, path, split, and what it left out and why."""

    table: pd.DataFrame
    left_out: dict[str, int]


def agedb_age(stem: str) -> int | None:
    """The age in an AgeDB file name without its suffix, or None if the name is not of that form.

    Example:
        >>> agedb_age("11706_OliviaHussey_31_f")
        31
    """
    match = _AGEDB.fullmatch(stem)
    return int(match[1]) if match else None


def imdb_wiki_age(stem: str) -> int | None:
    """The age on 1 July of the year in an IMDB or WIKI file name, or None if the name is not of that form.

    A birthday without a known month (0) counts as the year's first half, as 1 January does.

    Example:
        >>> imdb_wiki_age("nm0000001_rm124825600_1899-5-10_1968"), imdb_wiki_age("10000217_1981-08-05_2009")
        (69, 27)
    """
    match = _IMDB_WIKI.fullmatch(stem)
    if match is None:
        return None
    year, month, _, taken = (int(part) for part in match.groups())
    return taken - year - (month >= 7)


def rejected_faces(images: Path) -> set[str]:
    """Paths, relative to ``images``, that the archives' own face scores rule out; empty without their files."""
    rejected: set[str] = set()
    for meta in sorted(images.rglob("*.mat")):
        if meta.stem not in ("imdb", "wiki"):
            continue
        fields = loadmat(meta)[meta.stem][0, 0]
        score, second = fields["face_score"][0], fields["second_face_score"][0]
        folder = meta.parent.relative_to(images)
        for row in np.flatnonzero((score < MIN_FACE_SCORE) | (second > 0)):
            rejected.add((folder / str(fields["full_path"][0][row][0])).as_posix())
    return rejected


def prepare(name: Literal["agedb", "imdb_wiki"], images: Path, seed: int) -> Prepared:
    """Read a benchmark's ages from its file names and draw balanced splits.

    Args:
        name: "agedb" or "imdb_wiki".
        images: folder with the pictures, in folders of any depth; the csv's paths are relative to it.
        seed: draws the splits: the same folder and seed give the same table.

    Returns:
        the table, and how many pictures were left out for which reason.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: another name, or a folder without a single picture named as expected.
    """
    if name not in CAPS:
        raise ValueError(f"name must be one of {sorted(CAPS)}; got {name!r}")
    if not images.is_dir():
        raise FileNotFoundError(f"no folder {images}: give the folder with the pictures (--images)")
    read_age = agedb_age if name == "agedb" else imdb_wiki_age
    rejected = rejected_faces(images) if name == "imdb_wiki" else set()
    left_out = {"name of another form": 0, f"age outside 0..{MAX_AGE}": 0, "face scores": 0}
    rows: list[tuple[int, str]] = []
    for file in sorted(images.rglob("*")):
        if file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        path = file.relative_to(images).as_posix()
        age = read_age(file.stem)
        if age is None:
            left_out["name of another form"] += 1
        elif not 0 <= age <= MAX_AGE:
            left_out[f"age outside 0..{MAX_AGE}"] += 1
        elif path in rejected:
            left_out["face scores"] += 1
        else:
            rows.append((age, path))
    if not rows:
        form = "id_name_age_gender.jpg" if name == "agedb" else "..._year-month-day_year.jpg"
        raise ValueError(f"{images} holds no picture that could be used, named {form}; left out: {left_out}")
    table = pd.DataFrame(rows, columns=["age", "path"])
    table["split"] = balanced_split(table["age"].to_numpy(np.int64), CAPS[name], seed)
    return Prepared(table, {reason: count for reason, count in left_out.items() if count})


def prepare_csv(
    name: Literal["agedb", "imdb_wiki"], images: Path, out: Path, seed: int = 0, force: bool = False
) -> Prepared:
    """Write what :func:`prepare` makes as a csv file.

    Raises:
        FileExistsError: ``out`` is there and ``force`` is not set; the folder is not read then.
    """
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists: give another --out, or --force to overwrite it")
    prepared = prepare(name, images, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    prepared.table.to_csv(out, index=False, lineterminator="\n")
    return prepared
