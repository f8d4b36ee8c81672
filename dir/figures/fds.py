"""Figures of what FDS does: over the epochs, and in each label bin of the last epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dir._checks import message
from dir.fds import FDS
from dir.figures.style import COLOURS, GREY, MARKERS, behind, label_name, legend, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Lines of fds_epochs_figure by panel: diagnostic, and its name in words.
_GAPS = (("mean_gap", "means, RMS in own SD"), ("var_gap", "variances, log ratio"))
_DRIFTS = (("mean_drift", "means, RMS in own SD"), ("var_drift", "variances, log ratio"))


class FDSHistory:
    """The diagnostics of an FDS over the epochs, and how far its statistics move from one epoch to the next.

    Args:
        fds: the layer. Make the history before the first epoch, or after a checkpoint was loaded.

    Attributes:
        values: one list per diagnostic, for :func:`fds_epochs_figure`: ``epoch`` (closed epochs, counted from one),
            those of ``FDS.end_epoch``, and ``mean_drift`` (root mean square of the change of the running means, in
            own standard deviations) and ``var_drift`` (mean absolute log ratio of the running variances). Both
            count the bins that had statistics before, without features of variance 0. They are NaN without such bins.

    Example:
        >>> from dir.bins import LabelBins
        >>> fds = FDS(num_features=2, bins=LabelBins.integers(0, 3))
        >>> history = FDSHistory(fds)
        >>> for _ in range(3):
        ...     _ = fds(torch.randn(64, 2), torch.arange(64) % 4)
        ...     drift = history.add(fds.end_epoch())
        >>> history.values["epoch"], list(drift)
        ([1, 2, 3], ['mean_drift', 'var_drift'])
    """

    def __init__(self, fds: FDS) -> None:
        self.fds = fds
        self.values: dict[str, list[float]] = {}
        self._keep()

    def add(self, diagnostics: Mapping[str, float]) -> dict[str, float]:
        """Add the result of ``end_epoch()`` that has just been called, and return the drift of the epoch."""
        old_mean, old_var, seen, trusted = self._old
        mean, var = self.fds.running_mean.double(), self.fds.running_var.double()
        # A feature that is constant in a bin, such as a dead ReLU, has no scale to measure by.
        both = trusted[:, None] & (old_var > 0) & (var > 0)
        moved = ((mean - old_mean).square() / old_var)[both & seen[:, None]]
        spread = (var / old_var)[both].log().abs()
        drift = {
            "mean_drift": float(moved.mean().sqrt()) if moved.numel() else torch.nan,
            "var_drift": float(spread.mean()) if spread.numel() else torch.nan,
        }
        for name, value in {"epoch": int(self.fds.epoch), **diagnostics, **drift}.items():
            self.values.setdefault(name, []).append(value)
        self._keep()
        return drift

    def _keep(self) -> None:
        fds = self.fds
        self._old: tuple[Tensor, Tensor, Tensor, Tensor] = (
            fds.running_mean.double().clone(),
            fds.running_var.double().clone(),
            fds.num_samples > 0,
            fds.num_samples_var > 0,
        )


@dataclass(frozen=True)
class BinDiagnostics:
    """Diagnostics of each label bin of an FDS, ``[B]`` each.

    Args:
        count: samples of the last epoch that saw the bin.
        low, high: share of the features whose ratio of variances is at the lower and at the upper ``ratio_clip``;
            NaN where the variance is not trusted, or where FDS only shifts.
        mean_gap: median over the features of the distance between smoothed and own mean, in own standard deviations;
            NaN where the variance is not trusted. A mean would be that of features that are nearly constant.
        kept: share of its own statistics that a bin keeps, ``n / (n + shrinkage)``; NaN without shrinkage, and for a
            bin without samples.
    """

    count: Tensor
    low: Tensor
    high: Tensor
    mean_gap: Tensor
    kept: Tensor


def bin_diagnostics(fds: FDS) -> BinDiagnostics:
    """Return what the smoothing does in each bin.

    Example:
        >>> from dir.bins import LabelBins
        >>> fds = FDS(num_features=2, bins=LabelBins.integers(0, 3), shrinkage=16.0)
        >>> _ = fds(torch.randn(64, 2), torch.arange(64) % 4)
        >>> _ = fds.end_epoch()
        >>> bin_diagnostics(fds).kept.tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    smoothed_mean, smoothed_var = (table.double().cpu() for table in fds.smoothed_statistics())
    mean, var, count = (table.double().cpu() for table in (fds.running_mean, fds.running_var, fds.last_count))
    trusted = (fds.num_samples_var > 0).cpu()
    entries = trusted[:, None] & (var > 0)
    number = entries.sum(dim=1).double()  # no entry: 0 / 0 is NaN
    ratio, (lowest, highest) = smoothed_var / var, fds.ratio_clip

    def share(where: Tensor) -> Tensor:
        return (where & entries).sum(dim=1) / number

    gap = torch.where(entries, (smoothed_mean - mean).abs() / var.sqrt(), torch.nan)
    shifts_only = fds.statistics == "mean"
    none = torch.full_like(count, torch.nan)
    kept = none if fds.shrinkage is None else count / (count + fds.shrinkage)  # no samples and no tau: 0 / 0 is NaN
    return BinDiagnostics(
        count,
        none if shifts_only else share(ratio <= lowest),
        none if shifts_only else share(ratio >= highest),
        gap.nanmedian(dim=1).values,
        kept.masked_fill(count == 0, torch.nan),
    )


