"""Evaluation of the rows of another file by the model bundle of a run, without the data of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dir._archives import read_npz
from dir._checks import message
from dir.bundle import Model
from dir.bundle.description import bins_from_dict, bins_to_dict
from dir.bundle.fields import Fields
from dir.bundle.files import InputFile, read_inputs
from dir.bundle.inputs.images import ImageInputs
from dir.bundle.inputs.tables import TableInputs
from dir.bundle.inputs.texts import TextInputs
from dir.bundle.inputs.windows import WindowInputs
from dir.data.image_files import files_inside
from dir.data.problems import show_rows
from dir.data.stsb import read_stsb
from dir.data.table_checks import as_numbers, require_columns
from dir.metrics import SHOTS, ShotMetrics
from dir.recipe.build import bins_of_all_labels
from dir.recipe.predictions import summarise
from dir.recipe.restored import METRIC_BINS
from dir.recipe.summary import Groups

_PATH = "data.test_path"


class LabelledRows(NamedTuple):
    """Inputs of a model bundle, and the label of each row, float64 [N]."""

    inputs: Any
    labels: NDArray[np.float64]


def describe_metric_bins(metrics: ShotMetrics) -> dict[str, Any]:
    """Return the bins of shot metrics and the bins of each shot group as plain values."""
    members = metrics.members[1:, : metrics.bins.num_bins].cpu()
    groups = {name: rows.nonzero().flatten().tolist() for name, rows in zip(SHOTS, members, strict=True)}
    return {**bins_to_dict(metrics.bins), "groups": groups}


def evaluate_file(model: Model, path: Path, pictures: Path | None, device: torch.device, outside: bool) -> Groups:
    """Return the shot metrics of the rows of a file, encoded and predicted by a model bundle.

    The shot groups are those of the run; labels beyond all labels of the run are zero-shot.

    Args:
        model: bundle with :data:`METRIC_BINS`.
        path: csv of a table or of pictures, npz of pictures, file of texts, or tsv of sentence pairs, in the form of
            the run's data.
        pictures: folder that the paths in a csv of pictures start from.
        device: where the network runs.
        outside: whether these paths may lead out of the folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another form, or rows that cannot be read or predicted; the data of the run is
            generated or given as arrays, so that no file has its form.
    """
    if not path.is_file():
        raise FileNotFoundError(message(_PATH, "file not found", str(path)))
    if model.map_size is not None:
        problem = "maps of another file are not evaluated by a model bundle"
        advice = "Add them to the file of the run as a test split, or predict them by dir-predict."
        raise ValueError(message(_PATH, problem, str(path), advice))
    rows = _read(model, path, pictures, outside)
    if not len(rows.labels):
        raise ValueError(message(_PATH, "the file has no rows", str(path)))
    options: dict[str, Any] = {"unknown": "zeros"} if isinstance(model.encoder, TableInputs) else {}
    found = model.predict_rows(rows.inputs, device=None if model.module is None else device, **options)
    # A window at the end of a file has no label yet.
    known = np.isfinite(rows.labels)
    labels = torch.from_numpy(rows.labels[known].astype(model.dtype))
    variances = None if found.variances is None else torch.from_numpy(found.variances[known])
    metrics = _metrics(model, labels)
    return summarise(metrics, labels, torch.from_numpy(found.predictions[known]), variances)


def _read(model: Model, path: Path, pictures: Path | None, outside: bool) -> LabelledRows:
    encoder = model.encoder
    if isinstance(encoder, TextInputs) and encoder.target is not None:
        file = read_inputs(model, path)
        return LabelledRows(file.inputs, _finite(file.keys, encoder.target, path))
    if encoder.kind == "pairs":
        pairs = read_stsb(path)
        return LabelledRows(list(zip(pairs.first, pairs.second, strict=True)), pairs.scores.astype(np.float64))
    if isinstance(encoder, WindowInputs):
        return _windows(encoder, read_inputs(model, path), path)
    if isinstance(encoder, TableInputs):
        file = read_inputs(model, path)
        return _complete(encoder, file.inputs, _labels(file.keys, encoder.target, path), path)
    if isinstance(encoder, ImageInputs):
        target = str(model.description.target["name"])
        if path.suffix == ".npz":
            labels = read_npz(path, [target])[target]
            frame = pd.DataFrame({target: labels if labels.ndim == 1 else [None]})
            images = read_inputs(model, path).inputs
            if len(frame) != len(images):
                lengths = {encoder.key: len(images), target: list(labels.shape)}
                raise ValueError(message(str(path), "expected as many labels as images", lengths))
            return LabelledRows(images, _finite(frame, target, path))
        file = read_inputs(model, path)
        labels = _finite(file.keys, target, path)
        names, where = file.keys[file.column], f"{path}: column {file.column!r}"
        gone = np.flatnonzero(names.isna().to_numpy())
        if len(gone):
            raise ValueError(message(where, f"missing values in rows {show_rows(gone)}"))
        folder = path.parent if pictures is None else pictures
        return LabelledRows(files_inside(folder, names.astype(str).tolist(), where, outside), labels)
    advice = "Predict your own arrays in Python: dir.bundle.load(RUN).predict(inputs)."
    problem = "the data of the run is generated or given as arrays, and no file has its form"
    raise ValueError(message(_PATH, problem, str(path), advice))


def _labels(frame: pd.DataFrame, target: str, path: Path) -> pd.Series[Any]:
    require_columns(frame, [target], path, _PATH)
    return as_numbers(frame[target], str(path))


def _finite(frame: pd.DataFrame, target: str, path: Path) -> NDArray[np.float64]:
    """Return the labels in a column; raise a ValueError that counts missing labels."""
    labels = _labels(frame, target, path).to_numpy(np.float64)
    missing = np.flatnonzero(np.isnan(labels))
    if len(missing):
        shown = ", ".join(str(row + 1) for row in missing[:20])
        raise ValueError(message(f"{path}: {target}", f"{len(missing)} missing labels, first in rows {shown}"))
    return labels


def _complete(encoder: TableInputs, frame: pd.DataFrame, labels: pd.Series[Any], path: Path) -> LabelledRows:
    """Return the rows of a table; with ``missing=drop`` leave rows with a missing value out, as the run did."""
    if encoder.missing == "drop":
        require_columns(frame, encoder.raw, path, _PATH)
        kept = (frame[encoder.raw].notna().all(axis=1) & labels.notna()).to_numpy()
        if not kept.all():
            print(f"{path}: {int((~kept).sum())} of {len(frame)} rows have a missing value and are left out.")
        frame, labels = frame[kept], labels[kept]
    target = str(labels.name)
    return LabelledRows(frame, _finite(labels.to_frame(), target, path))


def _windows(encoder: WindowInputs, file: InputFile, path: Path) -> LabelledRows:
    """Return the rows of a table, and the label of each window that they form, NaN where it is missing."""
    frame: pd.DataFrame = file.inputs
    labels = _labels(frame, encoder.target, path).to_numpy(np.float64)
    if encoder.missing == "drop":
        kept = frame[encoder.raw].notna().all(axis=1).to_numpy()
        if not kept.all():
            print(f"{path}: {int((~kept).sum())} of {len(frame)} rows have a missing value and end windows.")
        frame, labels = frame[kept].reset_index(drop=True), labels[kept]
    found = encoder.find(frame)
    ends = np.where(found.labels < 0, np.nan, labels[found.labels])
    missing = int(np.isnan(ends).sum())
    if missing == len(ends):
        raise ValueError(message(str(path), "no window has a label", advice="Give rows after the windows."))
    if missing:
        print(f"{path}: {missing} of {len(ends)} windows have no label and are left out.")
    return LabelledRows(frame, ends)


def _metrics(model: Model, labels: torch.Tensor) -> ShotMetrics:
    """Return the shot metrics of the run, with one more bin on each side beyond which labels of the file lie."""
    saved = Fields(model.description.run, "model.json", "run").section(METRIC_BINS)
    listed = saved.section("groups")
    bins = bins_from_dict(saved)
    seen = bins_of_all_labels(bins, labels)
    below = int(float(labels.min()) < float(bins.edges[0]))
    groups = {name: [index + below for index in listed.integers(name)] for name in SHOTS}
    shots = model.description.shots
    if not shots.get("groups"):
        beyond = [0] * below + list(range(bins.num_bins + below, seen.num_bins))
        groups["zero" if shots.get("zero_shot", True) else "few"] += beyond
    chosen = {name: shots[name] for name in ("metrics", "epsilon") if shots.get(name) is not None}
    return ShotMetrics(seen, groups=groups, **chosen)
