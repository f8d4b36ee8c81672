"""NYUD2Maps: depth from photographs in the published layout of NYUD2-DIR."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dir._checks import message
from dir.data.file_maps import MapPair
from dir.data.map_augment import Flip
from dir.data.map_files import MapFiles
from dir.data.map_reading import Values, nearest_places, same_view
from dir.data.problems import show_lines
from dir.data.splits import Names, group_split

LISTS = {"train": "nyu2_train.csv", "test": "nyu2_test.csv"}
# Training maps store 10 metres as 255, test maps store millimetres.
SCALES = {"train": 10.0 / 255.0, "test": 0.001}
FETCH = (
    "NYUD2-DIR is the data.zip that nyud2-dir/download_nyud2.py of the GitHub repository "
    "YyzHarry/imbalanced-regression fetches: nyu2_train.csv, nyu2_test.csv and the folders nyu2_train and nyu2_test."
)
# bookstore_0001f_out -> bookstore_0001: the letters are recordings of one place.
_PLACE = re.compile(r"^(.*_\d+)[a-z]?(?:_out)?$")


class NYUD2Maps(MapFiles):
    """Depth in metres of each pixel, on the files of NYUD2-DIR.

    Both lists have no header, and a picture and a map in each row, such as
    ``data/nyu2_train/bedroom_0004_out/1.jpg,data/nyu2_train/bedroom_0004_out/1.png``. The first folder of a path is
    replaced by ``path``. Validation is drawn from the training pictures by place: all recordings of a place are in
    one split.

    Args:
        path: folder of the lists.
        share: approximate share of the training pictures for val; in (0, 0.33]. Default 0.05.
        test_mask: an npy in ``path`` with a row for each test picture, true and false or 1 and 0, [N, h, w]: only the
            pixels with true are evaluated. None: all pixels.
        hole: stored value that means "no label". Default 0.
        image_size, crop, map_size: height and width of the resized pictures, of their centre that is kept, and of
            the maps.
        check_images, outside, flip, rotate, jitter, batch_size, eval_batch_size, num_workers, seed: see
            :class:`~dir.data.MapFiles`.

    Raises:
        FileNotFoundError: the folder, a list or the mask is missing.
        ValueError: lists of another form, files that are missing or broken, a mask of another shape.

    Reference:
        Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012; the lists and the
        mask are those of Yang et al., Delving into Deep Imbalanced Regression, ICML 2021.
    """

    def __init__(
        self,
        path: str,
        share: float = 0.05,
        test_mask: str | None = "test_balanced_mask.npy",
        hole: float | None = 0,
        image_size: Sequence[int] = (240, 320),
        crop: Sequence[int] = (228, 304),
        map_size: Sequence[int] = (114, 152),
        check_images: bool = True,
        outside: bool = False,
        flip: Flip = "horizontal",
        rotate: float = 5.0,
        jitter: float = 0.4,
        batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            path,
            "depth",
            share=share,
            hole=hole,
            image_size=image_size,
            crop=crop,
            map_size=map_size,
            check_images=check_images,
            outside=outside,
            flip=flip,
            rotate=rotate,
            jitter=jitter,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.test_mask = test_mask

    def pairs(self) -> tuple[list[MapPair], Names | None, Sequence[str] | None]:
        train, test = (self._listed(split) for split in ("train", "test"))
        masks = self._masks(len(test)) if self.test_mask is not None else [None] * len(test)
        test = [pair._replace(mask=mask) for pair, mask in zip(test, masks, strict=True)]
        places = np.array([place_of(pair.image) for pair in train])
        drawn = group_split(places, self.share, self.seed)
        names: Names = np.concatenate([np.where(drawn == "val", "val", "train"), np.full(len(test), "test")])
        return train + test, names, None

    def files(self) -> dict[str, Path]:
        masked = {} if self.test_mask is None else {"data.test_mask": self.path / self.test_mask}
        return {f"data.path/{name}": self.path / name for name in LISTS.values()} | masked

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"scales": SCALES, "test_mask": self.test_mask}

    def _listed(self, split: str) -> list[MapPair]:
        """Return the pairs of a list."""
        path = self.path / LISTS[split]
        if not path.is_file():
            raise FileNotFoundError(message("data.path", f"file {path} not found", advice=FETCH))
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if row]
        wrong = [number for number, row in rows if len(row) != 2 or any("/" not in name.strip("/") for name in row)]
        if wrong or not rows:
            problem = "expected a picture and a map in each line, such as data/a/1.jpg,data/a/1.png"
            found = f"; {len(wrong)} lines differ: {show_lines(wrong)}" if wrong else "; the file has no lines"
            raise ValueError(message(str(path), problem + found))
        code = self.code._replace(scale=SCALES[split])
        columns = [[row[place].split("/", 1)[1] for _, row in rows] for place in (0, 1)]
        images, maps = (self.inside(names, str(path)) for names in columns)
        return [MapPair(image, one, code) for image, one in zip(images, maps, strict=True)]

    def _masks(self, count: int) -> list[Values]:
        """Return the mask of each test picture in the size of the maps."""
        path = self.path / str(self.test_mask)
        if not path.is_file():
            advice = (
                "Set data.test_mask=null to evaluate all test pixels. The mask of the published tables is the file "
                "nyud2-dir/data/test_balanced_mask.npy of the GitHub repository YyzHarry/imbalanced-regression."
            )
            raise FileNotFoundError(message("data.test_mask", f"file {path} not found", advice=advice))
        mask = np.load(path, allow_pickle=False)
        crop, size = self.fit.crop or (1, 1), self.fit.map_size or (1, 1)
        if (
            mask.ndim != 3
            or len(mask) != count
            or not same_view(crop, mask.shape[1:])
            or mask.dtype.kind not in "biu"
        ):
            problem = f"expected true and false, [{count}, {crop[0]}, {crop[1]}]"
            raise ValueError(message(str(path), f"{problem}, got {mask.dtype} {list(mask.shape)}"))
        rows, columns = nearest_places((0, 0), mask.shape[1:], mask.shape[1:], size, mask.shape[1:])
        return list(mask[:, rows[:, None], columns] != 0)


def place_of(picture: Path) -> str:
    """Return the place of a picture by the name of its folder.

    Example:
        >>> [place_of(Path("nyu2_train") / name / "12.jpg") for name in ("bookstore_0001f_out", "nyu_office_0_out")]
        ['bookstore_0001', 'nyu_office_0']
    """
    folder = picture.parent.name
    found = _PLACE.match(folder)
    return found[1] if found else folder
