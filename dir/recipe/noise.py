"""Weights of training rows whose labels look wrong, from the csv of scripts/audit.py: ``+noise=downweight``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from dir._checks import check_choice, check_positive, message
from dir.data.base import RegressionData
from dir.metrics import SHOTS, ShotMetrics

Array = NDArray[Any]

SIGNALS = ("training_error", "held_out_error", "score")
# Normal values lie within this many median deviations as often as within one standard deviation.
_MAD_TO_DEVIATION = 1.4826


def downweight(signal: Array, groups: Array, limit: float = 3.0) -> Array:
    r"""Return a weight in (0, 1] for each row, below 1 for rows with a high signal beside the rows of their group.

    .. math:: z_i = \frac{s_i - \mathrm{median}_g}{1.4826 \, \mathrm{MAD}_g}, \qquad
        w_i = \min\left(1, \left(\frac{\text{limit}}{z_i}\right)^2\right)

    A rare group has larger errors than a frequent one, so that each group is compared with itself. A group in which
    most labels are wrong has a high median, and keeps its weights.

    Args:
        signal: suspicion of each row, such as its error over the epochs, [N].
        groups: group of each row, [N].
        limit: deviations above the median of the group from which on rows weigh less, > 0.

    Example:
        >>> signal = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
        >>> downweight(signal, np.zeros(6)).round(3)
        array([1.   , 1.   , 1.   , 1.   , 1.   , 0.014])
    """
    weights = np.ones(len(signal))
    for group in np.unique(groups):
        rows = groups == group
        above = signal[rows] - np.median(signal[rows])
        deviation = _MAD_TO_DEVIATION * np.median(np.abs(above))
        # Half of the rows have the same signal: there is no scale to compare with.
        if deviation > 0:
            weights[rows] = np.minimum(1.0, (limit / np.maximum(above / deviation, limit)) ** 2)
    return weights


def apply_noise(node: DictConfig, data: RegressionData, metrics: ShotMetrics) -> None:
    """Multiply the importance of the training rows by the weights of ``+noise=downweight``.

    Args:
        node: settings, see configs/noise/downweight.yaml.
        data: data module, set up and not resampled.
        metrics: shot metrics of the run, for the shot group of each row.

    Raises:
        FileNotFoundError: there is no such csv.
        ValueError: a csv without the columns, or without a training row of this run; data without row ids.
    """
    check_choice("noise.signal", node.signal, SIGNALS)
    check_choice("noise.by", node.by, ("shot", "all"))
    check_positive("noise.limit", node.limit)
    path = Path(node.audit)
    path = path / "audit.csv" if path.is_dir() else path
    if not path.is_file():
        advice = "Run scripts/audit.py RUN, and give its audit.csv."
        raise FileNotFoundError(message("noise.audit", "there is no file", str(path), advice))
    table = _read(path, node.signal)
    try:
        ids = data.row_ids("train")
    except RuntimeError as error:
        raise ValueError(message("noise", f"needs the ids of the training rows ({error})")) from error
    missing = [one for one in ids if one not in table.index]
    if missing:
        advice = "Audit a run with the same data, split and seed."
        problem = f"{len(missing)} of {len(ids)} training rows are not in {path.name}, the first"
        raise ValueError(message("noise.audit", problem, missing[0], advice))
    rows = table.loc[ids]
    shot = _shot_groups(data, metrics)
    if "weight" in rows:
        weights = rows["weight"].to_numpy(np.float64)
    else:
        groups = shot if node.by == "shot" else np.zeros(len(shot))
        weights = downweight(rows[node.signal].to_numpy(np.float64), groups, float(node.limit))
    data.side_files = {**data.side_files, "noise.audit": path}
    notes = _report(weights, shot, len(table) - len(ids))
    data.multiply_importance("train", weights, f"noise.audit={path.name}", notes)


def _read(path: Path, signal: str) -> pd.DataFrame:
    """Return the rows of an audit by their row ids."""
    table = pd.read_csv(path, dtype={"row_id": str})
    column = "weight" if "weight" in table.columns else signal
    lacking = [name for name in ("row_id", column) if name not in table.columns]
    if lacking:
        found = ", ".join(map(str, table.columns))
        raise ValueError(message(str(path), f"no column {lacking[0]!r} (found: {found})"))
    if table["row_id"].isna().any() or table["row_id"].duplicated().any():
        advice = "Audit a run whose rows have ids: a table, pictures or sentence pairs."
        raise ValueError(
            message(str(path), "expected one row for each row_id, some are empty or repeated", advice=advice)
        )
    values = pd.to_numeric(table[column], errors="coerce")
    wrong = ~np.isfinite(values.to_numpy(np.float64))
    if wrong.any():
        problem = f"column {column!r}: {int(wrong.sum())} values are not finite numbers, the first is"
        raise ValueError(message(str(path), problem, str(table[column][wrong].iloc[0])))
    return table.assign(**{column: values}).set_index("row_id")


def _shot_groups(data: RegressionData, metrics: ShotMetrics) -> Array:
    """Return the shot group of each training row as text, empty for a label in no group."""
    labels = data.labels("train")
    index, shot = metrics.bins(labels), np.full(len(labels), "", dtype="U6")
    for name, member in zip(SHOTS, metrics.members[1:], strict=True):
        shot[member[index].numpy()] = name
    return shot


def _report(weights: Array, shot: Array, unused: int) -> list[str]:
    """Return lines that say how many rows of each shot group weigh less."""
    lines = []
    for name in (*SHOTS, ""):
        rows = shot == name
        if rows.any():
            less = weights[rows] < 1
            lines.append(
                f"noise: {int(less.sum())} of {int(rows.sum())} training rows in {name or 'no group'} weigh less, "
                f"mean weight of the group {weights[rows].mean():.3f}"
            )
    return lines + ([f"noise: {unused} rows of the csv are no training rows of this run"] if unused else [])
