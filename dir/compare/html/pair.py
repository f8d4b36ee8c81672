"""Two runs side by side: paired differences of their absolute errors on the same test rows, by shot and label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dir._checks import message
from dir.compare.html.series import figure_edges, folder_of, read_one_target
from dir.compare.html.svg import svg_text
from dir.compare.runs import Run
from dir.figures.errors import bin_of
from dir.figures.style import COLOURS, GREY, INK, behind, label_name, legend, new_figure, styled

Array = NDArray[Any]
# Rows of a bin whose interval is drawn.
_LEAST_ROWS = 5


def differences(first: Run, second: Run) -> tuple[Array, Array, Array]:
    """Return labels, shot groups, and the absolute error of the second run minus that of the first, ``[N]`` each.

    Raises:
        ValueError: a run without predictions or with several targets, or other test rows.
    """
    saved = []
    for run in (first, second):
        folder = folder_of(run)
        if folder is None or not (folder / "predictions.npz").is_file():
            raise ValueError(message(run.source, "no predictions.npz, which the comparison of two runs needs"))
        saved.append(read_one_target(folder))
    one, other = saved
    same_rows = not ("row_id" in one and "row_id" in other) or np.array_equal(one["row_id"], other["row_id"])
    if not np.array_equal(one["label"], other["label"]) or not same_rows:
        problem = f"{first.source} and {second.source} have other test rows, so that nothing can be paired"
        raise ValueError(message("runs", problem, advice="Give two runs with the same data and split seed."))
    label = one["label"].astype(np.float64)
    gap = np.abs(other["prediction"] - label) - np.abs(one["prediction"] - label)
    return label, one["shot"], gap.astype(np.float64)


def can_pair(first: Run, second: Run) -> bool:
    """Whether both runs have predictions of the same test rows."""
    try:
        differences(first, second)
    except ValueError:
        return False
    return True


def mean_interval(gap: Array) -> tuple[float, float, float]:
    """Return the mean of paired differences and its 95 % interval of Student's t over the rows.

    The interval is NaN with fewer than two rows. It says how sure the difference of these two networks is, and not
    how another training would come out.

    Example:
        >>> [round(value, 3) for value in mean_interval(np.array([1.0, 2.0, 3.0]))]
        [2.0, -0.484, 4.484]
    """
    if len(gap) < 2:
        return float(gap.mean()) if len(gap) else math.nan, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(gap) - 1)) * float(gap.std(ddof=1)) / math.sqrt(len(gap))
    mean = float(gap.mean())
    return mean, mean - half, mean + half


def shot_differences(shot: Array, gap: Array) -> list[tuple[str, int, str]]:
    """Return group, rows, and 'mean [low, high]' of the paired differences of each group with rows."""
    rows = {"all": np.ones(len(gap), dtype=bool)}
    rows |= {name: shot == name for name in ("many", "median", "few", "zero")}
    found = []
    for name, at in rows.items():
        mean, low, high = mean_interval(gap[at])
        interval = f" [{low:+.4g}, {high:+.4g}]" if math.isfinite(low) else ""
        if at.any():
            found.append((name, int(at.sum()), f"{mean:+.4g}{interval}"))
    return found


@styled
def pair_figure(label: Array, gap: Array, names: tuple[str, str], unit: str, prefix: str) -> str:
    """Return the SVG of the paired differences along the label; bins of five rows or more have a 95 % interval."""
    edges = figure_edges(label)
    at, bins = bin_of(label, edges), len(edges) - 1
    centers, rows = (edges[:-1] + edges[1:]) / 2, np.bincount(bin_of(label, edges), minlength=bins)
    found = np.array([mean_interval(gap[at == number]) for number in range(bins)])
    figure, axes = new_figure(7.4, 3.6)
    back = behind(axes, "test rows")
    back.bar(centers, rows, np.diff(edges), color=GREY, alpha=0.25, label="test rows")
    mean, low, high = found.T
    # The interval of two or three rows may be wider than the whole figure.
    low[rows < _LEAST_ROWS] = high[rows < _LEAST_ROWS] = np.nan
    axes.vlines(centers, low, high, color=COLOURS[0], linewidth=2, label="95 % interval")
    axes.plot(centers, mean, "o", color=COLOURS[0], markersize=4, label="mean")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(label_name(unit))
    axes.set_ylabel(f"error of {names[1]} minus {names[0]}")
    legend(figure, [axes, back], "outside right upper", 1)
    return svg_text(figure, f"{prefix}-pair")


def pair_section(first: Run, second: Run, unit: str, prefix: str) -> dict[str, Any]:
    """Return the content of the part of a section that compares two runs."""
    label, shot, gap = differences(first, second)
    names = tuple(f"{run.label}, seed {run.seed}" for run in (first, second))
    if names[0] == names[1]:
        names = (first.source, second.source)
    return {
        "names": names,
        "rows": shot_differences(shot, gap),
        "svg": pair_figure(label, gap, (names[0], names[1]), unit, prefix),
    }
