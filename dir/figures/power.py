"""The figure of the curve of a label prior: errors at each power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dir.figures.style import COLOURS, INK, SHOT_COLOURS, SHOT_DASHES, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def power_figure(fitted: Mapping[str, Any], unit: str = "") -> Figure:
    """Return a figure of the validation errors over the power of a label prior.

    The left panel shows the MAE of each shot group at each power. The right panel shows the MAE of few-shot labels
    over the MAE of many-shot labels. It is empty if validation lacks one of these groups.

    Args:
        fitted: entry ``run.power`` of metrics.json, see :func:`dir.recipe.power.fit_power`.
        unit: unit of the label, for the axes.
    """
    powers, mae = [float(power) for power in fitted["tried"]], fitted["mae"]
    chosen = powers.index(fitted["value"])
    figure, panels = new_figure(9, 3.6, 1, 2)
    left, right = panels[0]
    for group, values in mae.items():
        style = {"linestyle": SHOT_DASHES.get(group, "-"), "color": SHOT_COLOURS.get(group, INK)}
        left.plot(powers, values, label=group, **style)
    left.axvline(powers[chosen], color=INK, linewidth=0.8)
    left.set_xlabel(f"power ({powers[chosen]:g} has the lowest {fitted['objective']})")
    shown = f" ({unit})" if unit else ""
    left.set_ylabel(f"validation MAE{shown}")
    left.legend()
    right.set_xlabel(f"validation MAE on many-shot labels{shown}")
    right.set_ylabel("on few-shot labels")
    if "many" in mae and "few" in mae:
        right.plot(mae["many"], mae["few"], marker=".", color=COLOURS[0])
        many, few = mae["many"], mae["few"]
        right.plot([many[chosen]], [few[chosen]], marker="*", markersize=13, linestyle="none", color=COLOURS[1])
        for at in range(0, len(powers), 4):
            right.annotate(f"{powers[at]:g}", (many[at], few[at]), (5, 4), textcoords="offset points", fontsize=8)
    else:
        right.set_axis_off()
        right.text(0.5, 0.5, "no many-shot or no few-shot labels\nin validation", ha="center", va="center")
    return figure
