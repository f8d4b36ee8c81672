"""How ``dir-recommend`` judges predictions: objectives, intervals by the bootstrap, and cross-fitted corrections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dir._checks import check_choice, message
from dir.costs import LinearCost
from dir.posthoc import Correction, Posthoc

Array = NDArray[np.float64]
OBJECTIVES = ("crowd", "balanced", "tail")
# The metric of each objective, as method.power_objective names it.
METRIC_OF = {"crowd": "mae", "balanced": "balanced_mae", "tail": "few/mae"}
DRAWS, FOLDS = 1000, 5
INTERVALS = (
    f"Brackets: 95 % intervals from {DRAWS} bootstrap resamples of the validation rows (balanced: within each label "
    "bin), of the mean over the seeds. "
    "Corrections and powers are judged on rows that they were not fitted on."
)


@dataclass(frozen=True)
class Rows:
    """The validation rows.

    Args:
        label: float64 [N].
        bin: label bin of each row, int64 [N].
        shot: shot group of each row, text [N].
    """

    label: Array
    bin: NDArray[Any]
    shot: NDArray[Any]


@dataclass(frozen=True)
class Objective:
    """What the user wants low: a mean of row losses, over all rows, over the bins, or over the few-shot rows.

    Args:
        name: "crowd" (mean absolute error), "balanced" (mean over the label bins of each bin's error), "tail" (error
            of the few-shot rows) or "cost".
        cost: prices of the "cost" objective.
    """

    name: str
    cost: LinearCost | None = None

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective of ``crowd``, ``balanced``, ``tail`` or ``cost:UNDER,OVER``.

        Raises:
            ValueError: another text, or prices that are not above 0.

        Example:
            >>> Objective.parse("cost:5,1").cost
            LinearCost(under=5.0, over=1.0)
        """
        kind, _, prices = text.partition(":")
        if kind == "cost":
            try:
                under, over = map(float, prices.split(","))
            except ValueError:
                advice = "Such as cost:5,1: a prediction below the label costs 5 per unit, above it 1."
                raise ValueError(message("--objective", "expected cost:UNDER,OVER", text, advice)) from None
            return cls("cost", LinearCost(under, over))
        check_choice("--objective", text, OBJECTIVES, "Or give cost:UNDER,OVER.")
        return cls(text)

    @property
    def metric(self) -> str:
        """Return the name of the number, for tables."""
        return METRIC_OF.get(self.name, "mean cost")

    def losses(self, rows: Rows, prediction: Array) -> Array:
        """Return the loss of each row, [N]."""
        if self.cost is None:
            return np.abs(prediction - rows.label)
        return self.cost(torch.from_numpy(prediction), torch.from_numpy(rows.label)).double().numpy()

    def groups(self, rows: Rows) -> NDArray[Any]:
        """Return the group of each row, int64 [N], -1 for rows that do not count. The value is the mean of groups.

        Raises:
            ValueError: no row counts.
        """
        if self.name == "balanced":
            return np.unique(rows.bin, return_inverse=True)[1]
        if self.name == "tail":
            groups = np.where(rows.shot == "few", 0, -1)
            if (groups < 0).all():
                advice = "Set task.shots.by=quantile, or more validation rows."
                raise ValueError(message("--objective", "no validation row is few-shot", "tail", advice))
            return groups
        return np.zeros(len(rows.label), dtype=np.int64)

    def value(self, rows: Rows, prediction: Array) -> float:
        """Return the objective of predictions, lower is better."""
        return float(resampled(self.losses(rows, prediction), self.groups(rows), np.ones((1, len(prediction))))[0])


def resampled(losses: Array, groups: NDArray[Any], counts: Array) -> Array:
    """Return the mean over groups of the mean loss in each group, for each resample.

    Args:
        losses: [N].
        groups: group of each row, [N]; rows in -1 do not count.
        counts: how often each row is in each resample, [B, N].

    Returns:
        [B]. A group without rows in a resample does not count there; NaN where no group has rows.
    """
    used = groups >= 0
    member = (groups[used][:, None] == np.unique(groups[used])).astype(np.float64)
    own = counts[:, used]
    rows = own @ member
    means = np.divide(own @ (losses[used][:, None] * member), rows, out=np.full(rows.shape, np.nan), where=rows > 0)
    some = (rows > 0).sum(1)
    total = np.nansum(means, axis=1)
    values: Array = np.divide(total, some, out=np.full(len(total), np.nan), where=some > 0)
    return values


def bootstrap_counts(groups: NDArray[Any], seed: int = 0, draws: int = DRAWS) -> Array:
    """Return how often each row is in each of the resamples, [draws, N].

    Each group is resampled by itself, with replacement. Resamples of all rows would lose bins with few rows, whose
    errors are large, and shift the mean over the bins. A group of one row adds no variance.

    Args:
        groups: group of each row, [N]; rows in -1 are never drawn.
        seed: seed of the draws.
        draws: number of resamples.
    """
    random = np.random.default_rng(seed)
    counts = np.zeros((draws, len(groups)))
    for group in np.unique(groups[groups >= 0]):
        own = np.flatnonzero(groups == group)
        counts[:, own] = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)
    return counts


def interval(values: Array) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def folds_of(rows: int, seed: int = 0) -> NDArray[Any]:
    """Return a fold of each row, int64 [rows], drawn evenly."""
    return np.random.default_rng(seed).permutation(np.arange(rows) % min(FOLDS, rows))


def cross_fitted(fit: Callable[[NDArray[Any]], Callable[[NDArray[Any]], Array]], folds: NDArray[Any]) -> Array:
    """Return predictions of rows by something that was fitted on the rows of the other folds.

    A correction that is judged on the rows that it was fitted on looks better than it is.

    Args:
        fit: takes the rows to fit on, and returns a function that predicts other rows.
        folds: fold of each row.
    """
    found = np.empty(len(folds))
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        found[own] = fit(np.flatnonzero(folds != fold))(own)
    return found


def corrected(kind: Posthoc, rows: Rows, prediction: Array, folds: NDArray[Any]) -> Array:
    """Return cross-fitted predictions after an isotonic or affine correction."""

    def fit(others: NDArray[Any]) -> Callable[[NDArray[Any]], Array]:
        x, y = torch.from_numpy(prediction[others]), torch.from_numpy(rows.label[others])
        correction = Correction(kind).fit(x, y)
        return lambda own: correction(torch.from_numpy(prediction[own])).double().numpy()

    return cross_fitted(fit, folds)


def at_best_power(
    objective: Objective, rows: Rows, by_power: Sequence[tuple[float, Array]], folds: NDArray[Any]
) -> tuple[float, Array]:
    """Return the power with the lowest objective on all rows, and cross-fitted predictions of that choice."""

    def choose(kept: NDArray[Any]) -> int:
        part = Rows(rows.label[kept], rows.bin[kept], rows.shot[kept])
        if objective.name == "tail" and not (part.shot == "few").any():
            part, kept = rows, np.arange(len(rows.label))
        return int(np.argmin([objective.value(part, prediction[kept]) for _, prediction in by_power]))

    def fit(others: NDArray[Any]) -> Callable[[NDArray[Any]], Array]:
        chosen = by_power[choose(others)][1]
        return lambda own: chosen[own]

    best = choose(np.arange(len(rows.label)))
    return by_power[best][0], cross_fitted(fit, folds)
