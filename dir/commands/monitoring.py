"""From a run and a file of new rows to the report of ``dir-monitor``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dir._archives import npz_names, read_npz
from dir._checks import message
from dir.bundle import Model, load
from dir.bundle.arguments import FOLDER, find_bundle
from dir.bundle.description import read
from dir.bundle.fields import Fields
from dir.bundle.files import InputFile, read_inputs, set_dialect
from dir.bundle.inputs.tables import TableInputs
from dir.bundle.inputs.texts import TextInputs
from dir.bundle.inputs.windows import WindowInputs
from dir.data.table_checks import as_numbers
from dir.monitor import MONITORING, NewRows, Reference, Settings, monitor, read_reference
from dir.recipe.monitoring import NOT_MADE, reference_of_run
from dir.recipe.restored import METRIC_BINS

Floats = NDArray[np.float64]


def monitor_file(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the report of :func:`dir.monitor.monitor` for the rows of a file.

    The report also has ``model``, ``model_sha256`` (of its model.json), ``input``, ``unit`` and ``retrain``, a
    command line.

    Args:
        given: settings of the command line by name.

    Raises:
        ValueError: a threshold that cannot be used, a file that cannot be read, or no row that can be predicted.
    """
    thresholds = [field.name for field in fields(Settings) if field.name in given]
    settings = Settings(**{name: float(given[name]) for name in thresholds})
    settings.check()
    run, path = Path(given["model"]), Path(given["input"])
    device = given.get("device", "cuda" if torch.cuda.is_available() else "cpu")
    model = load(run, device, text_encoder=given.get("text_encoder"))
    set_dialect(model, given)
    reference = find_reference(model, run)
    pictures = Path(given[FOLDER]) if FOLDER in given else None
    new = read_rows(model, path, given.get("batch_size"), pictures)
    about = model.description
    bins = about.run[METRIC_BINS]
    beyond = "zero" if about.shots.get("zero_shot", True) else "few"
    report = monitor(reference, bins, new, settings, beyond)
    found = {"model": str(run), "input": str(path), "unit": str(about.target.get("unit")), **report}
    # The report of the run's training recognises its own model by this hash, wherever the folder lies.
    found["model_sha256"] = read(find_bundle(run))[1].text("sha256")
    return found | {"retrain": retrain_command(run)}


def find_reference(model: Model, run: Path) -> Reference:
    """Return the aggregates in a bundle, or those of an earlier run from its data.

    Raises:
        ValueError: the bundle keeps none, and the data of the run cannot be read.
    """
    about = model.description
    if len(model.targets) > 1:
        advice = "Train one run for each target."
        raise ValueError(message(str(run), "dir-monitor reads models of one target", model.targets, advice))
    if METRIC_BINS not in about.run:
        problem = "the bundle does not keep its label bins: an earlier release saved it"
        raise ValueError(message(str(run), problem, advice="Train the run again."))
    if MONITORING not in about.run:
        return reference_of_run(find_bundle(run), about)
    if about.run[MONITORING] is None:
        raise ValueError(message(str(run), NOT_MADE))
    return read_reference(Fields(about.run, "model.json", "run").section(MONITORING))


def read_rows(model: Model, path: Path, batch_size: str | None, pictures: Path | None = None) -> NewRows:
    """Return the rows of a file: predictions, columns of a table, and labels where the file has the target."""
    file = read_inputs(model, path, pictures)
    encoder = model.encoder
    options: dict[str, Any] = {"unknown": "zeros"} if isinstance(encoder, TableInputs) else {}
    size = None if batch_size is None else int(batch_size)
    progress = sys.stderr.isatty()
    found = model.predict_rows(file.inputs, batch_size=size, progress=progress, on_error="nan", **options)
    predictions = found.predictions.astype(np.float64)
    if not np.isfinite(predictions).any():
        first = next(iter(found.problems.values()), "the predictions are not finite")
        raise ValueError(message(str(path), f"no row can be predicted; the first: {first}"))
    labels = read_labels(model, file, path)
    if not isinstance(encoder, TableInputs):
        return NewRows(predictions, labels=labels)
    # Windows are made of rows: the columns are those of a row.
    table = TableInputs.open(encoder, file.inputs, unknown="zeros").table
    columns = {name: table[name].to_numpy() for name in table.columns}
    known = {name: values.tolist() for name, values in encoder.encoder.categories.items()}
    return NewRows(predictions, columns, known, labels)


def read_labels(model: Model, file: InputFile, path: Path) -> Floats | None:
    """Return the labels of a file, NaN where missing; None if it has no column of the target."""
    encoder = model.encoder
    target = str(model.description.target["name"])
    if isinstance(encoder, TableInputs | TextInputs) and encoder.target is not None:
        target = encoder.target
    if isinstance(encoder, WindowInputs):
        if target not in file.inputs:
            return None
        ends = encoder.find(file.inputs).labels
        labels = as_numbers(file.inputs[target], str(path)).to_numpy(np.float64)
        return np.where(ends < 0, np.nan, labels[ends])
    if path.suffix == ".npz":
        if target not in npz_names(path):
            return None
        values = read_npz(path, [target])[target]
        if values.shape != (len(file.keys),):
            raise ValueError(message(f"{path}: {target}", f"expected {len(file.keys)} labels", list(values.shape)))
        return values.astype(np.float64)
    if target not in file.keys:
        return None
    return as_numbers(file.keys[target], str(path)).to_numpy(np.float64)


def retrain_command(run: Path) -> str:
    """Return the command that trains the run again from its own config; empty for a bundle without its run."""
    folder = find_bundle(run).parent
    if not (folder / "config.yaml").is_file():
        return ""
    return shlex.join(["dir-train", f"retrain={folder}"])
