"""Figures of the training labels: density and effective density, shot groups, and the weights of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from dir._checks import message
from dir.bins import LabelBins
from dir.figures.style import COLOURS, GREY, INK, SHOT_COLOURS, behind, label_name, legend, new_figure, styled
from dir.lds import LDS
from dir.reweighter import Reweighter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def density_figure(bins: LabelBins, lds: LDS, unit: str = "", shots: Sequence[str] | None = None) -> Figure:
    """Return the figure of the training labels per bin and of their effective density.

    Args:
        bins: label bins.
        lds: fitted on the training labels; its weights are the inverse of the effective density. With
            ``reweight="sqrt_inverse"`` that is the smoothed root of the counts.
        unit: unit of the label, for the axis.
        shots: shot group of each bin ("many", "median", "few" or "zero"), which colours its bar; None for one colour.

    Raises:
        ValueError: ``shots`` of another number of bins.
    """
    if shots is not None and len(shots) != bins.num_bins:
        raise ValueError(message("shots", f"expected one name per bin, {bins.num_bins}", len(shots)))
    centers, counts, density = (t.double().cpu().numpy() for t in (bins.centers, lds.counts, lds.density))
    widths = bins.edges.double().diff().cpu().numpy()
    figure, axes = new_figure(7, 3.2)
    roots = " of root counts" if lds.reweight == "sqrt_inverse" else ""
    other = behind(axes, f"effective density{roots}" if lds.kernel else f"density{roots}, not smoothed")
    if shots is None:
        axes.bar(centers, counts, width=widths, color=GREY, alpha=0.5, label="training labels per bin")
    else:
        for name in (name for name in SHOT_COLOURS if name in shots):
            member = np.array([shot == name for shot in shots])
            axes.bar(
                centers[member],
                counts[member],
                width=widths[member],
                color=SHOT_COLOURS[name],
                alpha=0.55,
                label=f"{name}-shot",
            )
    other.plot(centers, density, color=INK, linewidth=1.5, label=other.get_ylabel())
    other.set_ylim(bottom=0)
    # The line lies above the bars.
    other.set_zorder(axes.get_zorder() + 1)
    other.patch.set_visible(False)
    axes.set_xlabel(label_name(unit))
    axes.set_ylabel("training labels per bin")
    legend(figure, [axes, other], columns=5)
    return figure


@styled
def weights_figure(weights: Reweighter, bins: LabelBins, counts: Tensor, unit: str = "") -> Figure:
    """Return the figure of the weight of a sample by its label, over the training labels per bin.

    The title names the effective sample size: so many samples of equal weight give a mean as exact as the weighted
    samples do.

    Args:
        weights: fitted LDS or DenseWeight.
        bins: bins of the bars. The weight of a bin is that of its centre.
        counts: training labels per bin, ``[B]``.
        unit: unit of the label, for the axis.

    Reference:
        Kish, Survey Sampling, 1965: the effective sample size is ``sum(w) ** 2 / sum(w ** 2)``.
    """
    weight = weights(bins.centers).double().cpu().numpy()
    rows, centers = counts.double().cpu().numpy(), bins.centers.double().cpu().numpy()
    figure, axes = new_figure(7, 3.2)
    back = behind(axes, "training labels per bin")
    widths = bins.edges.double().diff().cpu().numpy()
    back.bar(centers, rows, width=widths, color=GREY, alpha=0.3, label="training labels per bin")
    axes.plot(centers, weight, color=COLOURS[0], drawstyle="steps-mid", label="weight of a sample")
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=":", label="weight 1")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label_name(unit))
    axes.set_ylabel("weight of a sample")
    total, squares = float((rows * weight).sum()), float((rows * weight**2).sum())
    if squares > 0:
        axes.set_title(f"effective sample size {total**2 / squares:.0f} of {rows.sum():.0f}")
    legend(figure, [axes, back])
    return figure
