"""CsvImages: photographs listed in a csv file, the published recipe of the age benchmarks."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from dir._archives import read_npz
from dir._atomic import write_atomic
from dir._checks import check_integer, message
from dir.data.base import SPLITS, RegressionData
from dir.data.csv_reading import read_table
from dir.data.identity import label_bytes, row_id
from dir.data.image_files import digests_of_files, files_inside, find_broken, load_image, make_cache, open_cache
from dir.data.label_types import check_float32
from dir.data.problems import show_rows
from dir.data.splits import Names, group_split, read_split
from dir.data.table_checks import as_numbers, require_columns
from dir.data.target_names import target_names, target_setting, target_values

log = logging.getLogger(__name__)

Transform = Callable[[Tensor], Tensor]
SHOWN = 20
LONGEST = 300


class FileImages(Dataset[tuple[Tensor, Tensor]]):
    """Images read from files, one at a time, with their labels."""

    def __init__(self, paths: list[Path], labels: Tensor, size: int, transform: Transform) -> None:
        self.paths = paths
        self.labels = labels
        self.size = size
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path = self.paths[index]
        try:
            image = load_image(path, self.size)
        except Exception as error:  # Pillow raises many types, few of which name the file
            raise ValueError(message(str(path), f"not readable as an image ({error})")) from error
        return self.transform(pil_to_tensor(image)), self.labels[index]


class CachedImages(Dataset[tuple[Tensor, Tensor]]):
    """Images read from rows of a cache file (uint8 [rows, H, W, 3]), with their labels."""

    def __init__(self, cache: Path, rows: NDArray[np.int64], labels: Tensor, transform: Transform) -> None:
        self.cache = cache
        self.rows = rows
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(open_cache(self.cache)[int(self.rows[index])]).permute(2, 0, 1)
        return self.transform(pixels), self.labels[index]


class CsvImages(RegressionData):
    """Images and numbers listed in a csv file with the columns path, split and a label.

    Training images are resized to a square, cropped at random out of a border of ``padding`` black pixels,
    flipped at random and scaled to [-1, 1]; the others are resized and scaled.

    Args:
        csv: the file; its paths are relative to ``path``, its splits train, val and test.
        path: folder of the images.
        label: the column to predict, or several. Default "age".
        group: column of identities (people, patients, sites). The splits of the csv are then ignored: whole groups
            are drawn by the seed, and no group is in two splits. None (default): the splits of the csv.
        share: approximate share of the rows for val, and for test; in (0, 0.33]. Only with ``group``. Default 0.13.
        image_size: side of the resized images. Default 224.
        padding: border of the random crop. Default 16.
        cache_dir: folder for one memory-mapped uint8 array of all resized images. Its name depends on the content of
            the csv, the image folder and the size; remove the file if the images change. Each image is compared
            with its checksum when it is read. None (default): images are decoded in every epoch.
        check_images: whether each image is decoded once before training (the cache always does so). False only
            checks that the files exist.
        outside: whether paths may lead out of the folder, by ``..``, an absolute path or a link. Default False.
        fetch: advice of the error message for missing data.
        batch_size, eval_batch_size, num_workers, seed: see :class:`~dir.data.base.RegressionData`.

    Shape:
        A batch is (float32 [N, 3, image_size, image_size] in [-1, 1], float32 [N]).

    Raises:
        FileNotFoundError: if there is no csv file or image folder, or if images are missing or broken; the message
            lists the first 20 and their number.
        ValueError: for missing columns, labels that are no finite numbers (the rows are named), unknown splits, and
            paths that lead out of the folder.

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (AgeDB-DIR, IMDB-WIKI-DIR).
    """

    augments = True
    file_column = "path"
    target_key = "data.label"

    def __init__(
        self,
        csv: str,
        path: str,
        label: str | Sequence[str] = "age",
        group: str | None = None,
        share: float = 0.13,
        image_size: int = 224,
        padding: int = 16,
        cache_dir: str | None = None,
        check_images: bool = True,
        outside: bool = False,
        fetch: str = "",
        batch_size: int = 256,
        eval_batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        check_integer("data.image_size", image_size)
        check_integer("data.padding", padding, minimum=0)
        self.csv = Path(csv)
        self.path = Path(path)
        self.targets = target_names(label, self.target_key)
        self.group = group
        self.share = share
        self.image_size = image_size
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.check_images = check_images
        self.outside = outside
        self.fetch = fetch
        scale = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
        self.plain: Transform = v2.Compose(scale)
        self.augment: Transform = v2.Compose(
            [v2.RandomCrop(image_size, padding=padding), v2.RandomHorizontalFlip(), *scale]
        )

    def prepare_data(self) -> None:
        """Make the cache, if ``cache_dir`` is set. Lightning calls this in one process of each machine."""
        if self.cache_dir is not None:
            self._cache(self._files(self._table()))

    def build(self) -> dict[str, Dataset[Any]]:
        table = self._table()
        raw = target_values(table, self.targets)
        labels = torch.from_numpy(raw.astype(np.float32))
        for target in self.targets:
            check_float32(table[target].to_numpy(np.float64), f"{self.csv}: column {target!r}")
        files = self._files(table)
        cache = None if self.cache_dir is None else self._cache(files)
        if cache is None:
            self._refuse_broken(find_broken(files, decode=self.check_images))
        values = label_bytes(raw)
        placed = self.place_rows(lambda: self._row_ids(files, values), lambda: self._names(table))
        datasets: dict[str, Dataset[Any]] = {}
        for name in SPLITS:
            rows = placed[name]
            own = labels[torch.from_numpy(rows)]
            transform = self.augment if name == "train" else self.plain
            if cache is not None:
                datasets[name] = CachedImages(cache, rows, own, transform)
            else:
                datasets[name] = FileImages([files[row] for row in rows], own, self.image_size, transform)
        return datasets

    def files(self) -> dict[str, Path]:
        return {"data.csv": self.csv}

    def settings(self) -> dict[str, Any]:
        names = ("group", "image_size", *(() if self.group is None else ("share", "seed")))
        return {"label": target_setting(self.targets)} | {name: getattr(self, name) for name in names}

    def encoder_args(self) -> dict[str, Any]:
        return {"in_channels": 3}

    def encoding(self) -> dict[str, Any]:
        return {
            "kind": "images",
            "size": [self.image_size, self.image_size],
            "channels": 3,
            "resize": True,
            # The arithmetic of self.plain, see ToDtype and Normalize.
            "steps": [["multiply", 1.0 / 255.0], ["subtract", 0.5], ["divide", 0.5]],
            "key": self.file_column,
            "target": self.targets[0],
        }

    def _row_ids(self, files: list[Path], labels: list[bytes]) -> list[str]:
        """Return the id of each picture and its label, by the content of its file."""
        return [row_id(content, label) for content, label in zip(self._digests(files), labels, strict=True)]

    def _digests(self, files: list[Path]) -> list[bytes]:
        """Return a hash of each file. Beside a cache they are kept, since the pictures may be gone by then."""
        if self.cache_dir is None:
            return digests_of_files(files)
        kept = self._cache(files).with_suffix(".digests.npz")
        try:
            digests = read_npz(kept, ["sha256"])["sha256"]
            if digests.dtype == np.uint8 and digests.shape == (len(files), 16):
                return [row.tobytes() for row in digests]
            log.warning("%s does not hold the hashes of %d pictures. They are computed again.", kept, len(files))
        except FileNotFoundError:
            pass
        except ValueError as error:
            log.warning("%s The hashes of the pictures are computed again.", error)
        found = digests_of_files(files)
        stream = io.BytesIO()
        np.savez(stream, sha256=np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, 16))
        write_atomic(kept, stream.getvalue())
        return found

    def _names(self, table: pd.DataFrame) -> Names:
        if self.group is not None:
            return group_split(table[self.group].to_numpy(dtype="U"), self.share, self.seed)
        return read_split(table["split"].to_numpy(dtype="U"), where=f"{self.csv}: column 'split'", first_row=1)

    def _table(self) -> pd.DataFrame:
        if not self.csv.is_file():
            raise FileNotFoundError(message("data.csv", f"file {self.csv} not found", advice=self.fetch))
        if not self.path.is_dir():
            raise FileNotFoundError(message("data.path", f"folder {self.path} not found", advice=self.fetch))
        table = read_table(self.csv, "data.csv")
        used = [*self.targets, "path", "split" if self.group is None else self.group]
        require_columns(table, used, self.csv, "data.csv" if self.group is None else "data.group")
        labels = {target: as_numbers(table[target], str(self.csv)) for target in self.targets}
        for name in used:
            gone = np.flatnonzero(table[name].isna().to_numpy())
            if len(gone):
                where = f"{self.csv}: column {name!r}"
                raise ValueError(message(where, f"missing values in rows {show_rows(gone)}"))
        return table.assign(**labels)

    def _files(self, table: pd.DataFrame) -> list[Path]:
        names = [str(name) for name in table[self.file_column]]
        return files_inside(self.path, names, f"{self.csv}: column {self.file_column!r}", self.outside)

    def _refuse_broken(self, broken: list[str]) -> None:
        if broken:
            listed = "\n  ".join(line[:LONGEST] for line in broken[:SHOWN])
            more = f"\n  ... and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
            raise FileNotFoundError(
                f"data.path: {len(broken)} images listed in {self.csv} are missing or broken under {self.path}:"
                f"\n  {listed}{more}\n"
                f"Replace them, or remove their lines from a copy of the csv. {self.fetch}".strip()
            )

    def _cache(self, files: list[Path]) -> Path:
        """Return the path of the cache file; make the file first if it is missing."""
        assert self.cache_dir is not None
        key = hashlib.sha256(self.csv.read_bytes())
        key.update(f"{self.path.resolve()} {self.image_size}".encode())
        target = self.cache_dir / f"images_{self.image_size}px_{key.hexdigest()[:16]}.npy"
        if target.is_file() and not self._usable(target, len(files)):
            target.unlink(missing_ok=True)
        if not target.is_file():
            self._refuse_broken(make_cache(files, self.image_size, target))
        return target

    def _usable(self, cache: Path, count: int) -> bool:
        """Return whether a cache file and its checksums can be read. A warning says why not."""
        try:
            opened = open_cache(cache)
        except (FileNotFoundError, ValueError) as error:
            log.warning("The image cache cannot be used and is made again. %s", error)
            return False
        shape, images = (count, self.image_size, self.image_size, 3), opened.images
        good = images.dtype == np.uint8 and images.shape == shape and opened.checksums.shape == (count,)
        if not good:
            found = f"{images.dtype} {list(images.shape)} with {opened.checksums.size} checksums"
            log.warning("The image cache %s is made again: expected uint8 %s, got %s.", cache, list(shape), found)
        return good
