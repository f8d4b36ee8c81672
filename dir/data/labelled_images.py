"""LabelledImages: picture files and any numeric label, listed in a csv of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch.utils.data import Dataset
from torchvision.transforms import v2

from dir._checks import check_choice, check_integer, message
from dir.data.csv_images import CsvImages
from dir.data.csv_reading import as_options, read_table, sniff
from dir.data.describe import shared_rows
from dir.data.image_files import PICTURES
from dir.data.problems import Problems, listed, show_rows, shown
from dir.data.splits import SPLITS, Names, check_share, read_split, refuse_shared_groups
from dir.data.table_checks import find_columns, find_numbers
from dir.data.table_splits import split_copies
from dir.data.target_names import target_setting, varied_target_values

FILE_COLUMNS = ("path", "file", "filename", "file_name", "image", "picture")
FETCH = "Give a csv file with a header, a column of picture files (data.file_column) and a number (data.target)."


class LabelledImages(CsvImages):
    """Picture files and a number for each, listed in a csv file.

    Training pictures are resized to a square, moved by up to ``padding`` pixels and mirrored as ``flip`` says, and
    scaled to [-1, 1]; the others are resized and scaled. Splits that are not given by a column are drawn over the
    *distinct* pictures: copies of a file are in the same split.

    Args:
        csv: file with a header.
        target: column to predict, a number; or a list of several.
        path: folder that the file names start from. None (default): the folder of the csv.
        file_column: column of the file names. None (default): the column named path, file, filename, file_name, image
            or picture, or the only column of file names; the data report says which.
        split_column: column of the splits: train, val (or dev, valid, validation, trial) and test, or 0, 1, 2. None
            (default): splits are drawn by the seed.
        split: "balanced" (default): val and test are balanced over the label range; or "random". Only without
            ``split_column`` and ``group``.
        share: largest share of the distinct pictures for val, and for test; in (0, 0.33]. Default 0.13.
        group: column of identities (people, patients, sites). Whole groups are drawn by the seed and ``split`` is
            ignored; with ``split_column`` a group in two splits is refused. None (default): pictures are drawn.
        split_bins: number of bins of the balanced split if labels are not whole numbers. Default 50.
        image_size: side of the resized pictures. Default 96.
        padding: largest move of a training picture in pixels; its border is repeated. Default 4.
        flip: "none" (default), "horizontal" or "both": mirror images of training pictures. Labels such as angles and
            positions change with the picture, and need "none".
        sep, decimal, thousands, encoding, na_values, quoting: how the csv is written; see
            :class:`~dir.data.csv_reading.CsvOptions`.
        cache_dir, check_images, outside, fetch: see :class:`~dir.data.CsvImages`.
        batch_size, eval_batch_size, num_workers, seed: see :class:`~dir.data.base.RegressionData`.

    Shape:
        A batch is (float32 [N, 3, image_size, image_size] in [-1, 1], float32 [N], or [N, K] of K targets).

    Raises:
        FileNotFoundError: if there is no csv file or folder, or if pictures are missing or broken; the message lists
            the first 20 and their number.
        ValueError: for missing columns, labels that are no finite numbers, missing identities, unknown splits, and
            paths that lead out of the folder. Rows are named.
    """

    target_key = "data.target"

    def __init__(
        self,
        csv: str,
        target: str | Sequence[str],
        path: str | None = None,
        file_column: str | None = None,
        split_column: str | None = None,
        split: Literal["balanced", "random"] = "balanced",
        share: float = 0.13,
        group: str | None = None,
        split_bins: int = 50,
        image_size: int = 96,
        padding: int = 4,
        flip: Literal["none", "horizontal", "both"] = "none",
        sep: str = ",",
        decimal: str = ".",
        thousands: str | None = None,
        encoding: str = "utf-8",
        na_values: tuple[str, ...] = (),
        quoting: str = "minimal",
        cache_dir: str | None = None,
        check_images: bool = True,
        outside: bool = False,
        fetch: str = FETCH,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        folder = str(Path(csv).parent) if path is None else path
        super().__init__(
            *(csv, folder, target, group, share, image_size, padding, cache_dir, check_images, outside, fetch),
            *(batch_size, eval_batch_size, num_workers, seed),
        )
        check_choice("data.split", split, ("balanced", "random"))
        check_choice("data.flip", flip, ("none", "horizontal", "both"))
        check_share(share)
        check_integer("data.split_bins", split_bins)
        for key, name in (("file_column", file_column), ("split_column", split_column), ("group", group)):
            if name in self.targets:
                raise ValueError(message(f"data.{key}", "expected another column than data.target", name))
        self.csv_options = as_options(sep, decimal, thousands, encoding, na_values, quoting)
        self.given_file_column = file_column
        self.split_column = split_column
        self.split = split
        self.split_bins = split_bins
        moves = [v2.RandomCrop(image_size, padding=padding, padding_mode="edge")] if padding else []
        mirrors = [v2.RandomHorizontalFlip()] if flip != "none" else []
        mirrors += [v2.RandomVerticalFlip()] if flip == "both" else []
        self.augments = bool(moves or mirrors)
        self.augment = v2.Compose([*moves, *mirrors, self.plain])
        self._read_notes: list[str] = []
        self._notes: list[str] = []
        self._found: tuple[list[Path], list[bytes]] | None = None

    def build(self) -> dict[str, Dataset[Any]]:
        datasets = super().build()
        digests = self._digests(self._files(self._table()))
        self._notes = [*self._read_notes]
        for name, shared in shared_rows(digests, self._placed).items():
            if shared:
                self._notes.append(
                    f"pictures: {shared} of {len(self._placed[name])} {name} rows show a training picture."
                )
        return datasets

    def settings(self) -> dict[str, Any]:
        drawn = ("split", "share", "split_bins", "seed") if self.split_column is None else ()
        names = ("file_column", "split_column", "group", "image_size", *drawn)
        own = {"label": target_setting(self.targets)} | {name: getattr(self, name) for name in names}
        return own | self.csv_options.to_dict()

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "notes": self._notes}

    def encoding(self) -> dict[str, Any]:
        self.setup()
        return {**super().encoding(), "csv": self.csv_options.to_dict()}

    def _names(self, table: pd.DataFrame) -> Names:
        groups = None if self.group is None else table[self.group].to_numpy(dtype="U")
        if self.split_column is not None:
            where = f"{self.csv}: column {shown(self.split_column)}"
            names = read_split(table[self.split_column].to_numpy(dtype="U"), where, first_row=1)
            if groups is not None:
                refuse_shared_groups(names, groups, f"{self.csv}: column {shown(self.group)}")
            return names
        numbers: dict[bytes, int] = {}
        digests = self._digests(self._files(table))
        copies = np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], dtype=np.int64)
        labels = varied_target_values(table, self.targets)
        names = split_copies(copies, labels, self.split, self.share, self.split_bins, self.seed, groups)
        for name in SPLITS:
            if not (names == name).any():
                problem = f"{len(table)} pictures leave none for {name} with data.split={self.split}"
                advice = "Give more pictures, a larger data.share, fewer data.split_bins, or data.split=random."
                raise ValueError(message(str(self.csv), f"{problem} and data.share={self.share}", advice=advice))
        return names

    def _digests(self, files: list[Path]) -> list[bytes]:
        """Return a hash of each file, computed once: splits and row ids both need it."""
        if self._found is None or self._found[0] != files:
            self._found = files, super()._digests(files)
        return self._found[1]

    def _table(self) -> pd.DataFrame:
        if not self.csv.is_file():
            raise FileNotFoundError(message("data.csv", f"file {self.csv} not found", advice=self.fetch))
        if not self.path.is_dir():
            raise FileNotFoundError(message("data.path", f"folder {self.path} not found", advice=self.fetch))
        given = [name for name in (self.given_file_column, self.split_column, self.group) if name is not None]
        table = read_table(self.csv, "data.csv", self.csv_options, text=given)
        problems = Problems(str(self.csv))
        hint = sniff(self.csv, self.csv_options)
        others = {"file_column": self.given_file_column, "split_column": self.split_column, "group": self.group}
        wanted = {f"data.{key}": [name] for key, name in others.items() if name is not None}
        for option, columns in ({"data.target": list(self.targets)} | wanted).items():
            find_columns(table, columns, option, problems, hint)
        problems.raise_all()
        self._read_notes = []
        self.file_column = self._find_file_column(table)
        if self.split_column is None and "split" in table and "split" not in given:
            note = "splits: drawn, although the csv has a column 'split'. data.split_column=split reads the column."
            self._read_notes.append(note)
        labels = {target: find_numbers(table[target], problems) for target in self.targets}
        for name in dict.fromkeys([*self.targets, self.file_column, *given]):
            gone = np.flatnonzero(table[name].isna().to_numpy())
            if len(gone):
                problems.add(f"column {shown(name)}: missing values in rows {show_rows(gone)}")
        problems.raise_all()
        return table.assign(**labels)

    def _find_file_column(self, table: pd.DataFrame) -> str:
        """Return the column of the picture files: the given one, one of a usual name, or the only one of files."""
        if self.given_file_column is not None:
            return self.given_file_column
        others = {*self.targets, self.group}
        usual = [name for name in FILE_COLUMNS if name in table and name not in others]
        texts = [name for name in table if pd.api.types.is_string_dtype(table[name]) and name not in others]
        named = [name for name in texts if table[name].dropna().str.lower().str.endswith(PICTURES).all()]
        found = usual or named
        if len(found) != 1:
            problem = f"no single column of picture files (found: {listed(found or table.columns)})"
            raise ValueError(message(str(self.csv), problem, advice="Set data.file_column=COLUMN."))
        self._read_notes.append(f"pictures: column {shown(found[0])} names the files.")
        return str(found[0])
