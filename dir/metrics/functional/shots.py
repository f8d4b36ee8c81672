"""Metrics by shot group as a function, with the update and the computation that ``ShotMetrics`` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dir._checks import check_not_negative, message
from dir.metrics.functional._by_group import ByGroup, GroupStates, from_samples
from dir.metrics.functional._inputs import checked_pair, flatten, sum_dtype
from dir.metrics.functional._rows import add_rows
from dir.metrics.functional.correlation import NUM_MOMENTS, binned_moments, merge_moments
from dir.metrics.functional.errors import log_errors
from dir.metrics.shot_groups import SHOTS, shot_of_bins
from dir.metrics.table import BY_SHOT, TABLE

if TYPE_CHECKING:
    from dir.bins import LabelBins
    from dir.metrics.functional._inputs import Values

# States that are sums of an error, in the order of their rows in the state ``sums``.
ERRORS = ("abs_error", "squared_error", "log_error")
Groups = dict[str, dict[str, Tensor]]


def shot_metrics(
    preds: Values,
    target: Values,
    bins: LabelBins,
    counts: Tensor | np.ndarray | None = None,
    metrics: Sequence[str] | None = None,
    many: float | None = None,
    few: float | None = None,
    zero_shot: bool = True,
    groups: Mapping[str, Sequence[int]] | None = None,
    epsilon: float = 1e-10,
    ignore_nan: bool = False,
    by: str = "count",
) -> Groups:
    """Return each metric for all samples and by shot group, see :class:`dir.metrics.ShotMetrics`.

    Args:
        preds: predictions.
        target: labels, in raw units.
        bins, counts, metrics, many, few, zero_shot, groups, epsilon, ignore_nan, by: see
            :class:`dir.metrics.ShotMetrics`.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps; tensors, arrays, Series or lists. Output: a dict of
        scalars for "all" and for each of ``SHOTS``.

    Raises:
        ValueError: shapes that differ, several targets, or an argument outside its range.

    Example:
        >>> from dir.bins import LabelBins
        >>> bins = LabelBins.integers(0, 2)
        >>> counts = torch.tensor([500, 50, 0])
        >>> values = shot_metrics([0.5, 1.0, 5.0], [0, 1, 2], bins, counts, metrics=["mae"])
        >>> {shot: group["mae"].item() for shot, group in values.items()}
        {'all': 1.1666666666666667, 'many': 0.5, 'median': 0.0, 'few': nan, 'zero': 3.0}
    """
    check_not_negative("epsilon", epsilon)
    chosen = by_group(metrics)
    preds, target = checked_pair(preds, target, ignore_nan)
    shots = shot_of_bins(counts, bins.num_bins, many, few, zero_shot, groups, by, bins.edges)
    members = group_members(shots).to(target.device)
    states = {name: state.to(target.device) for name, state in empty_states(chosen, bins.num_bins + 1).items()}
    states = add_batch(states, preds, target, bins, error_states(chosen))
    return compute_groups(chosen, states, members, bins, epsilon, flatten(preds, target))


def by_group(metrics: Sequence[str] | None) -> dict[str, ByGroup]:
    """Return the computation of each metric by group, in the order of the table; None means those of ``METRICS``.

    Raises:
        ValueError: an unknown metric, or a string in place of a list.
    """
    if metrics is not None and (isinstance(metrics, str) or not set(metrics) <= set(BY_SHOT)):
        raise ValueError(message("metrics", f"expected a list out of {', '.join(BY_SHOT)}", metrics))
    functional = import_module("dir.metrics.functional")
    found = {}
    for info in TABLE:
        if info.by_shot and (info.default if metrics is None else info.name in metrics):
            function = getattr(functional, info.function)
            own = getattr(import_module(function.__module__), "BY_GROUP", {})
            found[info.name] = own.get(info.name) or from_samples(function)
    return found


def group_members(shots: Tensor) -> Tensor:
    """Return the rows of each group, bool ``[1 + len(SHOTS), num_bins + 1]``, from ``shot_of_bins``.

    The first group is "all". The last row holds the labels in no bin, which belong to "all" alone.
    """
    members = torch.zeros(1 + len(SHOTS), shots.shape[1] + 1, dtype=torch.bool)
    members[0] = True
    members[1:, :-1] = shots
    return members


def error_states(chosen: Mapping[str, ByGroup]) -> tuple[str, ...]:
    """Return the sums of errors that the metrics read, in the order of their rows."""
    needed = {state for metric in chosen.values() for state in metric.states}
    return tuple(name for name in ERRORS if name in needed)


def empty_states(chosen: Mapping[str, ByGroup], rows: int) -> dict[str, Tensor]:
    """Return the states of the metrics before the first batch, without the samples.

    Ranks gather each state separately, so all states of one type are rows of one tensor.
    """
    states = {"tallies": torch.zeros(2, rows, dtype=torch.int64)}
    summed = error_states(chosen)
    if summed:
        states["sums"] = torch.zeros(len(summed), rows, dtype=torch.float64)
    if any("moments" in metric.states for metric in chosen.values()):
        states["moments"] = torch.zeros(rows, NUM_MOMENTS, dtype=torch.float64)
    return states


def add_batch(
    states: Mapping[str, Tensor], preds: Tensor, target: Tensor, bins: LabelBins, summed: Sequence[str]
) -> dict[str, Tensor]:
    """Return the states with a batch added; the given states stay as they are."""
    states = {name: state.clone() for name, state in states.items()}
    by_bin = dict(zip(("count", "hits"), states["tallies"], strict=True))
    if summed:
        by_bin |= dict(zip(summed, states["sums"], strict=True))
    for index, some_preds, some_labels in bins.index_in_blocks(target, preds, target):
        pair = flatten(some_preds, some_labels)
        if "moments" in states:
            batch = binned_moments(*pair, index.to(torch.int64), bins.num_bins + 1)
            states["moments"] = merge_moments(torch.stack([states["moments"], batch]))
        _add(by_bin, *pair, index)
    return states


def _add(sums: dict[str, Tensor], preds: Tensor, target: Tensor, rows: Tensor) -> None:
    add_rows(sums["count"], rows)
    index = rows.to(torch.int64)
    # preds and target are copies, and the predictions are not read again: reuse their memory for the errors.
    error = preds.sub_(target).abs_()
    if "abs_error" in sums:
        add_rows(sums["abs_error"], index, error)
    if "log_error" in sums:
        log_error, hit = log_errors(error)
        add_rows(sums["log_error"], index, log_error)
        if hit is not None:
            add_rows(sums["hits"], index, hit.to(torch.int64))
    if "squared_error" in sums:
        add_rows(sums["squared_error"], index, error.square_())


def compute_groups(
    chosen: Mapping[str, ByGroup],
    states: Mapping[str, Tensor],
    members: Tensor,
    bins: LabelBins,
    epsilon: float,
    samples: tuple[Tensor, Tensor] | None,
) -> Groups:
    """Return the metrics of each group, ``{"all": {"n": ..., "mae": ...}, "many": ...}``.

    Args:
        chosen: metrics, see :func:`by_group`.
        states: see :func:`empty_states`.
        members: see :func:`group_members`.
        bins: label bins.
        epsilon: value that replaces an error of exactly 0 in the geometric mean.
        samples: all predictions and labels, flat; read only by metrics that keep the samples.
    """

    def split(rows: Tensor) -> Tensor:  # [states, rows] -> [states, groups, rows]
        # A product with the mask would spread an infinite error to all groups.
        return torch.where(members, rows[:, None], 0)

    counts = split(states["tallies"])
    n, hits = counts.sum(2)
    summed = error_states(chosen)
    bin_sums = dict(zip(summed, split(states["sums"]), strict=True)) if summed else {}
    moments = None
    if "moments" in states:
        moments = torch.where(members.T[..., None], states["moments"][:, None], 0)
    preds, target, row = None, None, None
    if any("samples" in metric.states for metric in chosen.values()):
        assert samples is not None
        preds, target = samples
        row = bins(target)
    of_groups = GroupStates(n, hits, counts[0], members, bin_sums, moments, preds, target, row, epsilon)
    columns = {"n": n.unbind()} | {name: metric.compute(of_groups).unbind() for name, metric in chosen.items()}
    return {group: {name: values[i] for name, values in columns.items()} for i, group in enumerate(("all", *SHOTS))}


def flat_groups(groups: Groups) -> dict[str, Tensor]:
    """Return the groups as one dict with keys such as "few/mae"; n becomes a floating number.

    Loggers convert integers to floating numbers, and Lightning warns about it.
    """
    return {
        f"{group}/{name}": value.to(sum_dtype(value.device)) if name == "n" else value
        for group, values in groups.items()
        for name, value in values.items()
    }
