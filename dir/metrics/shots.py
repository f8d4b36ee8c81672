"""Metrics for all labels, and for labels with many, a median number of, few and no training samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from dir._checks import check_choice, check_not_negative
from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric, all_seen
from dir.metrics.functional._inputs import flatten
from dir.metrics.functional.correlation import merge_moments
from dir.metrics.functional.shots import (
    add_batch,
    by_group,
    compute_groups,
    empty_states,
    error_states,
    flat_groups,
    group_members,
)
from dir.metrics.shot_groups import SHOTS, checked_counts, shot_of_bins
from dir.metrics.shot_thresholds import Thresholds, shot_thresholds

if TYPE_CHECKING:
    from dir.metrics.functional._inputs import Values


class ShotMetrics(RegressionMetric):
    """Each metric for all samples, and by the number of training samples in the sample's label bin.

    The metrics of a group pool its samples (balanced_mae pools its bins). A group without samples has n = 0 and NaN
    for every metric.

    Args:
        bins: label bins.
        counts: training samples per bin, [num_bins]: ``bins.counts(train_labels)``. None only with groups.
        metrics: which of "mae", "mse", "gm", "pearson", "spearman", "balanced_mae" to compute (see
            :mod:`dir.metrics.table`); None means all. The errors cost one pass over the batch; spearman keeps all
            samples and sorts them. "rmse", "abs_rel" and "delta1" are only computed if they are named.
        many, few: a bin above ``many`` is "many", and a bin below ``few`` is "few"; from few to many, both included,
            it is "median". ``by`` says in which unit. None: the defaults of ``by``.
        zero_shot: whether bins without training samples form a group "zero"; False counts them among "few", as the
            published tables do.
        groups: a published list such as ``STSB_DIR_SHOTS``, bin indices by group name, in place of counts and
            thresholds.
        epsilon: value that replaces an error of exactly 0 in gm, see :class:`dir.metrics.GM`.
        flat: return one dict with keys such as "few/mae", for ``log_dict`` and ``MetricCollection``. Default False.
        by: unit of ``many`` and ``few``. "count" (default): training samples in a bin, 100 and 20 as in the published
            tables. "quantile": shares of the training samples; by default the fullest bins with at least half of them
            are "many", the emptiest bins with at most a fifth of them are "few", and neither is empty. "density":
            multiples of the training density of uniform labels, 1.0 and 0.2 by default, for bins of any width; on
            AgeDB-DIR these are about the published counts.
        **kwargs: ``ignore_nan`` (leave out NaN labels) and the arguments of ``torchmetrics.Metric``.

    Shape:
        preds, target: the same shape, [N], [N, 1] or dense maps, in the raw unit of the labels; tensors, arrays,
        Series or lists. ``compute()`` returns ``{"all": {"n", "mae", ...}, "many": {...}, "median": ..., "few": ...,
        "zero": ...}`` with n as int64 scalar and the metrics as float64 scalars; with ``flat``
        ``{"all/n": ..., "all/mae": ..., ...}``, all in float64. A label in no bin (out of range under "exclude", or
        not finite) counts in "all" alone, without its balanced_mae; a bin in no listed group counts in "all" alone.

    Attributes:
        thresholds: ``many`` and ``few`` in training samples per bin under every rule; None with ``groups``.

    State:
        tallies: samples and exact hits, [2, num_bins + 1], and sums: absolute, squared and log errors,
        [up to 3, num_bins + 1], summed over batches and ranks; moments: [num_bins + 1, 6], merged; preds, target: all
        samples, gathered (for spearman). Only the states that the chosen metrics need exist. The last row of each
        holds the labels in no bin.

    Raises:
        ValueError: an unknown metric; arguments that :func:`shot_of_bins` refuses; shapes that differ; several
            targets.

    Example:
        >>> import torch
        >>> bins = LabelBins.integers(0, 2)
        >>> metric = ShotMetrics(bins, counts=torch.tensor([500, 50, 0]), metrics=["mae"])
        >>> metric.update(torch.tensor([0.5, 1.0, 5.0]), torch.tensor([0.0, 1.0, 2.0]))
        >>> {shot: values["mae"].item() for shot, values in metric.compute().items()}
        {'all': 1.1666666666666667, 'many': 0.5, 'median': 0.0, 'few': nan, 'zero': 3.0}

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021. Its code raises for an empty group (ages) or
        prints 0 (STS-B).
    """

    higher_is_better = None
    tallies: Tensor
    sums: Tensor
    moments: Tensor
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(
        self,
        bins: LabelBins,
        counts: Tensor | np.ndarray | None = None,
        metrics: Sequence[str] | None = None,
        many: float | None = None,
        few: float | None = None,
        zero_shot: bool = True,
        groups: Mapping[str, Sequence[int]] | None = None,
        epsilon: float = 1e-10,
        flat: bool = False,
        by: str = "count",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_not_negative("epsilon", epsilon)
        chosen = by_group(metrics)
        self.metrics = tuple(chosen)
        self.epsilon = epsilon
        self.flat = flat
        self.bins = bins
        # No buffer: tools that average the buffers of a model cannot average bool tensors.
        shots = shot_of_bins(counts, bins.num_bins, many, few, zero_shot, groups, by, bins.edges)
        self._members = group_members(shots)
        self.thresholds: Thresholds | None = None
        if groups is None:
            self.thresholds = shot_thresholds(checked_counts(counts, bins.num_bins), many, few, by, bins.edges)[0]
        self._summed = error_states(chosen)
        for name, state in empty_states(chosen, bins.num_bins + 1).items():
            self.add_state(name, state, dist_reduce_fx=merge_moments if name == "moments" else "sum")
        self._keeps_samples = any("samples" in metric.states for metric in chosen.values())
        if self._keeps_samples:
            self.add_state("preds", [], dist_reduce_fx="cat")
            self.add_state("target", [], dist_reduce_fx="cat")

    @property
    def members(self) -> Tensor:
        """Bins of each group, bool ``[5, num_bins + 1]``; see :func:`group_members`."""
        return self._members.to(self.device)

    def _tensor_states(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._defaults if name not in ("preds", "target")}

    def update(self, preds: Values, target: Values) -> None:
        """Add a batch."""
        preds, target = self.inputs(preds, target)
        # add_batch() changes copies: a cache of torchmetrics may hold the states themselves.
        states = add_batch(self._tensor_states(), preds, target, self.bins, self._summed)
        for name, value in states.items():
            setattr(self, name, value)
        if self._keeps_samples:
            flat_preds, flat_target = flatten(preds, target)
            self.preds.append(flat_preds)
            self.target.append(flat_target)

    def compute(self) -> dict[str, Any]:
        """Return all metrics of all groups over all batches since the last reset, on all ranks."""
        samples = None
        if self._keeps_samples:
            samples = all_seen(self.preds, self.device), all_seen(self.target, self.device)
        groups = compute_groups(
            by_group(self.metrics), self._tensor_states(), self.members, self.bins, self.epsilon, samples
        )
        return flat_groups(groups) if self.flat else groups

    def plot(self, val: Any = None, ax: Any = None, metric: str | None = None) -> Any:
        """Plot one metric by shot group as bars, or a list of results as lines over time; needs matplotlib.

        Args:
            val: result of ``compute()`` or of the call, or a list of such results. Default: ``compute()``.
            ax: matplotlib axes to draw on. Default: new axes.
            metric: metric to draw. Default: the first metric of this object.

        Returns:
            The figure (None if ``ax`` was given) and the axes.

        Raises:
            ValueError: a metric that this object does not compute.
        """
        metric = self.metrics[0] if metric is None else metric
        check_choice("metric", metric, self.metrics)
        if ax is None:
            import matplotlib.pyplot as plt

            figure, ax = plt.subplots()
        else:
            figure = None
        results = self.compute() if val is None else val
        series = results if isinstance(results, (list, tuple)) else [results]
        rows = [self._values(result, metric) for result in series]
        names = ("all", *SHOTS)
        if isinstance(results, (list, tuple)):
            for name, values in zip(names, zip(*rows, strict=True), strict=True):
                ax.plot(range(len(values)), values, marker="o", label=name)
            ax.set_xlabel("step")
            ax.legend()
        else:
            ax.bar(names, rows[0])
        ax.set_ylabel(metric)
        return figure, ax

    @staticmethod
    def _values(result: Mapping[str, Any], metric: str) -> list[float]:
        """Return the metric of each group, from a nested or a flat result."""
        nested = "all" in result
        return [float(result[name][metric] if nested else result[f"{name}/{metric}"]) for name in ("all", *SHOTS)]
