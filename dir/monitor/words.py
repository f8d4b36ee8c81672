"""Words of a monitoring, for the terminal and for the report of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Columns that are shown; a report in JSON holds all.
SHOWN = 15
STATUSES = {0: "no drift", 3: "drift", 4: "larger error"}
_DRIFT = {"psi": "density", "ks": "distribution"}


def worst_first(columns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return columns that drift, then the others, each by their PSI."""
    return sorted(columns, key=lambda one: (not one["drift"], -one["psi"]))


def drift_text(column: Mapping[str, Any]) -> str:
    """Return the reasons of a drift; empty for a column without."""
    return ", ".join(_DRIFT.get(reason, reason) for reason in column["drift"])


def expected_text(found: Mapping[str, Any], unit: str) -> str:
    """Return the sentence about the error that is expected without labels."""
    bounds = f"errors by label lie between {found['lowest']:.4g} and {found['highest']:.4g}"
    start = f"expected error ({unit}), without labels: "
    if not found["identifiable"]:
        return f"{start}not identifiable, because the predictions do not depend on the label; {bounds}"
    interval = f"{found['mae']:.4g} [{found['low']:.4g}, {found['high']:.4g}], {found['reference']:.4g} before"
    if not found["label_shift"]:
        problem = f"the predictions do not look like label shift (p {found['fit']:.2g})"
        return f"{start}no estimate, because {problem}; {bounds}"
    return f"{start}{interval}, if only the label density has changed (p {found['fit']:.2g}); {bounds}"
