"""Preparation of the csv files of the age benchmarks, from the folders that their authors distribute.

AgeDB-DIR: ``id_name_age_gender.jpg`` (``11706_OliviaHussey_31_f.jpg``), the name without a digit, gender m or f.

UTKFace: ``age_gender_race_datetime.jpg`` (``50_0_0_20170117135638318.jpg``); the race is missing in a few names.

IMDB-WIKI-DIR: ``..._birthday_year.jpg`` (``nm0000001_rm124825600_1899-5-10_1968.jpg``,
``10000217_1981-05-05_2009.jpg``): the age is that on 1 July of the year in which the picture was taken. If
the folder holds the archives' ``imdb.mat`` and ``wiki.mat``, faces with a detector score below 1 and pictures with a
second face are left out, as in the paper. Without these files all pictures are taken.

Splits: of the n pictures of an age, ``min(cap, n // 3)`` go to val and as many to test; the cap is 30 for AgeDB-DIR
and UTKFace, and 150 for IMDB-WIKI-DIR. This gives the published counts for each age of AgeDB-DIR and IMDB-WIKI-DIR.
The pictures differ from the published ones (whose order came from a directory listing): use the published csv to
compare with published numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd
from scipy.io import loadmat

from dir._checks import check_choice, message
from dir.data.splits import balanced_split

Benchmark = Literal["agedb", "imdb_wiki", "utkface"]
SHOWN = 20  # names of pictures in a report

CAPS = {"agedb": 30, "imdb_wiki": 150, "utkface": 30}
FORMS = {
    "agedb": "id_name_age_gender.jpg",
    "imdb_wiki": "..._year-month-day_year.jpg",
    "utkface": "age_gender_race_datetime.jpg",
}
MAX_AGE = 130
MIN_FACE_SCORE = 1.0
_AGEDB = re.compile(r"\d+_\D+_(\d+)_[mf]", re.IGNORECASE)
_UTKFACE = re.compile(r"(\d+)_[01](?:_[0-4])?_\d{8,}(?:\.jpg\.chip)?")
_IMDB_WIKI = re.compile(r".+_(\d+)-(\d+)-(\d+)_(\d+)")


@dataclass
class Prepared:
    """Result of :func:`prepare`: table with the columns age, path and split; pictures left out, by reason."""

    table: pd.DataFrame
    left_out: dict[str, list[str]]

    def report(self) -> str:
        """Return how many pictures were left out for each reason, with the first names."""
        parts = []
        for reason, names in self.left_out.items():
            more = ", ..." if len(names) > SHOWN else ""
            parts.append(f"{reason}: {len(names)} ({', '.join(names[:SHOWN])}{more})")
        return "; ".join(parts) or "none"


def agedb_age(stem: str) -> int | None:
    """Return the age in an AgeDB file name without its suffix, or None for a name of another form.

    Example:
        >>> agedb_age("11706_OliviaHussey_31_f"), agedb_age("50_0_0_20170117135638318")
        (31, None)
    """
    match = _AGEDB.fullmatch(stem)
    return int(match[1]) if match else None


def utkface_age(stem: str) -> int | None:
    """Return the age in a UTKFace file name without its suffix, or None for a name of another form.

    Example:
        >>> utkface_age("50_0_0_20170117135638318"), utkface_age("11706_OliviaHussey_31_f")
        (50, None)
    """
    match = _UTKFACE.fullmatch(stem)
    return int(match[1]) if match else None


def imdb_wiki_age(stem: str) -> int | None:
    """Return the age on 1 July of the year in an IMDB or WIKI file name, or None for a name of another form.

    A birthday without a known month (0) counts as a birthday in the first half of the year.

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
    """Return the paths, relative to ``images``, that the archives' face scores rule out; none without these files."""
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


def prepare(name: Benchmark, images: Path, seed: int) -> Prepared:
    """Read a benchmark's ages from its file names and draw balanced splits.

    Args:
        name: "agedb", "imdb_wiki" or "utkface".
        images: folder of the pictures, which may lie in subfolders; the paths in the csv are relative to it.
        seed: draws the splits; the same folder and seed give the same table.

    Returns:
        the table, and the pictures that were left out, by reason.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: for another name, and for a folder without a picture whose name has the expected form.
    """
    check_choice("name", name, sorted(CAPS))
    if not images.is_dir():
        raise FileNotFoundError(message("--images", f"folder {images} not found"))
    read_age = {"agedb": agedb_age, "imdb_wiki": imdb_wiki_age, "utkface": utkface_age}[name]
    rejected = rejected_faces(images) if name == "imdb_wiki" else set()
    other_form, wrong_age, face_scores = "name of another form", f"age outside 0..{MAX_AGE}", "face scores"
    left_out: dict[str, list[str]] = {other_form: [], wrong_age: [], face_scores: []}
    rows: list[tuple[int, str]] = []
    for file in sorted(images.rglob("*")):
        if file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        path = file.relative_to(images).as_posix()
        age = read_age(file.stem)
        if age is None:
            left_out[other_form].append(path)
        elif not 0 <= age <= MAX_AGE:
            left_out[wrong_age].append(path)
        elif path in rejected:
            left_out[face_scores].append(path)
        else:
            rows.append((age, path))
    if not rows:
        found = Prepared(pd.DataFrame(), {reason: names for reason, names in left_out.items() if names}).report()
        problem = f"{images} has no usable picture with a name like {FORMS[name]}; left out: {found}"
        raise ValueError(message("--images", problem, advice=_other_benchmark(name, left_out[other_form])))
    table = pd.DataFrame(rows, columns=["age", "path"])
    table["split"] = balanced_split(table["age"].to_numpy(np.int64), CAPS[name], seed)
    return Prepared(table, {reason: names for reason, names in left_out.items() if names})


def _other_benchmark(name: str, paths: list[str]) -> str:
    """Return the advice to prepare another benchmark, if the names have its form."""
    stems = [PurePosixPath(path).stem for path in paths[:SHOWN]]
    for other, read_age in (("agedb", agedb_age), ("imdb_wiki", imdb_wiki_age), ("utkface", utkface_age)):
        if other != name and any(read_age(stem) is not None for stem in stems):
            return f"The names are those of {other}: run prepare_data.py {other}."
    return ""


def prepare_csv(name: Benchmark, images: Path, out: Path, seed: int = 0, force: bool = False) -> Prepared:
    """Write the table of :func:`prepare` as a csv file.

    Raises:
        FileExistsError: if ``out`` exists and ``force`` is not set; the folder is not read then.
    """
    if out.exists() and not force:
        raise FileExistsError(
            message("--out", f"{out} exists", advice="Choose another file, or add --force to overwrite it.")
        )
    prepared = prepare(name, images, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    prepared.table.to_csv(out, index=False, lineterminator="\n")
    return prepared
