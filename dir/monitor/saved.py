"""A report of ``dir-monitor`` as a JSON file, read with every value checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dir._checks import message
from dir.bundle.fields import BundleError, Fields
from dir.monitor.reading import read_array, read_increasing, read_number
from dir.monitor.reference import GROUPS
from dir.monitor.words import STATUSES

# A report of thousands of columns stays below this size.
MAX_BYTES = 16 * 2**20


def read_report(path: Path) -> dict[str, Any]:
    """Return the report that ``dir-monitor --json`` has written.

    Raises:
        ValueError: no such file, a file of another form, or a report of an earlier release.
    """
    if not path.is_file():
        raise ValueError(message(str(path), "no such file", advice="Write it with dir-monitor --json FILE."))
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(message(str(path), f"expected at most {MAX_BYTES} bytes", path.stat().st_size))
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(message(str(path), f"the file cannot be read as JSON ({error})")) from error
    advice = "Give a file that dir-monitor --json FILE of this release has written."
    if not isinstance(content, dict) or not {"expected_error", "predictions", "status"} <= set(content):
        raise ValueError(message(str(path), "not a report of dir-monitor", advice=advice))
    try:
        _check(Fields(content, str(path), ""))
    except BundleError as error:
        raise ValueError(f"{error} {advice}") from error
    return content


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _check(report: Fields) -> None:
    for name in ("model", "model_sha256", "input", "unit"):
        report.text(name)
    report.integer("rows", 1, 2**53)
    read_number(report, "unpredicted")
    report.texts("reasons")
    if report.values.get("status") not in tuple(STATUSES):
        raise BundleError(message(report.name("status"), "expected 0, 3 or 4", report.values.get("status")))
    for column in report.sections("inputs") if report.values.get("inputs") is not None else []:
        _column(column)
    predictions = report.section("predictions")
    _column(predictions)
    _density(predictions.section("density"))
    for name in GROUPS:
        share = predictions.section("groups").section(name)
        read_number(share, "reference")
        read_number(share, "new")
    if report.values.get("labels") is not None:
        _column(report.section("labels"))
        _density(report.section("labels").section("density"))
    _expected(report.section("expected_error"))
    if report.values.get("realised_error") is not None:
        _realised(report.section("realised_error"))


def _column(column: Fields) -> None:
    column.text("column")
    column.texts("drift")
    for name in ("psi", "psi_by_chance", "missing", "reference_missing"):
        read_number(column, name)
    for name in {"ks", "p_value", "unknown"} & set(column.values):
        read_number(column, name)


def _density(density: Fields) -> None:
    edges = read_increasing(density, "edges")
    if len(edges) < 2:
        raise BundleError(message(density.name("edges"), "expected two numbers or more", edges.tolist()))
    for name in ("reference", "new"):
        read_array(density, name, len(edges) - 1, lowest=0.0)
    for name in ("below", "above"):
        read_number(density, name)


def _expected(error: Fields) -> None:
    for name in ("reference", "lowest", "highest"):
        read_number(error, name)
    if error.flag("identifiable"):
        error.flag("label_shift")
        for name in ("mae", "low", "high", "fit"):
            read_number(error, name)


def _realised(error: Fields) -> None:
    if "all" not in error.values:
        raise BundleError(message(error.name("all"), "expected an object", None))
    for name in ("all", *GROUPS):
        if name not in error.values:
            continue
        one = error.section(name)
        one.integer("rows", 1, 2**53)
        for key in ("mae", "reference"):
            read_number(one, key)
        if one.values.get("low") is not None:
            for key in ("low", "high"):
                read_number(one, key, -np.inf)
        if one.values.get("worse") is not None:
            one.flag("worse")
