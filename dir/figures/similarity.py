"""The figure of feature statistics similarity: are the features of near labels alike, and what does FDS change?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dir._checks import message
from dir.figures.feature_statistics import FeatureStatistics, cosine_similarity_of_bins
from dir.figures.style import (
    COLOUR_MAP,
    COLOURS,
    GREY,
    INK,
    behind,
    label_name,
    legend,
    mark_every,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def similarity_figure(
    before: FeatureStatistics, after: FeatureStatistics | None = None, anchor: float | None = None, unit: str = ""
) -> Figure:
    """Return the figure of the cosine similarity between the feature statistics of label bins.

    The upper row shows the means, the lower row the variances. The left panels show the similarity of every label to
    one anchor label, over the samples per bin. The maps show the similarity of each two bins; white bins have no
    statistic. Statistics that are sound fall off evenly with the distance of the labels. A rare label that is as like
    the anchor as the neighbours of the anchor has borrowed its statistics from frequent labels.

    The cosine is that of the raw statistics, as published. Means that share a large common part are all alike:
    each row therefore has its own scale.

    Args:
        before: statistics of the features, see :func:`fds_statistics` and :func:`feature_statistics`.
        after: statistics after the calibration, or of another model, with the same bins; None for one model alone.
        anchor: label of the left panels. Default: the label with the most samples.
        unit: unit of the label, for the axes.

    Raises:
        ValueError: one feature alone (its cosine is 1 or -1), an anchor beyond the bins or without statistics, or
            bins that differ.

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, Section 3.2.
    """
    if before.mean.shape[1] < 2:
        raise ValueError(message("before", "expected at least 2 features, whose cosine says something", 1))
    if after is not None and not torch.equal(before.edges, after.edges):
        raise ValueError(message("after", "expected the bins of `before`"))
    at = _anchor(before, anchor)
    figure, panels = new_figure(10.6 if after is not None else 7.4, 5.6, 2, 2 if after is None else 3)
    shown = [("before FDS" if after is not None else "", before), *([] if after is None else [("after FDS", after)])]
    parts: list[Any] = []
    for row, what in enumerate(("mean", "var")):
        maps = [(name, cosine_similarity_of_bins(getattr(one, what)).numpy()) for name, one in shown]
        name = "mean" if what == "mean" else "variance"
        parts += _draw_anchor(panels[row, 0], before, maps, at, f"cosine of the {name}")
        finite = np.concatenate([values[np.isfinite(values)] for _, values in maps])
        low = float(finite.min()) if finite.size else -1.0
        image: Any = None
        for axes, (title, values) in zip(panels[row, 1:], maps, strict=True):
            image = axes.pcolormesh(
                before.edges.numpy(),
                before.edges.numpy(),
                np.ma.masked_invalid(values),
                cmap=COLOUR_MAP,
                vmin=min(low, 0.999),
                vmax=1.0,
                rasterized=True,
            )
            axes.set_title(f"{name} {title}".rstrip())
            axes.set_aspect("equal")
            axes.set_ylabel("label" if axes is panels[row, 1] else "")
        figure.colorbar(image, ax=list(panels[row, 1:]), label="cosine", shrink=0.9)
    for axes in panels[-1]:
        axes.set_xlabel(label_name(unit))
    legend(figure, parts)
    return figure


def _anchor(found: FeatureStatistics, anchor: float | None) -> int:
    """Return the bin of the anchor label."""
    if anchor is None:
        return int(torch.where(torch.isfinite(found.var[:, 0]), found.count, -1).argmax())
    edges = found.edges
    if not float(edges[0]) <= anchor <= float(edges[-1]):
        raise ValueError(message("anchor", f"expected a label in [{edges[0]:g}, {edges[-1]:g}]", anchor))
    at = int(torch.searchsorted(edges, torch.tensor(anchor, dtype=edges.dtype), right=True)) - 1
    at = min(at, len(found.count) - 1)
    if not bool(torch.isfinite(found.mean[at, 0])):
        raise ValueError(message("anchor", "expected a label whose bin has samples", anchor))
    return at


def _draw_anchor(axes: Any, found: FeatureStatistics, maps: list[tuple[str, Any]], at: int, ylabel: str) -> list[Any]:
    """Draw the similarity to the anchor over the samples per bin; return the axes for the legend."""
    centers, back = found.centers.numpy(), behind(axes, "samples per bin")
    back.stairs(found.count.numpy(), found.edges.numpy(), fill=True, color=GREY, alpha=0.25, label="samples per bin")
    for number, (name, values) in enumerate(maps):
        axes.plot(
            centers,
            values[at],
            color=COLOURS[number],
            linestyle="-" if number == 0 else "--",
            marker="." if number == 0 else "x",
            markersize=4,
            markevery=mark_every(len(centers)),
            label=name or "cosine to the anchor",
        )
    axes.axvline(centers[at], color=INK, linewidth=0.8, linestyle=":", label=f"anchor, label {centers[at]:g}")
    axes.set_ylabel(ylabel)
    return [axes, back]
