"""Bumps: stretches of the sorted labels that are all rare or all frequent, and their new sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_choice, check_interval, message
from dir.relevance import Relevance, suggested_points

Strategy = Literal["balance", "extreme"]
Rows = NDArray[np.int64]
Values = NDArray[np.float64]


class RelevanceLike(Protocol):
    """Interface of a relevance function that a resampler accepts besides :class:`dir.relevance.Relevance`."""

    def fit(self, y: Values, /) -> RelevanceLike: ...

    def __call__(self, y: Values, /) -> Values: ...


class Bump(NamedTuple):
    """Rows of one stretch in ascending order of their labels, and whether they are rare."""

    rows: Rows
    rare: bool


def relevance_values(relevance: RelevanceLike | None, y: Values) -> tuple[RelevanceLike, Values]:
    """Return the relevance function, fitted to ``y`` unless it is fitted already, and its values [N].

    Raises:
        ValueError: if a value is not in [0, 1].
    """
    chosen: RelevanceLike = Relevance() if relevance is None else relevance
    if not getattr(chosen, "fitted", False):
        from copy import deepcopy

        chosen = deepcopy(chosen).fit(y)  # scikit-learn: fitting never changes a parameter
    phi = np.asarray(chosen(y), dtype=np.float64)
    if phi.shape != y.shape or not bool(((phi >= 0) & (phi <= 1)).all()):
        raise ValueError(message("relevance", "expected one value in [0, 1] for each label", phi))
    return chosen, phi


def find_bumps(y: Values, phi: Values, threshold: float) -> list[Bump]:
    """Return the bumps in ascending order of their labels: runs of rows with ``phi >= threshold``, or below.

    Raises:
        ValueError: if all rows are rare, or none.
    """
    check_interval("threshold", threshold, "(0, 1]")
    order = np.argsort(y, kind="stable")
    rare = (phi >= threshold)[order]
    if not rare.any():
        raise ValueError(
            message(
                "threshold",
                f"no label is rare, because the largest relevance is {phi.max():g}",
                threshold,
                "Lower the threshold, or give a relevance that is high for rare labels: Relevance('adjbox'), a "
                f"smaller coef, or {suggested_points(y)}.",
            )
        )
    if rare.all():
        raise ValueError(
            message(
                "threshold",
                f"every label is rare, because the smallest relevance is {phi.min():g}",
                threshold,
                "Raise the threshold, or give a relevance that is low for frequent labels.",
            )
        )
    starts = np.flatnonzero(np.diff(rare)) + 1
    return [Bump(rows, bool(phi[rows[0]] >= threshold)) for rows in np.split(order, starts)]


def size_ratios(sizes: Sequence[int], strategy: Strategy) -> list[float]:
    r"""Return the new size of each bump divided by its old size.

    .. math:: \text{balance: } \frac{b}{n_i}, \qquad
        \text{extreme: } \frac{B\, b \cdot b^2 / n_i}{n_i \sum_j b^2 / n_j}, \qquad
        b = \operatorname{round}\Big(\frac{1}{B} \sum_j n_j\Big)

    "balance" gives each bump b rows, or a few less, because fractions of rows are cut off. "extreme" exchanges large
    and small sizes and keeps their sum; it rounds the new sizes to two decimals and the ratios to one, as the
    authors' package does.

    Example:
        >>> size_ratios([30, 10], "balance"), size_ratios([30, 10], "extreme")
        ([0.6666666666666666, 2.0], [0.3, 3.0])

    Reference:
        Branco, Torgo and Ribeiro, Pre-processing approaches for imbalanced distributions in regression,
        Neurocomputing 343, 2019.
    """
    check_choice("strategy", strategy, get_args(Strategy))
    b = round(sum(sizes) / len(sizes))
    if strategy == "balance":
        return [b / size for size in sizes]
    inverse = [b**2 / size for size in sizes]
    scale = len(sizes) * b / sum(inverse)
    return [round(round(value * scale, 2) / size, 1) for value, size in zip(inverse, sizes, strict=True)]


def kept_rows(bump: Bump, ratio: float, rng: np.random.RandomState) -> Rows:
    """Return a share of the bump's rows, drawn without replacement; all rows if the ratio is 1 or more."""
    if ratio >= 1:
        return bump.rows
    count = int(ratio * len(bump.rows))
    if not count:
        warnings.warn(
            message(
                "strategy",
                f"all {len(bump.rows)} rows of a bump of {'rare' if bump.rare else 'frequent'} labels are dropped",
                advice="Use strategy='balance' to keep some.",
            ),
            UserWarning,
            stacklevel=4,
        )
    return rng.choice(bump.rows, count, replace=False)


def extra_bases(bump: Bump, ratio: float, rng: np.random.RandomState) -> Rows:
    """Return the base rows of the new rows: whole copies of the bump, and a drawn share for the rest."""
    whole = int(ratio - 1)
    rest = int(len(bump.rows) * (ratio - 1 - whole))
    return np.concatenate([np.repeat(bump.rows, whole), rng.choice(bump.rows, rest, replace=False)])


def resample_bumps(
    bumps: Sequence[Bump],
    strategy: Strategy,
    rng: np.random.RandomState,
    *,
    under: bool = True,
    grow: Callable[[Bump, Rows], None] | None = None,
) -> Rows:
    """Return the rows to keep; call ``grow`` with each bump that has to grow and the base rows of its new rows."""
    kept = []
    for bump, ratio in zip(bumps, size_ratios([len(bump.rows) for bump in bumps], strategy), strict=True):
        kept.append(kept_rows(bump, ratio, rng) if under else bump.rows)
        if ratio > 1 and grow is not None:
            grow(bump, extra_bases(bump, ratio, rng))
    return np.sort(np.concatenate(kept))
