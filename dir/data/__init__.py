"""Data of the recipes: loaders, splits and protocols. Names are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.data.arrays import automatic_bins as automatic_bins
    from dir.data.base import RegressionData as RegressionData
    from dir.data.csv_images import CsvImages as CsvImages
    from dir.data.labelled_images import LabelledImages as LabelledImages
    from dir.data.map_files import MapFiles as MapFiles
    from dir.data.npz_images import NpzImages as NpzImages
    from dir.data.npz_maps import NpzMaps as NpzMaps
    from dir.data.nyud2 import NYUD2Maps as NYUD2Maps
    from dir.data.protocols import Protocol as Protocol
    from dir.data.stsb import STSBEmbeddings as STSBEmbeddings
    from dir.data.stsb import STSBTokens as STSBTokens
    from dir.data.stsb import STSBWords as STSBWords
    from dir.data.synthetic.age_synthetic import AgeSyntheticData as AgeSyntheticData
    from dir.data.synthetic.sts_synthetic import STSSyntheticData as STSSyntheticData
    from dir.data.tabular import TabularData as TabularData
    from dir.data.texts import TextData as TextData

_HOMES = {
    "RegressionData": "base",
    "automatic_bins": "arrays",
    "CsvImages": "csv_images",
    "LabelledImages": "labelled_images",
    "MapFiles": "map_files",
    "NpzImages": "npz_images",
    "NpzMaps": "npz_maps",
    "NYUD2Maps": "nyud2",
    "Protocol": "protocols",
    "STSBEmbeddings": "stsb",
    "STSBTokens": "stsb",
    "STSBWords": "stsb",
    "AgeSyntheticData": "synthetic.age_synthetic",
    "STSSyntheticData": "synthetic.sts_synthetic",
    "TabularData": "tabular",
    "TextData": "texts",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