@styled
def fds_bins_figure(fds: FDS, unit: str = "") -> Figure:
    """Return the figure of what FDS does in each label bin, over the samples per bin.

    The panels: the share of features whose ratio of variances is clipped (absent if FDS only shifts), where many mean
    that neighbouring bins have very different spreads; how far the means move, in standard deviations of the bin; and
    the share of its own statistics that a bin keeps (only with ``shrinkage``).

    Args:
        fds: a layer with a closed epoch.
        unit: unit of the label, for the axes.

    Raises:
        RuntimeError: no epoch of the layer is closed yet.
    """
    if not bool((fds.num_samples > 0).any()):
        raise RuntimeError("FDS has no statistics yet. Call fds.end_epoch() after the first epoch.")
    found, (lowest, highest) = bin_diagnostics(fds), fds.ratio_clip
    panels: dict[str, list[tuple[str, Tensor]]] = {}
    if fds.statistics != "mean":
        panels["share of clipped features"] = [(f"ratio at {lowest:g}", found.low), (f"at {highest:g}", found.high)]
    panels["shift of the mean, own SD"] = [("median over features", found.mean_gap)]
    if fds.shrinkage is not None:
        panels["share of own statistics kept"] = [("kept", found.kept)]
    edges = fds.bins.edges.double().cpu()
    centers, widths = ((edges[1:] + edges[:-1]) / 2).numpy(), edges.diff().numpy()
    figure, drawn = new_figure(0.6 + 4.4 * len(panels), 3.0, 1, len(panels))
    parts: list[Any] = []
    number = 0
    for axes, (name, lines) in zip(np.atleast_1d(drawn).flat, panels.items(), strict=True):
        back = behind(axes, "samples per bin")
        back.bar(centers, found.count.numpy(), widths, color=GREY, alpha=0.25, label="samples per bin")
        for label, values in lines:
            colour, marker = COLOURS[number], MARKERS[number]
            axes.plot(centers, values, color=colour, marker=marker, markersize=3, linewidth=1.2, label=label)
            number += 1
        axes.set_ylim(*((-0.02, 1.02) if name.startswith("share") else (0, None)))
        axes.set_ylabel(name)
        axes.set_xlabel(label_name(unit))
        parts += [axes, back]
    legend(figure, parts, columns=5)
    return figure


@styled
def fds_epochs_figure(history: Mapping[str, Sequence[float]]) -> Figure:
    """Return the figure of the diagnostics over the epochs.

    Left: the share of clipped ratios of variances. Middle: how far the smoothing moves the statistics. Right: how far
    the running statistics drift from one epoch to the next. Statistics that still drift at the end calibrate with
    features of another epoch.

    Args:
        history: ``values`` of an :class:`FDSHistory`, or the same numbers of a log. ``epoch`` must be there.

    Raises:
        ValueError: no epoch.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = list(history.get("epoch", ()))
    if not epochs:
        raise ValueError(message("history", "expected at least one epoch", sorted(history)))
    figure, panels = new_figure(10.0, 3.2, 1, 3)
    clipped, gaps, drifts = panels[0]
    columns = (
        (clipped, (("clipped", "clipped ratios"),), "share of clipped ratios"),
        (gaps, _GAPS, "smoothed against own"),
        (drifts, _DRIFTS, "drift since the last epoch"),
    )
    for axes, lines, title in columns:
        for number, (name, label) in enumerate(lines):
            values = [float(value) for value in history.get(name, ())]
            if len(values) == len(epochs):
                style = ("-o", "--s")[number]
                axes.plot(epochs, values, style, color=COLOURS[number], markersize=3.5, linewidth=1.3, label=label)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend()
    clipped.set_ylim(-0.02, 1.02)
    return figure
