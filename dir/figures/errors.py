"""Figures of predictions: errors beside the density of labels, residuals along the label, coverage of intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dir._checks import message
from dir.figures.style import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    SHOT_COLOURS,
    SHOT_DASHES,
    behind,
    label_name,
    legend,
    mark_every,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
# Levels of the intervals in the figure of their coverage.
LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class BinErrors:
    """Errors by label bin: rows, mean absolute error and mean residual (prediction minus label), ``[B]`` each.

    Errors are NaN in a bin without rows.
    """

    rows: Array
    mae: Array
    bias: Array


def bin_errors(labels: ArrayLike, predictions: ArrayLike, edges: ArrayLike) -> BinErrors:
    """Return the errors by bin. Labels beyond the edges belong to the outermost bins.

    Args:
        labels, predictions: ``[N]``, in the same unit.
        edges: increasing edges, ``[B + 1]``.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> found = bin_errors([0.2, 0.4, 1.5], [0.4, 0.0, 1.0], [0.0, 1.0, 2.0])
        >>> found.mae.round(6).tolist(), found.bias.round(6).tolist()
        ([0.3, 0.5], [-0.1, -0.5])
    """
    truth, gap = _pair(labels, predictions)
    at, bins = bin_of(truth, edges), len(np.asarray(edges)) - 1
    rows = np.bincount(at, minlength=bins).astype(float)
    with np.errstate(invalid="ignore"):
        return BinErrors(rows, np.bincount(at, np.abs(gap), bins) / rows, np.bincount(at, gap, bins) / rows)


def bin_of(values: ArrayLike, edges: ArrayLike) -> NDArray[np.int64]:
    """Return the bin of each value; values beyond the edges belong to the outermost bins."""
    inner = np.asarray(edges)
    return np.clip(np.searchsorted(inner, np.asarray(values), side="right") - 1, 0, len(inner) - 2)


def density_correlation(mae: ArrayLike, density: ArrayLike) -> tuple[float, int]:
    """Return Pearson's correlation of the errors with the density over the bins with rows, and their number.

    NaN with fewer than three bins, or where the errors or the density are constant.

    Example:
        >>> density_correlation([3.0, 2.0, 1.0, float("nan")], [1.0, 2.0, 3.0, 9.0])
        (-1.0, 3)

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sections 3.1 and 3.2.
    """
    errors, values = np.asarray(mae, dtype=float), np.asarray(density, dtype=float)
    seen = np.isfinite(errors) & np.isfinite(values)
    number = int(seen.sum())
    if number < 3 or np.ptp(errors[seen]) == 0 or np.ptp(values[seen]) == 0:
        return math.nan, number
    return float(np.corrcoef(errors[seen], values[seen])[0, 1]), number


@styled
def error_density_figure(
    errors: Mapping[str, ArrayLike],
    edges: ArrayLike,
    empirical: ArrayLike,
    effective: ArrayLike,
    unit: str = "",
) -> Figure:
    """Return the figure of the errors over the empirical (left) and over the effective density of training labels.

    The legend holds the correlation of each error with the density. Where the effective density goes along better
    with the errors (closer to -1), neighbouring labels share what the network learns: the argument for LDS.

    Args:
        errors: mean absolute error per bin, ``[B]``, of one or several methods; NaN for a bin without rows.
        edges: edges of the bins, ``[B + 1]``.
        empirical, effective: training labels per bin and their effective density, ``[B]``.
        unit: unit of the label, for the axes.

    Raises:
        ValueError: no error, or an array of another number of bins.

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Sections 3.1 and 3.2.
    """
    if not errors:
        raise ValueError(message("errors", "expected at least one method", 0))
    limits = np.asarray(edges, dtype=float)
    bins = len(limits) - 1
    for name, values in {"empirical": empirical, "effective": effective, **errors}.items():
        if np.shape(values) != (bins,):
            raise ValueError(message(name, f"expected one value per bin, [{bins}]", list(np.shape(values))))
    centers = (limits[1:] + limits[:-1]) / 2
    figure, panels = new_figure(10.0, 3.6, 1, 2)
    names = ("training labels per bin", "effective density")
    for axes, name, density in zip(panels[0], names, (empirical, effective), strict=True):
        back = behind(axes, name)
        back.stairs(np.asarray(density, dtype=float), limits, fill=True, color=GREY, alpha=0.3)
        for number, (method, values) in enumerate(errors.items()):
            correlation, seen = density_correlation(values, density)
            shown = f"{correlation:.2f}" if math.isfinite(correlation) else "not defined"
            mae = np.asarray(values, dtype=float)
            where = np.isfinite(mae)
            axes.plot(
                centers[where],
                mae[where],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=3.5,
                markevery=mark_every(bins),
                linewidth=1.3,
                label=f"{method}: correlation {shown} over {seen} bins",
            )
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label_name(unit))
        axes.set_ylabel("mean absolute error")
        axes.set_title(f"error and {name}")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.12))
    return figure


@styled
def residual_figure(labels: ArrayLike, predictions: ArrayLike, edges: ArrayLike, unit: str = "") -> Figure:
    """Return the figure of the residuals (prediction minus label) along the label: mean, and 50 % and 90 % of them.

    Above 0 the predictions are too high. Bands need ten rows in a bin for 90 %, and four for 50 %.

    Args:
        labels, predictions: ``[N]``, in the same unit.
        edges: edges of the bins, ``[B + 1]``.
        unit: unit of the label, for the axes.

    Raises:
        ValueError: no row, or shapes that differ.
    """
    truth, gap = _pair(labels, predictions)
    limits = np.asarray(edges, dtype=float)
    at, bins = bin_of(truth, limits), len(limits) - 1
    centers, widths = (limits[1:] + limits[:-1]) / 2, np.diff(limits)
    figure, panels = new_figure(7.0, 4.2, 2, 1, sharex=True, height_ratios=(1, 4))
    counts, axes = panels[:, 0]
    counts.bar(centers, np.bincount(at, minlength=bins), widths, color=GREY, alpha=0.5)
    counts.set_ylabel("rows")
    # Bars would pull the limits to their ends and cut the points.
    axes.use_sticky_edges = False
    groups = [gap[at == number] for number in range(bins)]
    for share, least, alpha in ((0.9, 10, 0.25), (0.5, 4, 0.5)):
        low, high = (
            np.array([np.quantile(rows, q) if len(rows) >= least else np.nan for rows in groups])
            for q in ((1 - share) / 2, (1 + share) / 2)
        )
        axes.bar(
            centers, high - low, widths, low, color=COLOURS[5], alpha=alpha, label=f"{100 * share:.0f} % of the rows"
        )
    mean = np.array([rows.mean() if len(rows) else np.nan for rows in groups])
    axes.plot(centers, mean, "o", color=COLOURS[1], markersize=4, label="mean (bias)")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(label_name(unit))
    axes.set_ylabel("prediction minus label")
    legend(figure, [axes])
    return figure


def coverage(
    labels: ArrayLike, predictions: ArrayLike, variances: ArrayLike, levels: Sequence[float] = LEVELS
) -> Array:
    r"""Return the share of labels in the central normal interval of each level, ``[len(levels)]``; NaN without rows.

    .. math:: \frac1n \sum_i \left[ |2 \Phi(z_i) - 1| \le q \right], \qquad z_i = (y_i - \hat y_i) / \sigma_i

    Args:
        labels, predictions, variances: ``[N]``; variances in squared units of the label.
        levels: probabilities in (0, 1).

    Example:
        >>> coverage([0.0, 0.0, 3.0], [0.0, 0.5, 0.0], [1.0, 1.0, 1.0], [0.5, 0.9]).round(3).tolist()
        [0.667, 0.667]

    Reference:
        Kuleshov et al., Accurate Uncertainties for Deep Learning Using Calibrated Regression, ICML 2018.
    """
    from scipy.special import ndtr

    _, gap = _pair(labels, predictions)
    probability = np.abs(2 * ndtr(gap / np.sqrt(np.asarray(variances, dtype=float))) - 1)
    if not len(gap):
        return np.full(len(levels), np.nan)
    shares: Array = (probability[:, None] <= np.asarray(levels)[None]).mean(axis=0)
    return shares


@styled
def reliability_figure(
    coverages: Mapping[str, ArrayLike], levels: Sequence[float] = LEVELS, rows: Mapping[str, int] | None = None
) -> Figure:
    """Return the figure of the share of labels in intervals over the level of the intervals, by shot group.

    On the diagonal the intervals hold as many labels as they say. Below it they are too narrow.

    Args:
        coverages: ``[len(levels)]`` for each group, see :func:`coverage`; a group whose values are NaN is left out.
        levels: the levels.
        rows: rows of each group, for the legend; None shows none.

    Raises:
        ValueError: no group with values.
    """
    shown = {name: np.asarray(values, dtype=float) for name, values in coverages.items()}
    shown = {name: values for name, values in shown.items() if np.isfinite(values).all()}
    if not shown:
        raise ValueError(message("coverages", "expected a group with values", list(coverages)))
    figure, axes = new_figure(4.4, 4.0)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, label="calibrated")
    for number, (name, values) in enumerate(shown.items()):
        axes.plot(
            levels,
            values,
            color=SHOT_COLOURS.get(name, COLOURS[number % len(COLOURS)]),
            linestyle=SHOT_DASHES.get(name, "-"),
            marker=MARKERS[number % len(MARKERS)],
            markersize=3.5,
            label=name if rows is None else f"{name}, {rows[name]} rows",
        )
    axes.set_aspect("equal")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("level of the interval")
    axes.set_ylabel("share of labels inside")
    axes.legend()
    return figure


def _pair(labels: ArrayLike, predictions: ArrayLike) -> tuple[Array, Array]:
    """Return labels, and predictions minus labels, float64 ``[N]``."""
    truth, guess = (np.asarray(values, dtype=np.float64) for values in (labels, predictions))
    if truth.shape != guess.shape or truth.ndim != 1:
        problem = f"expected [N] for labels of the shape {list(truth.shape)}"
        raise ValueError(message("predictions", problem, list(guess.shape)))
    return truth, guess - truth
