"""The report of a monitoring: drift of inputs, predictions and labels, and the error on the new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dir.monitor.columns import Column, compare_column, tests_of
from dir.monitor.density import shown_density
from dir.monitor.errors_report import expected_error, realised_error
from dir.monitor.reference import GROUPS, Reference, group_names
from dir.monitor.settings import Settings

# Exit statuses. 1 and 2 are those of wrong arguments and of errors.
NONE, DRIFT, WORSE = 0, 3, 4

Floats = NDArray[np.float64]


class NewRows(NamedTuple):
    """New rows of a model.

    Args:
        predictions: of all rows, NaN for a row that could not be predicted, [N].
        columns: values of each column of a table by its name, float64 or text, [rows]; None for other inputs.
        categories: categories of the training rows by column.
        labels: NaN where missing, [N]; None without labels.
    """

    predictions: Floats
    columns: Mapping[str, Any] | None = None
    categories: Mapping[str, Sequence[str]] = {}
    labels: Floats | None = None


def monitor(
    reference: Reference,
    metric_bins: Mapping[str, Any],
    new: NewRows,
    settings: Settings | None = None,
    beyond: str = "zero",
) -> dict[str, Any]:
    """Return the report of new rows, JSON-able.

    Args:
        reference: aggregates of the run.
        metric_bins: bins of the shot metrics and of the shot groups of the run.
        new: the rows.
        settings: thresholds. None (default): those of :class:`~dir.monitor.Settings`.
        beyond: shot group of labels beyond all labels of the run. Default "zero".

    Returns:
        ``rows``, ``unpredicted`` (share), ``settings``, ``inputs`` (list by column, or None), ``predictions``,
        ``labels`` (or None), ``expected_error``, ``realised_error`` (or None), ``reasons`` (list of texts) and
        ``status``: 0, 3 for drift, 4 for a larger error. ``density`` of predictions and labels: see
        ``dir.monitor.density.shown_density``.

    Raises:
        ValueError: a threshold that cannot be used, or no row that could be predicted.
    """
    settings = settings or Settings()
    settings.check()
    good = np.isfinite(new.predictions)
    predictions = new.predictions[good]
    if not len(predictions):
        raise ValueError("predictions: expected a row that can be predicted, got none.")
    found: dict[str, Any] = {
        "rows": len(new.predictions),
        "unpredicted": float(1 - good.mean()),
        "settings": asdict(settings),
        "inputs": _inputs(reference, new, settings),
        "predictions": _predictions(reference, metric_bins, predictions, settings),
        "labels": None,
        "expected_error": expected_error(reference, predictions, settings),
        "realised_error": None,
    }
    if new.labels is not None:
        known = good & np.isfinite(new.labels)
        labels = new.labels[known].astype(np.float64)
        if len(labels):
            own = settings.shared(tests_of([reference.labels]))
            drift = compare_column(reference.labels, labels, None, own)
            found["labels"] = drift | {"density": _density(reference.labels, labels)}
            groups = group_names(metric_bins, labels, beyond)
            found["realised_error"] = realised_error(reference, labels, new.predictions[known], groups, settings)
    found["reasons"] = reasons_of(found)
    found["status"] = NONE if not found["reasons"] else WORSE if worse_of(found) else DRIFT
    return found


def _inputs(reference: Reference, new: NewRows, settings: Settings) -> list[dict[str, Any]] | None:
    if reference.columns is None or new.columns is None:
        return None
    own = settings.shared(tests_of(reference.columns))
    return [
        compare_column(column, new.columns[column.name], new.categories.get(column.name), own)
        for column in reference.columns
    ]


def _predictions(
    reference: Reference, metric_bins: Mapping[str, Any], predictions: Floats, settings: Settings
) -> dict[str, Any]:
    own = settings.shared(tests_of([reference.predictions]))
    found = compare_column(reference.predictions, predictions.astype(np.float64), None, own)
    names = group_names(metric_bins, predictions)
    shares = {
        name: {"reference": reference.groups[name].share, "new": float((names == name).mean())} for name in GROUPS
    }
    return found | {"groups": shares, "density": _density(reference.predictions, predictions.astype(np.float64))}


def _density(column: Column, values: Floats) -> dict[str, Any]:
    assert column.edges is not None
    assert column.quantiles is not None
    return shown_density(column.quantiles, float(column.edges[0]), float(column.edges[-1]), values)


def reasons_of(report: Mapping[str, Any]) -> list[str]:
    """Return why the status is not 0, one text for each reason."""
    found = []
    limit = report["settings"]["missing"]
    if report["unpredicted"] > limit:
        share = f"{100 * report['unpredicted']:.1f} %"
        found.append(f"{share} of the rows cannot be predicted, more than {100 * limit:g} %")
    drifted = [one["column"] for one in report["inputs"] or [] if one["drift"]]
    if drifted:
        more = f" and {len(drifted) - 5} more" if len(drifted) > 5 else ""
        found.append(f"{len(drifted)} of {len(report['inputs'])} columns drift: {', '.join(drifted[:5])}{more}")
    if report["predictions"]["drift"]:
        found.append("the density of the predictions drifts")
    if report["labels"] is not None and report["labels"]["drift"]:
        found.append("the density of the labels drifts")
    worse = worse_of(report)
    if worse == ["expected"]:
        found.append("the expected error is larger than on validation")
    elif worse:
        found.append(f"the error is larger than on validation: {', '.join(worse)}")
    return found


def worse_of(report: Mapping[str, Any]) -> list[str]:
    """Return the groups whose error is larger than on validation; ["expected"] for the estimate without labels."""
    realised = report["realised_error"]
    if realised is None:
        return ["expected"] if report["expected_error"]["worse"] else []
    return [name for name in ("all", *GROUPS) if name in realised and realised[name]["worse"]]
