"""New rows beside those of a training: the reports that ``dir-monitor`` writes, as parts of a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dir._checks import message
from dir.bundle.description import DESCRIPTION, read
from dir.compare.html.series import folder_of
from dir.compare.html.svg import svg_text
from dir.compare.runs import Run
from dir.figures import density_shift_figure
from dir.monitor.reference import GROUPS
from dir.monitor.saved import read_report
from dir.monitor.words import SHOWN, drift_text, expected_text, worst_first

_VERDICTS = {
    0: "No drift: the new rows look like those of the training.",
    3: "Drift: the new rows do not look like those of the training.",
    4: "Larger error: the model is worse on the new rows than on validation.",
}
# Status 4 of new rows without labels.
_EXPECTED = "Larger error: without labels, the model is expected to be worse on the new rows than on validation."


def read_reports(paths: Sequence[Path], runs: Sequence[Run]) -> list[tuple[Run, Path, dict[str, Any]]]:
    """Return the run, the file and the content of each report of ``dir-monitor``.

    A report belongs to the run whose model bundle has the hash that the report names, wherever the folder lies.

    Raises:
        ValueError: a file that is no such report, or about a model of no run.
    """
    if not paths:
        return []
    models = {}
    for run in runs:
        folder = folder_of(run)
        if folder is not None and (folder / "model" / DESCRIPTION).is_file():
            models[read(folder / "model")[1].text("sha256")] = run
    found = []
    for path in paths:
        content = read_report(path)
        about = models.get(content["model_sha256"])
        if about is None:
            problem = f"is about the model of {content['model']}, which is none of the runs of this report"
            advice = "Give the folder of that run. After another training of it, run dir-monitor again."
            raise ValueError(message(str(path), problem, advice=advice))
        found.append((about, path, content))
    return found


def new_data_part(run: Run, report: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return what the page shows of one report; ``prefix`` is unique on the page."""
    densities = {"predictions": report["predictions"]["density"]}
    if report["labels"] is not None:
        densities["labels"] = report["labels"]["density"]
    columns, realised = list(report["inputs"] or []), report["realised_error"] is not None
    drifted = sum(bool(one["drift"]) for one in columns)
    return {
        "run": f"{run.label}, seed {run.seed}",
        "input": report["input"],
        "rows": report["rows"],
        "verdict": _EXPECTED if report["status"] == 4 and not realised else _VERDICTS[report["status"]],
        "alarm": report["status"] != 0,
        "reasons": report["reasons"],
        "unpredicted": f"{100 * report['unpredicted']:.1f}" if report["unpredicted"] else "",
        "svg": svg_text(density_shift_figure(densities, report["unit"]), prefix),
        "labels": report["labels"] is not None,
        "columns": [_column(one) for one in worst_first(columns)[:SHOWN]],
        "inputs": f"{drifted} of {len(columns)} inputs drift."
        + (f" The {SHOWN} inputs with the most drift are shown." if len(columns) > SHOWN else ""),
        "densities": [_column(one) for one in (report["predictions"], report["labels"]) if one is not None],
        "expected": expected_text(report["expected_error"], report["unit"]),
        "errors": _errors(report),
        "unit": report["unit"],
    }


def _column(one: Mapping[str, Any]) -> dict[str, Any]:
    missing = f"{100 * one['missing']:.1f} % ({100 * one['reference_missing']:.1f} %)"
    ks = f"{one['ks']:.3f}" if "ks" in one else "-"
    cells = (f"{one['psi']:.3f}", f"{one['psi_by_chance']:.3f}", ks, missing, drift_text(one) or "no")
    return {"name": one["column"], "cells": cells, "drift": bool(one["drift"])}


def _errors(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a line for all labels and for each shot group: shares of the predictions, and errors in words."""
    shares, realised = report["predictions"]["groups"], report["realised_error"] or {}
    lines = []
    for name in ("all", *GROUPS):
        share, error = shares.get(name), realised.get(name)
        texts = [f"{100 * share[key]:.1f} %" if share else "" for key in ("reference", "new")]
        if error is None:
            texts += ["-", "-", "-", "-", "no rows" if realised else "no labels"]
        else:
            texts += _error(error)
        lines.append({"name": name, "cells": texts, "worse": error is not None and bool(error["worse"])})
    return lines


def _error(one: Mapping[str, Any]) -> list[str]:
    interval = "-" if one["low"] is None else f"[{one['low']:+.4g}, {one['high']:+.4g}]"
    difference = f"{one['mae'] - one['reference']:+.4g} {interval}"
    judged = {None: "too few rows to say", True: "larger", False: "not larger"}[one["worse"]]
    return [f"{one['rows']:,}", f"{one['reference']:.4g}", f"{one['mae']:.4g}", difference, judged]
