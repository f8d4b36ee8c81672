"""Where ``dir-describe`` and ``dir-recommend`` find labels: a recipe's data, or a file that no recipe reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dir._archives import npz_names, read_npz
from dir._checks import message, suggestion
from dir.bins import LabelBins
from dir.data.arrays import ArrayDataset, automatic_bins
from dir.data.base import SPLITS, RegressionData
from dir.data.csv_images import FileImages
from dir.data.csv_reading import CsvOptions, as_options, read_table, sniff
from dir.data.image_files import digests_of_files
from dir.data.problems import listed
from dir.data.repeated_inputs import input_keys
from dir.data.splits import read_split
from dir.data.table_checks import as_numbers, require_columns
from dir.data.target_names import target_names
from dir.data.text_reading import check_quoting
from dir.lds import LDS
from dir.recipe.build import build_data
from dir.recipe.cli import config_dir
from dir.recipe.compatibility import check
from dir.recipe.quoted import quote_values
from dir.recipe.settings import check_settings

Array = NDArray[np.float64]
TABLES = (".csv", ".tsv", ".txt", ".data")
# Settings of how a csv is written; sources without a recipe read them too.
_DIALECT = ("sep", "decimal", "thousands", "encoding", "na_values", "quoting")


@dataclass(frozen=True)
class Source:
    """Labels of a data set, and the parts of a report that depend on a recipe.

    Args:
        name: file or experiment, for titles.
        unit: unit of the labels.
        labels: raw labels by split; ``train`` alone if the data has no splits.
        bins: bins of the training labels.
        shots: arguments of the shot groups, see :func:`dir.data.label_report.label_report`.
        lds: LDS with the settings of the recipe; None for a file that no recipe reads.
        keys: key of each input by split, None where inputs cannot be compared.
        overrides: overrides with which ``dir-train`` trains on this data; empty if no recipe reads it.
        notes: remarks for the reader, such as why no recipe reads the file.
    """

    name: str
    unit: str
    labels: dict[str, Array]
    bins: LabelBins
    shots: dict[str, Any] = field(default_factory=dict)
    lds: LDS | None = None
    keys: dict[str, list[bytes]] | None = None
    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Return the config of ``dir-train`` with these overrides, after the checks of the settings.

    Raises:
        ValueError: Hydra or the checks refuse an override.
    """
    try:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("train", quote_values(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(str(error)) from error
    check_settings(cfg)
    check(cfg)
    return cfg


def open_sources(overrides: Sequence[str]) -> list[Source]:
    """Return the labels of an experiment's data, or of ``data.path=FILE``: a source for each target.

    A csv file with a header and ``data.target`` is read as the recipe ``tabular`` reads it, ``data.csv`` as
    ``images``, and an npz file with images as ``images_npz``. If the recipe refuses a csv file, its target column is
    described alone, and the note holds the recipe's reasons; so is the target column of a file with ``data.text``,
    whose texts are not read. Other files are columns of numbers without splits.

    Raises:
        ValueError, FileNotFoundError: no data is named, or it cannot be read.
    """
    given = dict(line.lstrip("+").partition("=")[::2] for line in overrides)
    if "experiment" in given:
        return from_recipe(overrides, given["experiment"])
    name = "data.csv" if "data.csv" in given else "data.path"
    path = Path(given.get(name, ""))
    if not path.is_file():
        advice = "Give data.path=FILE data.target=COLUMN, or +experiment=NAME with the settings of its data."
        raise FileNotFoundError(message(name, f"file {str(path)!r} not found", advice=advice))
    if path.suffix == ".npz":
        return _from_npz(path, given, overrides)
    if path.suffix == ".npy":
        return [_plain(path, path.stem, np.load(path, allow_pickle=False))]
    if path.suffix.lower() not in TABLES:
        problem = f"expected a file that ends in {', '.join((*TABLES, '.npy', '.npz'))}"
        raise ValueError(message(name, problem, path.name))
    if "data.target" not in given:
        return [_from_column(path)]
    recipe = "text" if "data.text" in given else "images" if name == "data.csv" else "tabular"
    lines = (f"+experiment={recipe}", *overrides)
    columns = target_names(_value_of("data.target", given["data.target"]))
    if recipe == "text":
        compose_config(lines)
        # Without a named column the recipe draws the splits, after it has read the texts.
        column = _value_of("data.split_column", given.get("data.split_column", "null"))
        note = f"The texts were not read: labels {f'as {column!r} splits them' if column else 'of all rows'}."
        found = [_from_csv(path, target, given, (note,), column) for target in columns]
        return [replace(source, overrides=lines) for source in found]
    try:
        return from_recipe(lines, path.name)
    except (ValueError, FileNotFoundError) as error:
        note = f"The recipe `{recipe}` refuses the file:\n{error}"
        column = given.get("data.split_column", "split")
        return [_from_csv(path, target, given, (note,), column, refused=True) for target in columns]


def with_experiment(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with the experiment that reads the data, where they name none.

    ``data.csv`` is read by ``images``, an npz file with images by ``images_npz``, a file with ``data.text`` by
    ``text``, and another file by ``tabular``.

    Raises:
        ValueError, FileNotFoundError: an npz file without images or with another label, or no npz file.
    """
    given = dict(line.lstrip("+").partition("=")[::2] for line in overrides)
    if "experiment" in given:
        return list(overrides)
    if "data.csv" in given:
        return ["+experiment=images", *overrides]
    path = Path(given.get("data.path", ""))
    if path.suffix == ".npz":
        _, lines = _npz_recipe(path, given, overrides)
        if not lines:
            advice = "Give data.images=KEY."
            found = message("data.images", f"no images in {path} (found: {listed(npz_names(path))})", advice=advice)
            raise ValueError(found)
        return lines
    return [f"+experiment={'text' if 'data.text' in given else 'tabular'}", *overrides]


def from_recipe(overrides: Sequence[str], name: str) -> list[Source]:
    """Return the labels of the data of a recipe, in its own splits: a source for each target.

    Raises:
        ValueError, FileNotFoundError: the recipe refuses its settings or its data.
    """
    cfg = compose_config(overrides)
    data, bins_by_target, _, _ = build_data(cfg)
    weighted = compose_config([*(line for line in overrides if not line.startswith("method")), "method=lds"])
    units = (cfg.task.unit,) if len(bins_by_target) == 1 else data.targets
    labels: dict[str, Array] = {
        split: data.labels(split).double().numpy().reshape(-1, len(units)) for split in SPLITS
    }
    shots: dict[str, Any] = instantiate(cfg.task.shots, _convert_="all")
    keys = keys_of(data)
    notes = () if keys else ("Equal inputs were not searched for: this data gives its inputs one by one.",)
    make_lds = instantiate(weighted.method.lds, _partial_=True, _convert_="all")
    sources = []
    for k, (unit, bins) in enumerate(zip(units, bins_by_target, strict=True)):
        own: dict[str, Array] = {split: values[:, k] for split, values in labels.items()}
        sources.append(Source(name, unit, own, bins, shots, make_lds(bins), keys, tuple(overrides), notes))
    return sources


def keys_of(data: RegressionData) -> dict[str, list[bytes]] | None:
    """Return a key of each input by split, from arrays in memory or from picture files; None for other data."""
    found: dict[str, list[bytes]] = {}
    for split in data.splits:
        part = data.dataset(split)
        if isinstance(part, ArrayDataset):
            found[split] = input_keys(part.inputs)
        elif isinstance(part, FileImages):
            found[split] = digests_of_files(part.paths)
        else:
            return None
    return found


def _npz_recipe(path: Path, given: Mapping[str, str], overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Return the key of the labels, and the overrides of the recipe for images; none where the file has no images."""
    names = npz_names(path)
    label = given.get("data.label") or given.get("data.target")
    if label is None:
        raise ValueError(message("data.target", f"expected one of the arrays {listed(names)}", None))
    if label not in names:
        found = f"no array {label!r} in {path} (found: {listed(names)})"
        raise ValueError(message("data.target", found, advice=suggestion(label, names)))
    if given.get("data.images", "images") not in names:
        return label, []
    rest = [line for line in overrides if not line.startswith(("data.target=", "data.label="))]
    return label, ["+experiment=images_npz", *rest, f"data.label={label}"]


def _from_npz(path: Path, given: Mapping[str, str], overrides: Sequence[str]) -> list[Source]:
    label, lines = _npz_recipe(path, given, overrides)
    return from_recipe(lines, path.name) if lines else [_plain(path, label, read_npz(path, [label])[label])]


def _from_csv(
    path: Path,
    target: str,
    given: Mapping[str, str],
    notes: tuple[str, ...],
    column: str | None,
    refused: bool = False,
) -> Source:
    """Return the target column of a csv file.

    Args:
        path, target: the file and its column.
        given: overrides of the user by key.
        notes: remarks for the reader.
        column: column of the splits; None for none.
        refused: whether the notes say why a recipe refuses the file; a missing ``column`` then counts as none.
    """
    named = [name for name in _DIALECT if f"data.{name}" in given]
    dialect = {name: _value_of(f"data.{name}", given[f"data.{name}"]) for name in named}
    if dialect.get("sep") is None:
        dialect["sep"] = "\t" if path.suffix.lower() == ".tsv" else ","
    usual = CsvOptions()
    options = as_options(**{name: dialect.get(name, getattr(usual, name)) for name in _DIALECT})
    table = read_table(path, "data.path", options)
    if "data.text" in given and options.quoting == "minimal":
        check_quoting(path, options)
    require_columns(table, [target], path, "data.target", sniff(path, options))
    values = as_numbers(table[target], str(path))
    gone = values.isna().to_numpy()
    if gone.any():
        notes = (*notes, f"{int(gone.sum())} rows without a label were left out.")
    labels = values.to_numpy(np.float64)
    if column is not None and not refused:
        require_columns(table, [column], path, "data.split_column")
    if column not in table:
        return _plain(path, target, labels[~gone], notes)
    names = read_split(table[column].to_numpy(dtype="U"), where=f"{path}: column {column!r}", first_row=1)
    parts = {split: labels[~gone & (names == split)] for split in SPLITS}
    return _plain(path, target, parts["train"], notes, {split: part for split, part in parts.items() if len(part)})


def _from_column(path: Path) -> Source:
    """Return the only column of a text file, with or without a header."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    rows = lines if lines and _is_number(lines[0]) else lines[1:]
    wrong = next((number for number, line in enumerate(rows, len(lines) - len(rows) + 1) if not _is_number(line)), 0)
    if wrong or not rows:
        found = lines[wrong - 1][:60] if lines else ""
        problem = f"expected one column of numbers in {path}, line {wrong or 1} is another text"
        raise ValueError(message("data.path", problem, found, "For a table give data.target=COLUMN."))
    return _plain(path, path.stem, np.array([float(line) for line in rows]))


def _plain(
    path: Path, unit: str, values: Any, notes: tuple[str, ...] = (), splits: dict[str, Array] | None = None
) -> Source:
    """Return a source of labels alone, after a check of the training labels."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiub" or not len(array):
        raise ValueError(message(str(path), "expected numbers of shape [N]", f"{array.dtype} {list(array.shape)}"))
    labels = array.astype(np.float64)
    if not np.isfinite(labels).all():
        rows = np.flatnonzero(~np.isfinite(labels))
        raise ValueError(
            message(str(path), f"expected finite labels, row {rows[0] + 1} holds", float(labels[rows[0]]))
        )
    bins = automatic_bins(torch.from_numpy(labels), 50)
    return Source(path.name, unit, splits or {"train": labels}, bins, notes=notes)


def _value_of(key: str, text: str) -> Any:
    """Return the value of an override as Hydra reads it: a text, or a list of texts."""
    (line,) = quote_values([f"{key}={text}"])
    return OverridesParser.create().parse_override(line).value()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
