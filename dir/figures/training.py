"""The figure of the training: loss and validation error over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dir._checks import message
from dir.figures.style import COLOURS, MARKERS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def training_figure(curves: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str]) -> Figure:
    """Return the figure of logged values over the epochs: one panel per name, one line per method.

    Each panel has its own scale. Losses of methods with other criteria or weights have other units: compare their
    shape, not their height.

    Args:
        curves: for each method ``epoch`` and the values by name, such as "train/loss" and "val/all/mae"; a method may
            lack a name.
        names: names of the panels.

    Raises:
        ValueError: no method has one of the names.
    """
    shown = [name for name in names if any(name in values for values in curves.values())]
    if not shown:
        raise ValueError(message("curves", f"expected values of {' or '.join(names)}", sorted(curves)))
    figure, panels = new_figure(0.6 + 4.4 * len(shown), 3.2, 1, len(shown), squeeze=False)
    for axes, name in zip(panels[0], shown, strict=True):
        for number, (method, values) in enumerate(curves.items()):
            if name in values:
                axes.plot(
                    values["epoch"],
                    values[name],
                    color=COLOURS[number % len(COLOURS)],
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=3,
                    markevery=max(1, len(values["epoch"]) // 12),
                    linewidth=1.2,
                    label=method,
                )
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
    panels[0, -1].legend()
    return figure
