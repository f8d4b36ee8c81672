"""Bumps: the stretches of the label range that are relevant throughout, or throughout not, and their new sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dir.relevance import Relevance

Strategy = Literal["balance", "extreme"]
Rows = NDArray[np.int64]
Values = NDArray[np.float64]


class RelevanceLike(Protocol):
    """What a resampler asks of a relevance that is not :class:`dir.relevance.Relevance`."""

    def fit(self, y: Values, /) -> RelevanceLike: ...

    def __call__(self, y: Values, /) -> Values: ...


class Bump(NamedTuple):
    """Rows of one stretch in ascending order of their labels, and whether they are relevant."""

    rows: Rows
    rare: bool


def relevance_values(relevance: RelevanceLike | None, y: Values) -> tuple[RelevanceLike, Values]:
    """The relevance to use, fitted to ``y`` unless it was already, and its values.

    Raises:
        ValueError: relevances that are not in [0, 1].
    """
    chosen: RelevanceLike = Relevance() if relevance is None else relevance
    if not getattr(chosen, "fitted", False):
        from copy import deepcopy

        chosen = deepcopy(chosen).fit(y)  # a parameter is never changed by fitting
    phi = np.asarray(chosen(y), dtype=np.float64)
    if phi.shape != y.shape or not bool(((phi >= 0) & (phi <= 1)).all()):
        raise ValueError(f"relevance must return one value in [0, 1] per label, got {phi!r}")
    return chosen, phi


def find_bumps(y: Values, phi: Values, threshold: float) -> list[Bump]:
    """Consecutive runs, in ascending order of the label, of rows with ``phi >= threshold`` or below it.

    Raises:
        ValueError: a threshold that leaves only relevant rows, or none.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    order = np.argsort(y, kind="stable")
    rare = (phi >= threshold)[order]
    if not rare.any():
        raise ValueError(
            f"no label is rare: the relevance reaches {phi.max():g} at most, and threshold={threshold}. "
            "Lower the threshold, or give a relevance that rises where labels matter: Relevance('adjbox'), a smaller "
            "coef, or Relevance.from_points([(common label, 0), (rare label, 1)])"
        )
    if rare.all():
        raise ValueError(
            f"every label is rare: the relevance is {phi.min():g} at least, and threshold={threshold}. "
            "Raise the threshold, or give a relevance that is low for common labels"
        )
    starts = np.flatnonzero(np.diff(rare)) + 1
    return [Bump(rows, bool(phi[rows[0]] >= threshold)) for rows in np.split(order, starts)]


def size_ratios(sizes: Sequence[int], strategy: Strategy) -> list[float]:
    r"""New size of every bump divided by its old one.

    .. math:: \text{balance: } \frac{b}{n_i}, \qquad
        \text{extreme: } \frac{B\, b \cdot b^2 / n_i}{n_i \sum_j b^2 / n_j}, \qquad
        b = \operatorname{round}\Big(\frac{1}{B} \sum_j n_j\Big)

    "balance" gives every bump b rows, or a few less where whole numbers of rows are drawn (shares are cut off, not
    rounded); "extreme" turns the sizes around and keeps their sum. Under "extreme" the new
    sizes are rounded to two decimals and the ratios to one, as in the authors' package.

    Example:
        >>> size_ratios([30, 10], "balance"), size_ratios([30, 10], "extreme")
        ([0.6666666666666666, 2.0], [0.3, 3.0])

    Reference:
        Branco, Torgo and Ribeiro, Pre-processing approaches for imbalanced distributions in regression,
        Neurocomputing 343, 2019.
    """
    if strategy not in ("balance", "extreme"):
        raise ValueError(f"strategy must be 'balance' or 'extreme', got {strategy!r}")
    b = round(sum(sizes) / len(sizes))
    if strategy == "balance":
        return [b / size for size in sizes]
    inverse = [b**2 / size for size in sizes]
    scale = len(sizes) * b / sum(inverse)
    return [round(round(value * scale, 2) / size, 1) for value, size in zip(inverse, sizes, strict=True)]


def kept_rows(bump: Bump, ratio: float, rng: np.random.RandomState) -> Rows:
    """A share of the bump's rows, drawn without replacement; all where the ratio is 1 or more."""
    if ratio >= 1:
        return bump.rows
    count = int(ratio * len(bump.rows))
    if not count:
        warnings.warn(
            f"strategy and threshold leave none of the {len(bump.rows)} rows of a "
            f"{'rare' if bump.rare else 'common'} stretch of labels; strategy='balance' keeps some",
            UserWarning,
            stacklevel=4,
        )
    return rng.choice(bump.rows, count, replace=False)


def extra_bases(bump: Bump, ratio: float, rng: np.random.RandomState) -> Rows:
    """The rows that new ones start from: each as often as the ratio is whole, and a drawn share for the rest."""
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
    """Rows to keep; ``grow`` is called with every bump that has to grow and the rows that new ones start from."""
    kept = []
    for bump, ratio in zip(bumps, size_ratios([len(bump.rows) for bump in bumps], strategy), strict=True):
        kept.append(kept_rows(bump, ratio, rng) if under else bump.rows)
        if ratio > 1 and grow is not None:
            grow(bump, extra_bases(bump, ratio, rng))
    return np.sort(np.concatenate(kept))
