"""Files of inputs for scripts/predict.py: the inputs of a model, and the columns that identify the rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dir._archives import read_npz
from dir._checks import message
from dir.bundle.arguments import DIALECT, check_input
from dir.bundle.inputs.images import ImageInputs
from dir.bundle.inputs.tables import TableInputs
from dir.bundle.inputs.texts import COLUMNS, TextInputs
from dir.bundle.model import Model
from dir.data.csv_reading import CsvOptions, read_table, sniff, without_zero_bytes
from dir.data.image_files import PICTURES
from dir.data.table_checks import require_columns


@dataclass(frozen=True)
class InputFile:
    """Inputs of a file, and the columns of the file that the model does not use, one row per input."""

    inputs: Any
    keys: pd.DataFrame
    # Column of the pictures' files.
    column: str = "path"


def read_inputs(model: Model, path: Path, pictures: Path | None = None) -> InputFile:
    """Read a csv, an npz, a tsv or a folder of pictures, as the model's kind of input needs.

    Args:
        model: model that predicts.
        path: the file or folder.
        pictures: folder of the pictures that a csv names. Default: the folder of the csv.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a file of another form, or without rows; ``pictures`` for inputs that name no files.
    """
    check_input(path)
    encoder = model.encoder
    if pictures is not None:
        if not isinstance(encoder, ImageInputs) or path.is_dir() or path.suffix == ".npz":
            problem = "only a csv that names pictures has a folder of pictures"
            raise ValueError(message("data.path", problem, str(pictures), "Remove data.path."))
        if not pictures.is_dir():
            raise FileNotFoundError(message("data.path", "no such folder", str(pictures)))
    if isinstance(encoder, TableInputs):
        return _table(encoder, path)
    if isinstance(encoder, ImageInputs):
        return _images(encoder, path, pictures or path.parent)
    if isinstance(encoder, TextInputs):
        return _pairs(path) if encoder.csv is None else _texts(encoder, encoder.csv, path)
    found = _npz(path, "inputs")
    return InputFile(found, pd.DataFrame(index=range(len(found))))


def set_dialect(model: Model, given: Mapping[str, str]) -> None:
    """Let the model read csv files that are written in another way than those of its run.

    Args:
        model: its encoder takes the options.
        given: arguments by name, of which those of :data:`~dir.bundle.arguments.DIALECT` count.

    Raises:
        ValueError: the files of the model's inputs have no such options, or an option cannot be used.
    """
    dialect: dict[str, Any] = {DIALECT[key]: value for key, value in given.items() if key in DIALECT}
    if not dialect:
        return
    encoder = model.encoder
    if encoder.csv is None:
        advice = "Remove the argument: the files of the model's inputs have one form."
        raise ValueError(message(f"data.{next(iter(dialect))}", "no csv option of this model", advice=advice))
    encoder.csv = replace(encoder.csv, **dialect)


def _table(encoder: TableInputs, path: Path) -> InputFile:
    # Categories are read as text: "01" in a file of numbers alone would otherwise become 1.
    frame = read_table(path, "input", encoder.csv, [*encoder.encoder.categories, *encoder.letters])
    require_columns(frame, encoder.needed, path, "a column of the model", sniff(path, encoder.csv))
    return InputFile(frame, frame.drop(columns=[name for name in encoder.raw if name in frame]))


def _images(encoder: ImageInputs, path: Path, folder: Path) -> InputFile:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES)
        if not files:
            raise ValueError(message("input", f"no pictures ({', '.join(PICTURES)}) in the folder", str(path)))
        return InputFile(files, pd.DataFrame({"path": [str(file.relative_to(path)) for file in files]}))
    if path.suffix == ".npz":
        pictures = _npz(path, encoder.key)
        first, last = (encoder.channels, *encoder.size), (*encoder.size, encoder.channels)
        if pictures.ndim == 4 and pictures.shape[1:] == first != last:
            pictures = pictures.transpose(0, 2, 3, 1)
        return InputFile(pictures, pd.DataFrame(index=range(len(pictures))))
    column = "path"
    if encoder.csv is None:
        frame = _csv(path, ",", {column: str})
        if column not in frame:
            raise ValueError(message(str(path), f"no column 'path' (found: {list(frame.columns)})"))
    else:
        column = encoder.key
        frame = read_table(path, "input", encoder.csv, [column])
        require_columns(frame, [column], path, "a column of the model", sniff(path, encoder.csv))
    # An empty cell names no file, and is reported as such.
    files = [folder / name if isinstance(name, str) else Path() for name in frame[column]]
    return InputFile(files, frame, column)


def _pairs(path: Path) -> InputFile:
    frame = _csv(path, "," if path.suffix == ".csv" else "\t", dict.fromkeys(COLUMNS, str))
    lacking = [name for name in COLUMNS if name not in frame]
    if lacking:
        raise ValueError(message(str(path), f"no column {lacking[0]!r} (found: {list(frame.columns)})"))
    return InputFile(frame[list(COLUMNS)], frame)


def _texts(encoder: TextInputs, options: CsvOptions, path: Path) -> InputFile:
    frame = read_table(path, "input", options, verbatim=encoder.columns)
    require_columns(frame, encoder.columns, path, "a column of the model", sniff(path, options))
    return InputFile(frame[list(encoder.columns)], frame)


def _csv(path: Path, sep: str, text: dict[str, Any]) -> pd.DataFrame:
    """Read a file with a header; a row with another number of fields is an error that names the row."""
    # Nothing is quoted in a tsv of sentences: a quotation mark is a character of its sentence.
    quoting: Any = csv.QUOTE_NONE if sep == "\t" else csv.QUOTE_MINIMAL
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(without_zero_bytes(stream, path), delimiter=sep, quoting=quoting)
            header = next(reader, [])
            wrong = [row for row, cells in enumerate((c for c in reader if c), 1) if len(cells) != len(header)]
        repeated = sorted({name for name in header if header.count(name) > 1})
        if wrong:
            problem = f"{len(wrong)} rows have another number of fields than the header's {len(header)}"
            raise ValueError(message(str(path), f"{problem}, the first is row {wrong[0]}"))
        if repeated:
            raise ValueError(message(str(path), f"the header names the column {repeated[0]!r} more than once"))
        frame: pd.DataFrame = pd.read_csv(
            path,
            sep=sep,
            quoting=quoting,
            dtype={name: kind for name, kind in text.items() if name in header},
            index_col=False,
            low_memory=False,
            encoding="utf-8-sig",
            keep_default_na=sep != "\t",
            na_values=[""],
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(message(str(path), f"cannot be read as a table ({error})")) from error
    if frame.empty:
        raise ValueError(message(str(path), "no rows below the header"))
    return frame


def _npz(path: Path, key: str) -> Any:
    if path.suffix != ".npz":
        raise ValueError(message("input", "expected a file with the suffix .npz", str(path)))
    return read_npz(path, [key])[key]
