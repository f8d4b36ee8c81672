"""The label density figure in the TensorBoard log of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir.bins import LabelBins
from dir.lds import LDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def density_figure(bins: LabelBins, lds: LDS, unit: str) -> Figure:
    """Return a figure of the training labels per bin and of their effective density.

    Args:
        bins: label bins.
        lds: fitted on the training labels; its weights are the inverse of the effective density.
        unit: unit of the label, for the axis.
    """
    # Importing matplotlib takes half a second. pyplot would keep every figure of a sweep in memory.
    from matplotlib.figure import Figure

    centers, counts, density = (t.double().cpu().numpy() for t in (bins.centers, lds.counts, lds.density))
    widths = bins.edges.double().diff().cpu().numpy()
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(centers, counts, width=widths, color="#9db4c8", label="training labels per bin")
    other = axes.twinx()
    name = "effective density" if lds.kernel else "density, not smoothed"
    other.plot(centers, density, color="#b5432a", label=name)
    other.set_ylim(bottom=0)
    axes.set_xlabel(f"label ({unit})")
    axes.set_ylabel("count")
    other.set_ylabel(name)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure
