"""What a run keeps for the monitoring of its model: aggregates of its rows and of its validation predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dir._checks import message
from dir.bundle.description import bins_from_dict
from dir.bundle.fields import BundleError, Fields
from dir.monitor.columns import Column, read_column, summarise_numbers
from dir.monitor.density import effective_size
from dir.monitor.errors import ErrorProfile, population_weights
from dir.monitor.label_shift import Confusion, make_confusion
from dir.monitor.reading import read_array, read_increasing, read_number

# Entry of a bundle's section ``run``.
MONITORING = "monitoring"
GROUPS = ("many", "median", "few", "zero")
# Fewest validation rows.
FEWEST = 20

Floats = NDArray[np.float64]


class GroupErrors(NamedTuple):
    """Validation errors of a shot group, and the share of the predictions in the group.

    Args:
        rows: validation rows with a label in the group.
        mean: of their absolute errors; 0 without rows.
        share: share of the predictions that lie in the label bins of the group.
    """

    rows: int
    mean: float
    share: float


class Reference(NamedTuple):
    """Aggregates of a run. Validation rows are weighted such that their labels are distributed as those of all rows.

    Args:
        columns: inputs of all rows; None for inputs that are no table.
        labels: labels of all rows.
        predictions: predictions of the validation rows.
        confusion: their predictions and errors by label.
        groups: by shot group.
    """

    columns: list[Column] | None
    labels: Column
    predictions: Column
    confusion: Confusion
    groups: dict[str, GroupErrors]

    @property
    def error(self) -> float:
        """Mean absolute error of the validation rows, at the label density of all rows."""
        return self.confusion.errors.expected(self.confusion.shares)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON keeps."""
        errors = self.confusion.errors
        return {
            "columns": None if self.columns is None else [column.to_dict() for column in self.columns],
            "labels": self.labels.to_dict(),
            "predictions": self.predictions.to_dict(),
            "errors": {
                "edges": errors.edges.tolist(),
                "mean": errors.mean.tolist(),
                "deviation": errors.deviation.tolist(),
                "rows": errors.rows.tolist(),
                "shares": self.confusion.shares.tolist(),
                "joint": [
                    {"prediction_bin": number, "shares": row.tolist()}
                    for number, row in enumerate(self.confusion.joint)
                ],
            },
            "groups": {name: group._asdict() for name, group in self.groups.items()},
        }


def read_reference(fields: Fields) -> Reference:
    """Return the reference of :meth:`Reference.to_dict`.

    Raises:
        BundleError: a value of another form.
    """
    columns = None
    if fields.values.get("columns") is not None:
        columns = [read_column(one) for one in fields.sections("columns")]
    predictions = _numbers(fields.section("predictions"))
    assert predictions.edges is not None
    part = fields.section("errors")
    edges = read_increasing(part, "edges")
    size = len(edges) + 1
    mean, deviation = (read_array(part, key, size, lowest=0.0) for key in ("mean", "deviation"))
    rows, shares = (read_array(part, key, size, lowest=1e-12) for key in ("rows", "shares"))
    inner = predictions.edges[1:-1]
    listed = part.sections("joint")
    if len(listed) != len(inner) + 1:
        raise BundleError(message(part.name("joint"), f"expected {len(inner) + 1} rows", len(listed)))
    joint = np.stack([read_array(row, "shares", size, lowest=0.0) for row in listed])
    if np.abs(joint.sum(axis=0) - 1).max() > 1e-6:
        raise BundleError(message(part.name("joint"), "expected shares whose sum is 1 in each label bin"))
    groups = {}
    for name in GROUPS:
        one = fields.section("groups").section(name)
        numbers = [read_number(one, key) for key in ("mean", "share")]
        groups[name] = GroupErrors(one.integer("rows", 0, 2**53), *numbers)
    confusion = Confusion(ErrorProfile(edges, mean, deviation, rows), inner, joint, shares / shares.sum())
    return Reference(columns, _numbers(fields.section("labels")), predictions, confusion, groups)


def make_reference(
    columns: list[Column] | None,
    population: Floats,
    labels: Floats,
    predictions: Floats,
    metric_bins: Mapping[str, Any],
) -> Reference | None:
    """Return the aggregates of a run.

    Args:
        columns: inputs of all rows; None for inputs that are no table.
        population: labels of all rows.
        labels, predictions: of the validation rows, [N].
        metric_bins: bins of the shot metrics and the bins of each shot group, see
            :func:`dir.recipe.evaluate_file.describe_metric_bins`.

    Returns:
        None if there are fewer than 20 validation rows, or a prediction is not finite.
    """
    if len(labels) < FEWEST or not (np.isfinite(predictions).all() and np.isfinite(labels).all()):
        return None
    weights = population_weights(labels, population)
    # The counts are those of an unweighted sample of the same precision.
    weights *= effective_size(weights) / weights.sum()
    shown = summarise_numbers("prediction", predictions, weights)
    whole = summarise_numbers("label", population)
    assert shown is not None
    assert shown.edges is not None
    assert whole is not None
    confusion = make_confusion(labels, predictions, weights, population, shown.edges[1:-1])
    error = np.abs(labels - predictions)
    own, predicted = (group_names(metric_bins, values) for values in (labels, predictions))
    groups = {}
    for name in GROUPS:
        rows = error[own == name]
        share = float(weights[predicted == name].sum() / weights.sum())
        groups[name] = GroupErrors(len(rows), float(rows.mean()) if len(rows) else 0.0, share)
    return Reference(columns, whole, shown, confusion, groups)


def group_names(metric_bins: Mapping[str, Any], values: Floats, beyond: str | None = None) -> NDArray[np.str_]:
    """Return the shot group of labels or predictions [N]; empty for a value in no group.

    Args:
        metric_bins: see :func:`make_reference`.
        values: [N].
        beyond: group of values beyond all bins. None (default): the group of the nearest bin.

    Raises:
        BundleError: bins of another form.
    """
    fields = Fields(dict(metric_bins), "model.json", "run.metric_bins")
    bins = bins_from_dict(fields)
    groups = fields.section("groups")
    names = np.full(bins.num_bins + 1, "", dtype="U6")
    for name in GROUPS:
        members = groups.integers(name)
        if any(member >= bins.num_bins for member in members):
            raise BundleError(message(groups.name(name), f"expected bins below {bins.num_bins}", max(members)))
        names[members] = name
    given = torch.from_numpy(np.array(values)).to(bins.dtype)
    found: NDArray[np.str_] = names[bins(given).numpy()]
    if beyond is not None:
        found[((given < bins.edges[0]) | (given > bins.edges[-1])).numpy()] = beyond
    return found


def _numbers(fields: Fields) -> Column:
    column = read_column(fields)
    if column.edges is None or len(column.edges) < 2:
        raise BundleError(message(fields.path, "expected numbers with two edges or more"))
    return column
