"""The figure of new rows beside those of a training: the densities of predictions and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dir._checks import message
from dir.figures.style import COLOURS, GREY, label_name, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def density_shift_figure(densities: Mapping[str, Mapping[str, Any]], unit: str = "") -> Figure:
    """Return the figure of densities before and now: one panel per quantity, shares of the rows per bin.

    Args:
        densities: by name of the quantity, such as "predictions" and "labels": ``edges`` ``[B + 1]``, the shares
            ``reference`` and ``new`` ``[B]``, and the shares ``below`` and ``above`` of the new rows beyond the
            edges, see ``dir.monitor.density.shown_density``.
        unit: unit of the label, for the axes.

    Raises:
        ValueError: no quantity.
    """
    if not densities:
        raise ValueError(message("densities", "expected at least one quantity", 0))
    figure, panels = new_figure(3.9 * len(densities) + 0.4, 3.2, 1, len(densities), squeeze=False)
    for axes, (name, density) in zip(panels[0], densities.items(), strict=True):
        edges = np.asarray(density["edges"], dtype=np.float64)
        axes.stairs(density["reference"], edges, fill=True, color=GREY, alpha=0.35, label="the run")
        axes.stairs(density["new"], edges, color=COLOURS[1], linewidth=1.8, label="new rows")
        beyond = [f"{100 * density[side]:.1f} % {side}" for side in ("below", "above") if density[side] > 0]
        axes.set_title(f"{name}: {' and '.join(beyond)} the range" if beyond else name)
        axes.set_xlabel(label_name(unit))
        axes.set_ylabel("share of the rows")
    panels[0, 0].legend()
    return figure
