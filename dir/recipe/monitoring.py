"""Aggregates of a run for ``dir-monitor``: made when the run ends, or later from the data that its config names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from dir._archives import npz_names, read_npz
from dir._checks import message
from dir.bundle.description import Description
from dir.data.base import RegressionData
from dir.data.maps import MapData
from dir.monitor import Reference, make_reference
from dir.monitor.columns import summarise_table
from dir.recipe.kept_encoding import check_encoding, kept_encoding
from dir.recipe.nodes import instantiate_with
from dir.recipe.restored import METRIC_BINS
from dir.recipe.run_data import read_log1p, read_split
from dir.recipe.run_folder import RunFolder
from dir.recipe.targets import read_config

NOT_MADE = (
    "the run cannot be monitored: it has fewer than 20 validation rows, predictions that are not finite, several "
    "targets, or maps as labels"
)
_LABEL, _PREDICTION = "val_label", "val_prediction"


def summarise_run(
    data: RegressionData, labels: Tensor, predictions: Tensor, metric_bins: Mapping[str, Any]
) -> Reference | None:
    """Return the aggregates that dir-monitor compares new rows with; None for the reasons in :data:`NOT_MADE`.

    Args:
        data: data module of the run, set up.
        labels, predictions: of the validation rows, in raw units, [N].
        metric_bins: see :func:`dir.recipe.evaluate_file.describe_metric_bins`.
    """
    if labels.ndim != 1 or isinstance(data, MapData):
        return None
    population, table = data.population()
    columns = None
    if table is not None:
        categories = [column["name"] for column in data.encoding()["encoder"]["categories"]]
        columns = summarise_table(table, categories)
    whole, own, predicted = (part.double().numpy() for part in (population, labels, predictions))
    return make_reference(columns, whole, own, predicted, metric_bins)


def reference_of_run(bundle: Path, about: Description) -> Reference:
    """Return the aggregates of a run whose bundle keeps none, from its predictions.npz and its data.

    Args:
        bundle: in its run folder.
        about: its description.

    Raises:
        ValueError, FileNotFoundError: the run folder is not there, or the data of the run is gone or has changed.
    """
    run = RunFolder(bundle.parent)
    advice = "Give the whole run folder, with its data in place, or train the run again: dir-train retrain=RUN."
    if not (run.config.is_file() and run.predictions.is_file()):
        problem = (
            "the bundle keeps no aggregates for monitoring, and no config.yaml and predictions.npz lie beside it"
        )
        raise ValueError(message(str(bundle), problem, advice=advice))
    found = read_npz(run.predictions, [_LABEL, _PREDICTION])
    try:
        cfg = read_config(run.config)
        data = _read_data(cfg, run, about)
    except (OSError, ValueError) as error:
        problem = f"the bundle keeps no aggregates for monitoring, and the data of the run cannot be read ({error})"
        raise ValueError(message(str(run.path), problem, advice=advice)) from error
    if cfg.get("cost") is not None and "val_log_mass" in npz_names(run.predictions):
        problem = "predictions.npz holds decisions under the cost of the run, which the bundle does not predict"
        raise ValueError(message(str(run.path), problem, advice="Train the run again: dir-train retrain=RUN."))
    labels, predictions = (torch.from_numpy(found[name]) for name in (_LABEL, _PREDICTION))
    reference = summarise_run(data, labels, predictions, about.run[METRIC_BINS])
    if reference is None:
        raise ValueError(message(str(run.path), NOT_MADE))
    return reference


def _read_data(cfg: DictConfig, run: RunFolder, about: Description) -> RegressionData:
    split, log1p = read_split(run.path), read_log1p(run.path)
    data: RegressionData = instantiate_with(cfg.data)
    data.kept_log1p, data.kept_encoding = log1p, kept_encoding(run.model, about)
    if split is None:
        data.setup()
    else:
        data.restore_split(split)
    check_encoding(data, run.model, about)
    return data
