"""The arrays of predictions.npz: one row per sample of the splits test and val."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir.data.base import RegressionData, Split
from dir.data.maps import MapData
from dir.metrics import SHOTS, ShotMetrics, TargetMetrics
from dir.models import DistributionHead
from dir.recipe.module import RegressionModule
from dir.recipe.predictions import Results


def prediction_arrays(
    results: Results, metrics: ShotMetrics | TargetMetrics, data: RegressionData
) -> dict[str, NDArray[Any]]:
    """Return the arrays from which every number of metrics.json can be computed again.

    Args:
        results: predictions of val and test.
        metrics: shot metrics of the run, for label bins and shot groups.
        data: data module of the run, for the row ids.

    Returns:
        Arrays of the test split: ``label`` and ``prediction`` (float [N]), ``variance`` (float [N], only of some
        heads), ``log_mass`` (float16 [N, K], only of heads with a label prior, see :func:`dir.recipe.predictions
        .to_half`), ``importance`` (float32 [N], only of data with an importance), ``bin`` (int64 [N], label bin of
        the metrics), ``shot`` (text [N], empty for a label in no group) and ``row_id`` (text [N], only of data with
        row ids). Maps have a row for each labelled pixel and :meth:`dir.data.maps.MapData.pixel_rows` in place of
        ``row_id``. The same names with ``val_`` before them hold the val split. :func:`prior_arrays` adds the prior.

        With several targets, ``label``, ``prediction``, ``bin`` and ``shot`` are [N, K], and ``targets`` (text [K])
        names the columns.
    """
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(metrics, TargetMetrics):
        arrays["targets"] = np.array(metrics.names)
    prefixes: tuple[tuple[Split, str], ...] = (("test", ""), ("val", "val_"))
    for split, prefix in prefixes:
        if split not in results.predictions:
            continue  # closed to a search
        found = results.predictions[split]
        if isinstance(metrics, TargetMetrics):
            places = zip(metrics.parts.values(), found.labels.unbind(1), strict=True)
            index, shot = (
                np.stack(part, axis=1) for part in zip(*(bin_and_shot(*one) for one in places), strict=True)
            )
        else:
            index, shot = bin_and_shot(metrics, found.labels)
        arrays[f"{prefix}label"] = found.labels.numpy()
        arrays[f"{prefix}prediction"] = found.predictions.numpy()
        if found.variances is not None:
            arrays[f"{prefix}variance"] = found.variances.numpy()
        if found.log_mass is not None:
            arrays[f"{prefix}log_mass"] = found.log_mass.numpy()
        if found.importance is not None:
            arrays[f"{prefix}importance"] = found.importance.numpy()
        arrays[f"{prefix}bin"] = index
        arrays[f"{prefix}shot"] = shot
        if isinstance(data, MapData):
            arrays |= {f"{prefix}{name}": array for name, array in data.pixel_rows(split).items()}
            continue
        try:
            arrays[f"{prefix}row_id"] = np.array(data.row_ids(split))
        except RuntimeError:
            # record_of() has warned that the rows of this data have no ids.
            continue
    return arrays


def bin_and_shot(metrics: ShotMetrics, labels: Tensor) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return the label bin and the shot group of each label [N]; the group is empty for a label in no group."""
    index = copy.deepcopy(metrics.bins).cpu()(labels)
    shot = np.full(len(index), "", dtype="U6")
    for name, member in zip(SHOTS, metrics.members.cpu()[1:], strict=True):
        shot[member[index].numpy()] = name
    return index.to(torch.int64).numpy(), shot


def prior_arrays(module: RegressionModule) -> dict[str, NDArray[Any]]:
    """Return the label prior of the head, from which ``log_mass`` gives predictions at any power.

    Returns:
        ``cell_edges`` (float64 [K + 1], raw label units), ``cell_log_density`` (float64 [K]), and the scalars
        ``power``, ``temperature`` and ``point`` ("mean" or "median"), and ``log1p`` if the cells are even in
        log(1 + label), in which the point is then taken; nothing for a head without a label prior.
    """
    head = module.model.head
    if not isinstance(head, DistributionHead):
        return {}
    return {
        "cell_edges": module.units.to_raw64(head.cells.edges).cpu().numpy(),
        "cell_log_density": head.prior.log_density.cpu().numpy(),
        "power": head.power.double().cpu().numpy(),
        "temperature": np.asarray(1.0 if head.temperature is None else float(head.temperature)),
        "point": np.asarray(head.point),
    } | ({"log1p": np.asarray(True)} if module.log1p else {})
