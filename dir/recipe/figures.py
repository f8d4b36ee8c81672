"""The figures in the TensorBoard log of a run: the label density, and the curve of a label prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def power_figure(fitted: Mapping[str, Any], unit: str) -> Figure:
    """Return a figure of the validation errors over the power of a label prior.

    The left panel shows the MAE of each shot group at each power. The right panel shows the MAE of few-shot labels
    over the MAE of many-shot labels. It is empty if validation lacks one of these groups.

    Args:
        fitted: entry ``run.power`` of metrics.json, see :func:`dir.recipe.power.fit_power`.
        unit: unit of the label, for the axes.
    """
    from matplotlib.figure import Figure

    powers, mae = [float(power) for power in fitted["tried"]], fitted["mae"]
    chosen = powers.index(fitted["value"])
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (group, values), style in zip(mae.items(), ("-", "--", "-.", ":", (0, (1, 4))), strict=False):
        left.plot(powers, values, linestyle=style, label=group)
    left.axvline(powers[chosen], color="#6b6b6b", linewidth=0.8)
    left.set_xlabel(f"power ({powers[chosen]:g} has the lowest {fitted['objective']})")
    left.set_ylabel(f"validation MAE ({unit})")
    left.legend(frameon=False)
    right.set_xlabel(f"validation MAE on many-shot labels ({unit})")
    right.set_ylabel("on few-shot labels")
    if "many" in mae and "few" in mae:
        right.plot(mae["many"], mae["few"], marker=".")
        right.plot([mae["many"][chosen]], [mae["few"][chosen]], marker="*", markersize=13, linestyle="none")
        for at in range(0, len(powers), 4):
            right.annotate(f"{powers[at]:g}", (mae["many"][at], mae["few"][at]), fontsize=8)
    return figure
