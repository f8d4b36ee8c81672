"""FileMaps: pictures and maps of labels in files, checked before training and read when their batch is needed."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dir.data.identity import row_id
from dir.data.image_files import THREADS, digests_of_files
from dir.data.map_reading import Fit, Size, Values, picture_size, read_map, same_view
from dir.data.map_sources import LabelCode
from dir.data.problems import Problems
from dir.data.splits import Names

# Maps that take more bytes in all are read from their files whenever they are needed.
KEPT_BYTES = 4 << 30


class MapPair(NamedTuple):
    """A picture and its map.

    Args:
        image, map: the files.
        code: how the stored values of the map become labels.
        mask: of the size of the fitted map; False is a hole. None: no mask.
    """

    image: Path
    map: Path
    code: LabelCode
    mask: Values | None = None


class _Looked(NamedTuple):
    """What the check of a pair found: problems by file, sizes, and the stored values at the pixels of the map."""

    problems: list[str]
    picture: Size | None = None
    stored: Size | None = None
    values: Values | None = None


class FileMaps:
    """Pictures and maps of files, a :class:`~dir.data.map_sources.MapSource`.

    All files are looked at once, by several threads. Maps are kept in memory in the type of their files, up to 4 GB;
    pictures are decoded when their batch is needed.

    Args:
        pairs: the files, at least one pair.
        fit: sizes of pictures and maps.
        where: file or folder that names the pairs, for error messages.
        decode: whether each picture is read to its end in the check; otherwise only its header is.

    Raises:
        ValueError: files that are missing or broken, pictures or maps of different sizes, maps that do not fit their
            pictures. All problems are listed.
    """

    names: Names

    def __init__(self, pairs: Sequence[MapPair], fit: Fit, where: str, decode: bool = True) -> None:
        self.pairs, self.fit = list(pairs), fit
        found = self._look(decode)
        problems = Problems(where)
        for looked in found:
            for line in looked.problems:
                problems.add(line)
        if fit.image_size is None:
            _same_sizes([looked.picture for looked in found], [pair.image for pair in self.pairs], "pictures",
                        "image_size", problems)  # fmt: skip
        if fit.map_size is None:
            _same_sizes([looked.stored for looked in found], [pair.map for pair in self.pairs], "maps", "map_size",
                        problems)  # fmt: skip
        problems.raise_all()
        self._pictures = [looked.picture or (0, 0) for looked in found]
        kept = [looked.values for looked in found]
        self._kept: list[Values] | None = None if any(one is None for one in kept) else [*kept]  # type: ignore[list-item]
        self.kept_bytes = 0 if self._kept is None else sum(one.nbytes for one in self._kept)
        # Height and width of the stored pictures, before they are brought to another size.
        self.picture_size = self._pictures[0]
        channels, height, width = fit.picture(self.pairs[0].image).shape
        self.shape = (channels, height, width)
        stored = found[0].stored or (0, 0)
        self.map_size: Size = fit.map_size or stored

    def images(self, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self.fit.picture(self.pairs[row].image) for row in rows]))

    def labels(self, rows: Sequence[int]) -> Tensor:
        return torch.stack([self._labels(row) for row in rows])

    def ids(self) -> list[str]:
        maps = digests_of_files([one.map for one in self.pairs])
        return [row_id(*contents) for contents in zip(self.digests, maps, strict=True)]

    @functools.cached_property
    def digests(self) -> list[bytes]:
        """A hash of each picture file."""
        return digests_of_files([one.image for one in self.pairs])

    def _labels(self, row: int) -> Tensor:
        pair = self.pairs[row]
        if self._kept is not None:
            values = self._kept[row]
        else:
            values = self.fit.values(read_map(pair.map), self._pictures[row])
        return pair.code.labels(values, pair.mask, str(pair.map))

    def _look(self, decode: bool) -> list[_Looked]:
        """Look at all pairs; the values of the maps are kept while they fit into memory."""
        first = self._look_at(self.pairs[0], decode)
        # Without a first map all problems are listed, and no map is needed.
        keep = first.values is not None and first.values.nbytes * len(self.pairs) <= KEPT_BYTES

        def look(pair: MapPair) -> _Looked:
            looked = self._look_at(pair, decode)
            return looked if keep else looked._replace(values=None)

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(look, self.pairs))

    def _look_at(self, pair: MapPair, decode: bool) -> _Looked:
        problems: list[str] = []
        picture = _attempt(lambda: picture_size(pair.image, decode), pair.image, problems)
        stored = _attempt(lambda: read_map(pair.map), pair.map, problems)
        size = None if stored is None else (stored.shape[0], stored.shape[1])
        if picture is None or stored is None or size is None:
            return _Looked(problems, picture, size)
        if not same_view(picture, size):
            line = (
                f"{pair.map}: a map of {size[0]} x {size[1]} does not fit its picture of {picture[0]} x {picture[1]}"
            )
            return _Looked([line])
        # A copy, so that the whole map is not kept beside the chosen pixels.
        values = _attempt(lambda: np.array(self.fit.values(stored, picture)), pair.image, problems)
        if values is not None:
            _attempt(lambda: pair.code.labels(values, pair.mask, str(pair.map)), None, problems)
        return _Looked(problems, picture, size, values)


def _attempt(action: Callable[[], Any], path: Path | None, problems: list[str]) -> Any:
    """Return the result of an action; or add its error to the problems, and return None."""
    try:
        return action()
    except FileNotFoundError:
        problems.append(f"{path}: missing")
    except Exception as error:  # Pillow and numpy raise many types for a bad file
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        problems.append((f"{path}: " if path else "") + f"{kind}{error}".rstrip("."))
    return None


def _same_sizes(
    sizes: Sequence[Size | None], paths: Sequence[Path], kind: str, setting: str, problems: Problems
) -> None:
    """Add the files whose size is not the most frequent one."""
    counts = Counter(size for size in sizes if size is not None)
    if len(counts) < 2:
        return
    (usual, count), *_ = counts.most_common(1)
    others = [
        f"{path} ({size[0]} x {size[1]})"
        for size, path in zip(sizes, paths, strict=True)
        if size is not None and size != usual
    ]
    shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    problem = f"{kind} of different sizes: {count} are {usual[0]} x {usual[1]}, but {shown}"
    problems.add(problem, f"Set data.{setting}=[{usual[0]},{usual[1]}] to bring all to one size.")
