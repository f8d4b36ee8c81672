"""NpzMaps: pictures and maps of labels from one npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from dir._checks import check_choice, message
from dir.data.map_augment import Flip
from dir.data.map_sources import ArrayMaps, LabelCode
from dir.data.maps import MapData
from dir.data.splits import check_share, group_split, read_split


class NpzMaps(MapData):
    """Regression of each pixel, on pictures and maps of one ``.npz`` file with the splits of the file.

    Args:
        path: the file.
        label: key of the maps, numbers [N, H, W] or [N, 1, H, W]; NaN is a hole.
        images: key of the pictures, uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], of any size. Default "images".
        split: key of the splits, [N]: train, val, test or 0, 1, 2. Default "split".
        group: key of identities (people, sites, days), [N]. The splits of the file are then ignored: whole groups are
            drawn by the seed. None (default): the splits of the file.
        share: approximate share of the maps for val, and for test; in (0, 0.33]. Only with ``group``. Default 0.13.
        mask: key of true and false, of the shape of the maps: False is a hole. None (default): no mask.
        hole: stored value that means "no label". None (default): NaN alone is a hole.
        scale, power: a label is ``(stored value * scale) ** power``. Default 1 and 1.
        layout: "NHWC" or "NCHW"; None (default) finds the axis of 1, 3 or 4 channels.
        flip, rotate, jitter, pixels, batch_size, eval_batch_size, num_workers, seed: see
            :class:`~dir.data.maps.MapData`.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        ValueError: missing keys, arrays of other shapes or types, labels that are infinite, a split without labels.
    """

    def __init__(
        self,
        path: str,
        label: str,
        images: str = "images",
        split: str = "split",
        group: str | None = None,
        share: float = 0.13,
        mask: str | None = None,
        hole: float | None = None,
        scale: float = 1.0,
        power: float = 1.0,
        layout: Literal["NHWC", "NCHW"] | None = None,
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
        if layout is not None:
            check_choice("data.layout", layout, ("NHWC", "NCHW"))
        check_share(share)
        self.code = LabelCode(scale, power, hole)
        self.code.check()
        self.path, self.share, self.layout = Path(path), share, layout
        self.keys = {"images": images, "label": label} | ({"split": split} if group is None else {"group": group})
        self.keys |= {} if mask is None else {"mask": mask}

    def open_source(self) -> ArrayMaps:
        source = ArrayMaps(self.path, self.keys, self.layout, self.code)
        if "group" in self.keys:
            groups, where = source.arrays["group"], f"{self.path}: array {self.keys['group']!r}"
            if groups.ndim != 1 or (groups.dtype.kind == "f" and bool(np.isnan(groups).any())):
                found = f"{groups.dtype} {list(groups.shape)}"
                raise ValueError(message(where, f"expected one identity for each map, [N] without NaN, got {found}"))
            source.names = group_split(groups, self.share, self.seed)
        else:
            source.names = read_split(source.arrays["split"], f"{self.path}: array {self.keys['split']!r}")
        return source

    def encoding(self) -> dict[str, Any]:
        return super().encoding() | {"key": self.keys["images"]}

    def files(self) -> dict[str, Path]:
        return {"data.path": self.path}

    def settings(self) -> dict[str, Any]:
        drawn = {"share": self.share, "seed": self.seed} if "group" in self.keys else {}
        return {"keys": self.keys, "labels": list(self.code)} | drawn
