"""The block of one of several targets in the report of ``dir-describe``: a line for the histogram, and four more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dir.metrics.table import SHOTS

CELLS = 60
# Eighths of a cell, from the bottom. A bin with labels is never drawn empty.
_LEVELS = " ▁▂▃▄▅▆▇█"


def sparkline(counts: Sequence[float], cells: int = CELLS) -> str:
    """Return the labels per bin as one line of bars, neighbouring bins joined to at most ``cells`` of them.

    Example:
        >>> sparkline([0, 1, 40, 80])
        ' ▁▄█'
    """
    step = -(-len(counts) // cells)
    means = [float(np.mean(counts[at : at + step])) for at in range(0, len(counts), step)]
    top = max(means)
    return "".join(_LEVELS[max(1, round(8 * mean / top)) if mean else 0] for mean in means)


def target_lines(target: str, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the report says of a target, as (heading, text).

    Args:
        target: name of the target.
        report: see :func:`dir.data.label_report.label_report`.
    """
    found, train, transform = report["imbalance"], report["labels"]["train"], report["transform"]
    beyond = report["outliers"]["below"] + report["outliers"]["above"]
    bars = sparkline(report["histogram"]["counts"])
    shots = ", ".join(f"{name} {report['shots'][name]['train']:,}" for name in SHOTS[:3])
    (lds,) = (one for one in report["weights"] if one["name"] == "lds, sqrt_inverse")
    return [
        (target, f"The labels are {found['verdict']}."),
        ("  labels", f"{train['min']:.4g} {bars} {train['max']:.4g}"),
        (
            "",
            f"median {train['median']:.4g}, mean {train['mean']:.4g}, {train['distinct']:,} distinct values, "
            f"{train['zeros']:,} zeros, {beyond:,} outliers",
        ),
        (
            "  imbalance",
            f"share {found['effective_share']:.3f}, ratio {found['density_ratio']:,.0f}, distance "
            f"{found['distance']:.2f}",
        ),
        (
            "  rows",
            f"train rows by shot group: {shots}; weights of lds: {lds['min']:.2g} to {lds['max']:.2g}, "
            f"{lds['effective_size']:,.0f} effective rows",
        ),
        ("  transform", f"{'log(1 + label)' if transform['log1p'] else 'none'}: {transform['reason']}."),
    ]


def closing_lines(reports: Mapping[str, Any]) -> list[str]:
    """Return remarks below the blocks of all targets."""
    lines = ["One target in detail, with the meaning of the measures: data.target=COLUMN."]
    if any(report["transform"]["log1p"] for report in reports.values()):
        problem = "data.log_target has no form for several targets."
        lines.insert(0, f"{problem} Write log(1 + label) into a column of the file, and predict this column.")
    return lines
