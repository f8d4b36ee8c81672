"""MapFiles: pictures and maps of labels in files, two folders of equal names or a csv of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from dir._checks import as_integer, message
from dir.data.csv_reading import as_options, read_table, sniff
from dir.data.describe import shared_rows
from dir.data.file_maps import FileMaps, MapPair
from dir.data.image_files import PICTURES, files_inside
from dir.data.map_augment import Flip
from dir.data.map_reading import MAP_SUFFIXES, Fit
from dir.data.map_sources import LabelCode
from dir.data.maps import MapData
from dir.data.problems import Problems, listed, show_rows, shown
from dir.data.splits import VALIDATION, Names, check_share, group_split, read_split, refuse_shared_groups
from dir.data.table_checks import find_columns

_SPLIT_FOLDERS = ("train", "training", "val", *VALIDATION, "test", "testing")


class MapFiles(MapData):
    """Regression of each pixel, on pictures and maps in files.

    Pairs are the files of equal names in two folders (``images/a/7.jpg`` and ``maps/a/7.png``), or the rows of a csv.
    A map is a png, tif or bmp with one number for each pixel (8 or 16 bits, or float), or an npy. Pictures are read
    in colour. Splits that no column gives are drawn by the seed: copies of a picture are in one split.

    Args:
        path: folder that all file names start from.
        label: name of the label, for tables and files. Default "label".
        csv: file with a header and a row for each pair. None (default): two folders.
        images: column of the pictures, "image" by default; or the folder of the pictures within ``path``, "images"
            by default.
        maps: column of the maps, "map" by default; or their folder, "maps" by default.
        split_column: column of the splits: train, val and test, or 0, 1, 2. None (default): splits are drawn.
        group: column of identities (scenes, sites, days). Whole groups are drawn; with ``split_column`` a group in
            two splits is refused. None (default): no groups.
        by_folder: whether the pictures of one folder are a group. Default False.
        share: approximate share of the pictures for val, and for test; in (0, 0.33]. Default 0.13.
        scale, power, hole: how stored values become labels, see :class:`~dir.data.map_sources.LabelCode`.
        image_size, crop, map_size: height and width, or one number for both; see :class:`~dir.data.map_reading.Fit`.
        sep, encoding: how the csv is written.
        check_images: whether each picture is read to its end before training. False only reads its header.
        outside: whether file names may lead out of ``path``. Default False.
        flip, rotate, jitter, pixels, batch_size, eval_batch_size, num_workers, seed: see
            :class:`~dir.data.maps.MapData`.

    Raises:
        FileNotFoundError: there is no such folder or csv.
        ValueError: missing columns, pictures without a map, files that are missing or broken or of other sizes (all
            are listed), a split without labels.
    """

    def __init__(
        self,
        path: str,
        label: str = "label",
        csv: str | None = None,
        images: str | None = None,
        maps: str | None = None,
        split_column: str | None = None,
        group: str | None = None,
        by_folder: bool = False,
        share: float = 0.13,
        scale: float = 1.0,
        power: float = 1.0,
        hole: float | None = None,
        image_size: int | Sequence[int] | None = None,
        crop: int | Sequence[int] | None = None,
        map_size: int | Sequence[int] | None = None,
        sep: str = ",",
        encoding: str = "utf-8",
        check_images: bool = True,
        outside: bool = False,
        flip: Flip = "none",
        pixels: int | None = None,
        batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        rotate: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        super().__init__(label, flip, pixels, batch_size, eval_batch_size, num_workers, seed, rotate, jitter)
        check_share(share)
        self.code = LabelCode(scale, power, hole)
        self.code.check()
        sizes = {"image_size": image_size, "crop": crop, "map_size": map_size}
        self.fit = Fit(**{name: _size(name, value) for name, value in sizes.items()})
        if self.fit.crop is not None and self.fit.map_size is None:
            advice = "Set data.map_size to the size of the map of the crop."
            raise ValueError(message("data.crop", "needs a size of the maps", list(self.fit.crop), advice))
        given = {"split_column": split_column, "group": group}
        for name, column in given.items():
            if column is not None and csv is None:
                problem, advice = "names a column, and there is no csv", "Set data.csv=FILE."
                raise ValueError(message(f"data.{name}", problem, column, advice))
        if group is not None and by_folder:
            raise ValueError(message("data.by_folder", "data.group already gives groups", advice="Set one of them."))
        self.path, self.csv = Path(path), None if csv is None else Path(csv)
        self.images = images or ("images" if csv is None else "image")
        self.maps_at = maps or ("maps" if csv is None else "map")
        self.split_column, self.group, self.by_folder, self.share = split_column, group, by_folder, share
        self.csv_options = as_options(sep, ".", None, encoding, ())
        self.check_images, self.outside = check_images, outside
        self._notes: list[str] = []
        self._folder_notes: list[str] = []

    def open_source(self) -> FileMaps:
        if not self.path.is_dir():
            advice = "Give the folder that the names of pictures and maps start from."
            raise FileNotFoundError(message("data.path", f"folder {self.path} not found", advice=advice))
        pairs, given, groups = self.pairs()
        source = FileMaps(pairs, self.fit, str(self.csv or self.path), self.check_images)
        digests = source.digests
        source.names = self._names(pairs, given, groups, digests)
        placed = {name: np.flatnonzero(source.names == name) for name in ("train", "val", "test")}
        kept = f"{source.kept_bytes / 1e6:.1f} MB in memory" if source.kept_bytes else "read from their files"
        self._notes = [f"maps: {len(pairs)} files, {kept}.", *self._folder_notes]
        for name, count in shared_rows(digests, placed).items():
            if count:
                self._notes.append(
                    f"pictures: {count} of {len(placed[name])} {name} pictures equal a training picture."
                )
        return source

    def pairs(self) -> tuple[list[MapPair], Names | None, Sequence[str] | None]:
        """Return the pairs of files, their splits where given, and their groups where given."""
        if self.csv is None:
            return self._paired_folders(), None, None
        table = self._table(self.csv)
        images, maps = (self._files(table, column) for column in (self.images, self.maps_at))
        names = None
        if self.split_column is not None:
            where = f"{self.csv}: column {shown(self.split_column)}"
            names = read_split(table[self.split_column].to_numpy(dtype="U"), where, first_row=1)
        pairs = [MapPair(image, one, self.code) for image, one in zip(images, maps, strict=True)]
        return pairs, names, None if self.group is None else table[self.group].astype(str).tolist()

    def encoding(self) -> dict[str, Any]:
        resized = {} if self.fit.crop is None else {"resized": list(self.fit.image_size or self._picture_size())}
        listing = {} if self.csv is None else {"key": self.images, "csv": self.csv_options.to_dict()}
        return super().encoding() | {"resize": self.fit.image_size is not None} | resized | listing

    def files(self) -> dict[str, Path]:
        return {} if self.csv is None else {"data.csv": self.csv}

    def settings(self) -> dict[str, Any]:
        drawn = {"share": self.share, "seed": self.seed} if self.split_column is None else {}
        names = {"images": self.images, "maps": self.maps_at, "split_column": self.split_column, "group": self.group}
        return names | {"by_folder": self.by_folder, "labels": list(self.code), "fit": list(self.fit)} | drawn

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"notes": self._notes}

    def _names(
        self, pairs: Sequence[MapPair], given: Names | None, groups: Sequence[str] | None, digests: Sequence[bytes]
    ) -> Names:
        """Return the split of each pair."""
        if self.by_folder:
            groups = [str(pair.image.parent) for pair in pairs]
        if given is None:
            return group_split(np.array(groups or [digest.hex() for digest in digests]), self.share, self.seed)
        if groups is not None:
            refuse_shared_groups(given, np.array(groups), f"{self.csv}: {'folder' if self.by_folder else self.group}")
        return given

    def _paired_folders(self) -> list[MapPair]:
        """Return the pairs of two folders, in the order of their names."""
        problems = Problems(str(self.path))
        images = _by_name(self.path / self.images, PICTURES, "data.images", problems)
        maps = _by_name(self.path / self.maps_at, MAP_SUFFIXES, "data.maps", problems)
        problems.raise_all()
        lonely = {
            "picture without a map": images.keys() - maps.keys(),
            "map without a picture": maps.keys() - images.keys(),
        }
        for kind, names in lonely.items():
            if names:
                problems.add(f"{len(names)} names of a {kind}: {listed(sorted(names), 300)}")
        problems.raise_all()
        self._folder_notes = _folder_notes(images)
        return [MapPair(images[name], maps[name], self.code) for name in sorted(images)]

    def _table(self, csv: Path) -> pd.DataFrame:
        """Return the csv with all columns that the settings name, none of them with an empty cell."""
        wanted = {"data.images": self.images, "data.maps": self.maps_at}
        wanted |= {"data.split_column": self.split_column or "", "data.group": self.group or ""}
        wanted = {option: column for option, column in wanted.items() if column}
        table = read_table(csv, "data.csv", self.csv_options, text=list(wanted.values()))
        problems, hint = Problems(str(csv)), sniff(csv, self.csv_options)
        for option, column in wanted.items():
            find_columns(table, [column], option, problems, hint)
        problems.raise_all()
        for column in wanted.values():
            gone = np.flatnonzero(table[column].isna().to_numpy())
            if len(gone):
                problems.add(f"column {shown(column)}: missing values in rows {show_rows(gone)}")
        problems.raise_all()
        return table

    def _files(self, table: pd.DataFrame, column: str) -> list[Path]:
        return self.inside(table[column].astype(str).tolist(), f"{self.csv}: column {column!r}")

    def inside(self, names: Sequence[str], where: str) -> list[Path]:
        """Return the paths of files by their names; ``data.outside`` says whether names may lead out of the folder.

        Raises:
            ValueError: some lead out, and ``data.outside`` is false.
        """
        return files_inside(self.path, names, where, self.outside)

    def _picture_size(self) -> tuple[int, int]:
        return cast("FileMaps", self._opened()).picture_size


def _folder_notes(names: Iterable[str]) -> list[str]:
    """Return a note if folders are named like splits, which two folders of pairs do not use."""
    folders = sorted({Path(name).parts[0] for name in names if len(Path(name).parts) > 1})
    named = [folder for folder in folders if folder.lower() in _SPLIT_FOLDERS]
    if not named:
        return []
    advice = "To split by folder, list the pairs in a csv: data.csv=FILE data.split_column=COLUMN."
    return [f"splits: drawn by chance. Folders named {', '.join(named)} do not split the pictures. {advice}"]


def _by_name(folder: Path, suffixes: tuple[str, ...], setting: str, problems: Problems) -> dict[str, Path]:
    """Return the files of a folder and its subfolders by their path without the suffix."""
    if not folder.is_dir():
        problems.add(f"no folder {folder.name!r} ({setting})", "Name the folder, or give data.csv=FILE.")
        return {}
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        within = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in within.parts)
        if file.suffix.lower() in suffixes and not hidden:
            name = str(within.with_suffix(""))
            if name in found:
                problems.add(f"two files of one name: {found[name]} and {file}")
            found[name] = file
    if not found:
        problems.add(f"no files with the suffix {', '.join(suffixes)} in {folder} ({setting})")
    return found


def _size(name: str, value: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Return a height and a width."""
    if value is None:
        return None
    sides = [value, value] if isinstance(value, int) else list(value)
    if len(sides) != 2:
        raise ValueError(message(f"data.{name}", "expected a height and a width, or one number", sides))
    return as_integer(f"data.{name}", sides[0]), as_integer(f"data.{name}", sides[1])
