"""Metrics by shot: for all labels, and for those with many, a median number of, few and no training samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dir.bins import LabelBins
from dir.metrics.base import RegressionMetric, add_rows, all_seen, check_shapes, flat_pair
from dir.metrics.correlation import (
    NUM_MOMENTS,
    ascending,
    binned_moments,
    merge_moments,
    pearson,
    spearman_among,
)
from dir.metrics.errors import balanced_mean, check_epsilon, geometric_mean, log_errors
from dir.metrics.shot_groups import SHOTS, shot_of_bins

METRICS = ("mae", "mse", "gm", "pearson", "spearman", "balanced_mae")


class ShotMetrics(RegressionMetric):
    """Every metric for all samples and by the number of training samples that share the sample's label bin.

    The metrics of a group pool its samples (balanced_mae: its bins). A group without samples has n = 0 and
    NaN for all else.

    Args:
        bins: the label bins.
        counts: training samples per bin, [num_bins]: ``bins.counts(train_labels)``. None only with groups.
        metrics: which of "mae", "mse", "gm", "pearson", "spearman", "balanced_mae"; None means all. The first
            three and balanced_mae cost a pass over the batch; spearman keeps all samples and sorts them.
        many: bins with more training samples than this are "many".
        few: bins with fewer than this are "few"; from few to many, both included, they are "median".
        zero_shot: whether bins without training samples are a group of their own, "zero"; False counts them
            among "few", as the published tables do.
        groups: a published list such as ``STSB_DIR_SHOTS``, bin indices by group name, in place of counts
            and thresholds.
        epsilon: what an exact hit counts as in gm, see :class:`dir.metrics.GM`.
        **kwargs: of torchmetrics.Metric.

    Shape:
        preds, target: [N] or [N, 1], the same for both, in the raw unit of the labels. ``compute()`` gives
        ``{"all": {"n", "mae", ...}, "many": {...}, "median": ..., "few": ..., "zero": ...}``, n an int64 scalar
        and the rest float64 scalars. A label in no bin (out of range under "exclude", not finite) and a bin
        in no listed group count in "all" alone, the former not in its balanced_mae.

    State:
        tallies: samples and exact hits, [2, num_bins + 1], and sums: absolute, squared and log errors,
        [up to 3, num_bins + 1], summed over batches and ranks; moments: [num_bins + 1, 6], merged; preds, target:
        all samples, gathered (for spearman). Only what the chosen metrics need. The last bin takes labels in none.

    Raises:
        ValueError: an unknown metric; whatever :func:`shot_of_bins` refuses; shapes that differ.

    Example:
        >>> bins = LabelBins.integers(0, 2)
        >>> metric = ShotMetrics(bins, counts=torch.tensor([500, 50, 0]), metrics=["mae"])
        >>> metric.update(torch.tensor([0.5, 1.0, 5.0]), torch.tensor([0.0, 1.0, 2.0]))
        >>> {shot: values["mae"].item() for shot, values in metric.compute().items()}
        {'all': 1.1666666666666667, 'many': 0.5, 'median': 0.0, 'few': nan, 'zero': 3.0}

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021. There an empty group raises (ages) or
        prints 0 (STS-B).
    """

    higher_is_better = None
    tallies: Tensor
    sums: Tensor
    moments: Tensor
    preds: list[Tensor]
    target: list[Tensor]
    members: Tensor

    def __init__(
        self,
        bins: LabelBins,
        counts: Tensor | None = None,
        metrics: Sequence[str] | None = None,
        many: int = 100,
        few: int = 20,
        zero_shot: bool = True,
        groups: Mapping[str, Sequence[int]] | None = None,
        epsilon: float = 1e-10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.metrics = tuple(METRICS if metrics is None else metrics)
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or isinstance(metrics, str):
            raise ValueError(f"metrics must be a list out of {', '.join(METRICS)}, got {metrics!r}")
        check_epsilon(epsilon)
        self.epsilon = epsilon
        self.bins = bins
        shots = shot_of_bins(counts, bins.num_bins, many, few, zero_shot, groups).cpu()
        # Rows "all" and SHOTS; the last column stands for labels in no bin, which are in "all" alone.
        members = torch.zeros(1 + len(SHOTS), bins.num_bins + 1, dtype=torch.bool)
        members[0] = True
        members[1:, :-1] = shots
        self.register_buffer("members", members, persistent=False)
        self._declare_states(bins.num_bins + 1)

    def _declare_states(self, rows: int) -> None:
        wanted = set(self.metrics)
        needs = {"abs_error": {"mae", "balanced_mae"}, "squared_error": {"mse"}, "log_error": {"gm"}}
        self.summed = tuple(name for name, by in needs.items() if wanted & by)
        # One tensor of a type: ranks gather every state by itself.
        self.add_sum("tallies", (2, rows), dtype=torch.int64)
        if self.summed:
            self.add_sum("sums", (len(self.summed), rows))
        if "pearson" in wanted:
            table = torch.zeros(rows, NUM_MOMENTS, dtype=torch.float64)
            self.add_state("moments", table, dist_reduce_fx=merge_moments)
        if "spearman" in wanted:
            self.add_state("preds", [], dist_reduce_fx="cat")
            self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        check_shapes(preds, target)
        # Copies, in place: what a metric's cache holds of the states must not change with them.
        states = {name: getattr(self, name).clone() for name in self._defaults if name not in ("preds", "target")}
        by_bin = dict(zip(("count", "hits"), states["tallies"], strict=True))
        if self.summed:
            by_bin |= dict(zip(self.summed, states["sums"], strict=True))
        for index, some_preds, some_labels in self.bins.pieces(target, preds, target):
            pair = flat_pair(some_preds, some_labels)
            if "moments" in states:
                batch = binned_moments(*pair, index.to(torch.int64), self.bins.num_bins + 1)
                states["moments"] = merge_moments(torch.stack([states["moments"], batch]))
            self._add(by_bin, *pair, index)
        for name, value in states.items():
            setattr(self, name, value)
        if "preds" in self._defaults:
            flat_preds, flat_target = flat_pair(preds, target)
            self.preds.append(flat_preds)
            self.target.append(flat_target)

    @staticmethod
    def _add(sums: dict[str, Tensor], preds: Tensor, target: Tensor, rows: Tensor) -> None:
        add_rows(sums["count"], rows)
        index = rows.to(torch.int64)
        # In place on the copy: nothing below needs the predictions themselves.
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

    def compute(self) -> dict[str, dict[str, Tensor]]:
        """All metrics of all groups over everything seen since the last reset, on all ranks."""
        groups = ("all", *SHOTS)
        columns = {name: values.unbind() for name, values in self._of_groups().items()}
        result = {shot: {name: of[i] for name, of in columns.items()} for i, shot in enumerate(groups)}
        if "spearman" in self.metrics:
            preds, target = all_seen(self.preds, self.device), all_seen(self.target, self.device)
            index = self.bins(target)
            orders = ascending(preds), ascending(target)  # sorted once for all groups
            for values, member in zip(result.values(), self.members, strict=True):
                values["spearman"] = spearman_among(member.index_select(0, index), preds, target, *orders)
        return result

    def _of_groups(self) -> dict[str, Tensor]:
        """What the sums tell of each group, one value per row of ``members``."""

        def of_members(states: Tensor) -> Tensor:  # [states, rows] -> [states, groups, rows]
            return torch.where(self.members, states[:, None], 0)  # no product: an infinite error stays in its group

        counts = of_members(self.tallies)
        n, hits = counts.sum(2)
        values = {"n": n}
        by_bin = dict(zip(self.summed, of_members(self.sums), strict=True)) if self.summed else {}
        total = {name: rows.sum(1) for name, rows in by_bin.items()}
        if "mae" in self.metrics:
            values["mae"] = total["abs_error"] / n
        if "mse" in self.metrics:
            values["mse"] = total["squared_error"] / n
        if "gm" in self.metrics:
            values["gm"] = geometric_mean(total["log_error"], hits, n, self.epsilon)
        if "pearson" in self.metrics:
            tables = torch.where(self.members.T[..., None], self.moments[:, None], 0)  # [rows, groups, NUM_MOMENTS]
            values["pearson"] = pearson(merge_moments(tables))
        if "balanced_mae" in self.metrics:
            values["balanced_mae"] = balanced_mean(by_bin["abs_error"][:, :-1], counts[0, :, :-1])
        return values
