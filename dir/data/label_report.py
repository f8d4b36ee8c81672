"""What the labels of a data set look like, and what to set: the facts and advice that ``dir-describe`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._box_plot import hinges, medcouple
from dir.bins import LabelBins
from dir.data.arrays import MAX_INTEGER_RANGE
from dir.data.describe import describe_labels
from dir.data.imbalance import Imbalance, effective_size, measure_imbalance
from dir.data.table_target import choose_log1p
from dir.denseweight import DenseWeight
from dir.lds import LDS
from dir.metrics.shot_groups import shot_of_bins
from dir.metrics.table import SHOTS
from dir.reweighter import Reweighter

Array = NDArray[np.float64]
# Limits of the distance to uniform labels beyond that of a chance draw, from which labels are called imbalanced.
MODERATE, STRONG = 0.1, 0.3
# Equal bins hold at least so many rows on average, and are between so many.
ROWS_PER_BIN, FEWEST_BINS, MOST_BINS = 20, 10, 50


def label_report(
    labels: Mapping[str, Array],
    bins: LabelBins,
    shots: Mapping[str, Any],
    lds: LDS | None = None,
) -> dict[str, Any]:
    """Return everything about the labels, JSON-able.

    Args:
        labels: raw labels by split; at least ``train``. All statistics but the rows of the shot groups are those of
            the training labels.
        bins: bins of the training labels.
        shots: arguments of :class:`dir.metrics.ShotMetrics`: ``by``, ``many``, ``few``, ``groups``, ``zero_shot``.
        lds: LDS with the settings of the recipe, not fitted. Default: the published window, size 5 and sigma 2.
    """
    train = np.asarray(labels["train"], dtype=np.float64)
    wide = torch.from_numpy(train).to(bins.dtype)
    counts = bins.counts(wide)
    smooth = LDS(bins) if lds is None else lds
    smooth.fit(wide)
    # The density in labels per bin: the window of LDS has a maximum of one.
    window = LDS(bins, smooth.kernel, smooth.kernel_size, smooth.sigma).fit_counts(torch.ones(bins.num_bins))
    plain = LDS(bins, smooth.kernel, smooth.kernel_size, smooth.sigma).fit(wide)
    measured = measure_imbalance(counts.numpy(), bins.edges.double().numpy())
    return {
        "labels": {split: describe_labels(np.asarray(values)) for split, values in labels.items()},
        "histogram": {
            "edges": bins.edges.double().tolist(),
            "counts": counts.long().tolist(),
            "effective": (plain.density / window.density).tolist(),
        },
        "imbalance": asdict(measured) | {"verdict": verdict(measured)},
        "shots": shot_rows(labels, bins, counts, shots),
        "repeats": repeats(train),
        "outliers": outliers(train),
        "transform": suggest_transform(train),
        "bins": suggest_bins(train),
        "weights": weight_table(wide, bins, smooth),
    }


def verdict(found: Imbalance) -> str:
    """Return "nearly uniform", "moderately imbalanced" or "strongly imbalanced".

    The limits 0.1 and 0.3 of ``distance - distance_by_chance`` are a convention of this package.
    """
    excess = found.distance - found.distance_by_chance
    if excess < MODERATE:
        return "nearly uniform"
    return "moderately imbalanced" if excess < STRONG else "strongly imbalanced"


def shot_rows(
    labels: Mapping[str, Array], bins: LabelBins, counts: Tensor, shots: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """Return bins and rows of each split by shot group; a label beyond the training labels is zero-shot.

    Args:
        labels: raw labels by split.
        bins: bins of the training labels.
        counts: training labels per bin.
        shots: see :func:`label_report`.
    """
    members = shot_of_bins(counts, bins.num_bins, edges=bins.edges, **shots)
    low, high = float(bins.edges[0]), float(bins.edges[-1])
    table: dict[str, dict[str, int]] = {}
    for row, name in enumerate(SHOTS):
        table[name] = {"bins": int(members[row].sum())}
        for split, values in labels.items():
            wide = torch.from_numpy(np.asarray(values, dtype=np.float64)).to(bins.dtype)
            outside = (wide < low) | (wide > high)
            inside = members[row][bins(wide)] & ~outside
            table[name][split] = int(inside.sum()) + (int(outside.sum()) if name == "zero" else 0)
    return table


def repeats(train: Array) -> dict[str, Any]:
    """Return zeros, distinct values, and the share of rows that the five most frequent values cover."""
    values, counts = np.unique(train, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:5]
    return {
        "zeros": int((train == 0).sum()),
        "distinct": len(values),
        "most_frequent": [[float(values[at]), int(counts[at])] for at in order],
        "top_share": float(counts[order].sum() / len(train)),
    }


def outliers(train: Array) -> dict[str, Any]:
    """Return the fences of the box plot adjusted for skewness, and the labels beyond them.

    With quartiles q1 and q3 and the medcouple m >= 0 the fences are ``q1 - 1.5 exp(-4 m) (q3 - q1)`` and
    ``q3 + 1.5 exp(3 m) (q3 - q1)``; a negative medcouple exchanges -4 and 3 for -3 and 4. A label beyond a fence is
    rare or wrong: ``dir-audit`` ranks labels by how wrong they look.

    Reference:
        Hubert and Vandervieren, An adjusted boxplot for skewed distributions, CSDA 2008.
    """
    lower, _, upper = hinges(train)
    skew = medcouple(train)
    left, right = (-4.0, 3.0) if skew >= 0 else (-3.0, 4.0)
    spread = 1.5 * (upper - lower)
    low, high = lower - spread * np.exp(left * skew), upper + spread * np.exp(right * skew)
    return {
        "low_fence": float(low),
        "high_fence": float(high),
        "below": int((train < low).sum()),
        "above": int((train > high).sum()),
        "medcouple": float(skew),
    }


def suggest_transform(train: Array) -> dict[str, Any]:
    """Return whether log(1 + label) is the better target, with the reason: the rule of ``data.log_target=auto``."""
    choice = choose_log1p("auto", train)
    return {"log1p": choice.log1p, "reason": choice.reason}


def suggest_bins(train: Array) -> dict[str, Any]:
    """Return the kind and the number of label bins, with the reason.

    Whole numbers over a range of at most 200 get a bin each, as in :func:`dir.data.automatic_bins`. Other labels get
    equal bins: 50, or fewer, so that a bin holds at least 20 rows on average, but not fewer than 10.
    """
    low, high = float(train.min()), float(train.max())
    if high - low <= MAX_INTEGER_RANGE and bool((train == np.round(train)).all()):
        number = round(high - low) + 1
        return {
            "kind": "integers",
            "number": number,
            "reason": f"all labels are whole numbers from {low:g} to {high:g}",
        }
    number = int(np.clip(len(train) // ROWS_PER_BIN, FEWEST_BINS, MOST_BINS))
    rows = len(train) / number
    why = "the default" if number == MOST_BINS else f"{len(train)} rows fill no more bins"
    return {"kind": "equal", "number": number, "reason": f"{why}; a bin holds {rows:.0f} rows on average"}


def weight_table(train: Tensor, bins: LabelBins, lds: LDS) -> list[dict[str, Any]]:
    """Return range and effective sample size of the weights of each reweighting; weights have the mean one.

    Args:
        train: training labels, [N].
        bins: label bins.
        lds: LDS with the settings of the recipe.
    """
    smoothed: dict[str, Any] = {"kernel": lds.kernel, "kernel_size": lds.kernel_size, "sigma": lds.sigma}
    kinds: dict[str, Reweighter] = {
        "inv": LDS(bins, kernel=None, reweight="inverse"),
        "sqinv": LDS(bins, kernel=None, reweight="sqrt_inverse"),
        "lds, inverse": LDS(bins, reweight="inverse", **smoothed),
        "lds, sqrt_inverse": LDS(bins, reweight="sqrt_inverse", **smoothed),
        "denseweight": DenseWeight(bins),
    }
    table = []
    for name, reweighter in kinds.items():
        weights = reweighter.fit(train)(train).double().numpy()
        size = effective_size(weights)
        table.append(
            {
                "name": name,
                "min": float(weights.min()),
                "max": float(weights.max()),
                "effective_size": size,
                "effective_share": size / len(train),
            }
        )
    return table
