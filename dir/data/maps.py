"""MapData: base of the data modules whose labels are maps, one label for each pixel of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import check_integer, message
from dir.data.base import SPLITS, RegressionData, Split
from dir.data.label_chunks import LabelChunks
from dir.data.map_augment import Flip, MapAugment
from dir.data.map_sources import MapSource
from dir.data.npz_images import TO_FLOAT, to_float

# Labels are read in chunks of about this many pixels.
CHUNK_PIXELS = 1 << 22


class MapDataset(Dataset[Any]):
    """Pictures and the labels of their pixels, fetched a batch at a time.

    A sample of a run is a labelled pixel. The second part of the inputs says where the labels of a batch lie, so that
    a hole has no label, and no later part of a run meets a hole.

    Args:
        source: where pictures and maps come from.
        rows: numbers of the rows of this split.
        augment: random changes of pictures and maps; None for none.
        pixels: labelled pixels drawn at random from each map, at most; None for all.

    Shape:
        ``dataset.__getitems__(indices)``: inputs (pictures float32 ``[n, C, H, W]`` in [-1, 1], pixels int64 ``[M]``)
        and labels float32 ``[M]``. ``pixels`` are places in the flat maps ``[n * h * w]``, in increasing order.
    """

    def __init__(
        self, source: MapSource, rows: Sequence[int], augment: MapAugment | None = None, pixels: int | None = None
    ) -> None:
        self.source, self.rows = source, list(rows)
        self.augment, self.pixels = augment, pixels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        rows = [self.rows[index] for index in indices]
        images, maps = self.source.images(rows), self.source.labels(rows)
        if self.augment is not None:
            images, maps = self.augment(images, maps)
        if self.pixels is not None:
            maps = _draw(maps, self.pixels)
        flat = maps.flatten()
        places = torch.nonzero(~flat.isnan()).flatten()
        return (to_float(images), places), flat[places]

    def maps(self) -> Iterator[Tensor]:
        """Return the maps of labels in chunks, ``[n, h, w]`` each, NaN in holes."""
        height, width = self.source.map_size
        step = max(1, CHUNK_PIXELS // (height * width))
        for start in range(0, len(self.rows), step):
            yield self.source.labels(self.rows[start : start + step])

    @property
    def labels(self) -> Tensor:
        """The labels of all labelled pixels, ``[M]``, in the order of the batches."""
        return torch.cat([maps[~maps.isnan()] for maps in self.maps()])


def _draw(maps: Tensor, pixels: int) -> Tensor:
    """Return maps with at most ``pixels`` labels each, drawn at random; the others become holes."""
    order = torch.rand(maps.shape).masked_fill(maps.isnan(), 2.0).flatten(1)
    if pixels >= order.shape[1]:
        return maps
    last = order.kthvalue(pixels, dim=1, keepdim=True).values
    return maps.flatten(1).masked_fill(order > last, torch.nan).view_as(maps)


class MapData(RegressionData):
    """Base of the data modules with maps: a subclass implements :meth:`open_source`.

    A row of the data is a picture with its map, and a label belongs to a pixel: bins, weights, FDS, losses and
    metrics see labelled pixels alone. Labels are read in chunks of maps wherever all of them are counted.

    Args:
        target: name of the label, for tables and files.
        flip, rotate, jitter: random changes of training pictures and their maps, see
            :class:`~dir.data.map_augment.MapAugment`. Default: none.
        pixels: labelled pixels drawn at random from each training map in each epoch, at most; for methods that
            compare pairs of labels. None (default): all.
        batch_size, eval_batch_size, num_workers, seed: see :class:`~dir.data.base.RegressionData`; in pictures.

    Shape:
        A batch is ((float32 [N, C, H, W] in [-1, 1], int64 [M]), float32 [M]), see :class:`MapDataset`.

    Raises:
        ValueError: settings out of range; by :meth:`setup`, a split without a labelled pixel, or one training label.
    """

    def __init__(
        self,
        target: str,
        flip: Flip = "none",
        pixels: int | None = None,
        batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        rotate: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.augment = MapAugment(flip, rotate, jitter)
        self.augment.check()
        if pixels is not None:
            check_integer("data.pixels", pixels, advice="null takes all pixels.")
        self.target, self.pixels = target, pixels
        self._source: MapSource | None = None
        self._summaries: dict[str, dict[str, Any]] = {}

    def open_source(self) -> MapSource:
        """Return the pictures and maps, with the split of each."""
        raise NotImplementedError(f"{type(self).__name__} must implement open_source()")

    def build(self) -> dict[str, Dataset[Any]]:
        source = self._source = self.open_source()
        if self.augment.jitter and source.shape[0] not in (1, 3):
            problem = f"expected grey or colour pictures, got {source.shape[0]} channels"
            raise ValueError(message("data.jitter", problem, advice="Set data.jitter=0."))
        placed = self.place_rows(source.ids, lambda: source.names)
        return {
            name: MapDataset(source, placed[name].tolist(), *((self.augment, self.pixels) if name == "train" else ()))
            for name in SPLITS
        }

    def check_splits(self, splits: dict[str, Dataset[Any]]) -> None:
        self._summaries = {name: _summary(name, splits[name]) for name in SPLITS}
        train = self._summaries["train"]
        if train["min"] == train["max"]:
            problem = f"expected at least two distinct values, all {train['rows']} are {train['min']}"
            raise ValueError(message("train labels", problem))

    def label_chunks(self, split: Split) -> LabelChunks:
        data: Any = self.dataset(split)
        return LabelChunks(lambda: (maps[~maps.isnan()] for maps in data.maps()))

    def encoder_args(self) -> dict[str, Any]:
        source = self._opened()
        return {"in_channels": source.shape[0], "map_size": list(source.map_size)}

    def encoding(self) -> dict[str, Any]:
        channels, *size = self._opened().shape
        return {
            "kind": "images",
            "size": size,
            "channels": channels,
            "resize": False,
            "steps": TO_FLOAT,
            "key": "images",
            "target": self.target,
        }

    def describe(self) -> dict[str, Any]:
        return {"splits": {split: self._summaries[split] for split in self.splits}}

    def pixel_rows(self, split: Split) -> dict[str, Any]:
        """Return where the labels of a split lie, in their order.

        Returns:
            ``map_id`` (text, one for each map of the split), ``map`` (int32 [M], number of the map in the split) and
            ``pixel`` (int32 [M], place in the flat map).
        """
        data: Any = self.dataset(split)
        counts, places = [], []
        for maps in data.maps():
            for one in maps.flatten(1):
                found = torch.nonzero(~one.isnan()).flatten()
                counts.append(len(found))
                places.append(found.to(torch.int32))
        return {
            "map_id": np.array(self.row_ids(split)),
            "map": np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            "pixel": torch.cat(places).numpy(),
        }

    def restrict(self, split: Split, rows: Tensor) -> None:
        """Refuse: a protocol, an audit and downweighting choose single labels, which are pixels here."""
        advice = "Remove the protocol or the audit, or use a data set with a label for each picture."
        raise ValueError(message("data", "single labels of a map cannot be left out", type(self).__name__, advice))

    def multiply_importance(self, split: str, *args: Any, **kwargs: Any) -> None:
        """Refuse: the importance of a row would be that of a whole map."""
        advice = "Remove +noise, or use a data set with a label for each picture."
        raise ValueError(message("noise", "single labels of a map have no importance", type(self).__name__, advice))

    def set_views(self, views: int) -> None:
        if views > 1:
            problem = "the pixels of several random views of a picture do not fit each other"
            raise ValueError(message("method.views", problem, views, "Choose another method for maps."))

    def _opened(self) -> MapSource:
        self.setup()
        assert self._source is not None
        return self._source


def _summary(split: str, data: Any) -> dict[str, Any]:
    """Return number of maps, labelled pixels and holes, and range, mean and zeros of the labels of a split."""
    if not len(data):
        raise ValueError(message(split, "expected at least one sample, the split is empty"))
    height, width = data.source.map_size
    labels = LabelChunks(lambda: (maps[~maps.isnan()] for maps in data.maps()))
    count = sum(map(len, labels.read()))
    if not count:
        advice = "Look at data.hole and data.mask."
        raise ValueError(message(f"{split} labels", f"the {len(data)} maps have no labelled pixel", advice=advice))
    low, high = labels.range
    return {
        "maps": len(data),
        "size": [height, width],
        "rows": count,
        "holes": len(data) * height * width - count,
        "min": low,
        "max": high,
        "mean": labels.moments()[0],
        "zeros": sum(int((chunk == 0).sum()) for chunk in labels.read()),
    }
