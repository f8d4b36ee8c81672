"""Synthetic rows: between neighbours, or with noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dir._checks import message
from dir.resampling.table import Synthetic, Table

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_CATEGORIES = 1000


def heom_space(table: Table) -> Floats:
    r"""Return the rows as points whose Euclidean distance is the heterogeneous distance HEOM.

    .. math:: d(u, v)^2 = \sum_{\text{numeric}} \Big(\frac{u_a - v_a}{\max_a - \min_a}\Big)^2
        + \sum_{\text{categorical}} \mathbb{1}[u_a \ne v_a]

    Numbers are divided by their range, and categories become indicator columns of height :math:`\sqrt{1/2}`, so that
    a search tree can be used instead of a table of distances.

    Raises:
        ValueError: if a categorical column has more than 1,000 categories. Such a column mostly identifies the row,
            and its indicator columns may not fit into memory.

    Reference:
        Wilson and Martinez, Improved Heterogeneous Distance Functions, JAIR 6, 1997, Eq. 2.
    """
    spread = np.ptp(table.numbers, axis=0)
    points = [(table.numbers - table.numbers.min(axis=0)) / np.where(spread > 0, spread, 1.0)]
    for column, known, place in zip(table.codes.T, table.categories, table.nominal.tolist(), strict=True):
        if len(known) > _MAX_CATEGORIES:
            raise ValueError(
                message(
                    f"X[{table.names[place]!r}]",
                    f"expected at most {_MAX_CATEGORIES} categories to find neighbours",
                    len(known),
                    "Drop the column, merge categories, or encode them as numbers.",
                )
            )
        points.append(np.eye(int(column.max()) + 1)[column] * np.sqrt(0.5))
    return np.concatenate(points, axis=1)


class Neighbours(NamedTuple):
    """One of the k nearest neighbours of each base row, its place among them, and the distances to all k [M, k]."""

    rows: Rows
    chosen: Rows
    distances: Floats


def draw_neighbours(points: Floats, bump: Rows, bases: Rows, k: int, rng: np.random.RandomState) -> Neighbours:
    """Draw one of the k nearest rows of the same bump for each base row; of all other rows, if there are fewer."""
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(bump) - 1)
    distances, index = NearestNeighbors(n_neighbors=k).fit(points[bump]).kneighbors()
    place = np.empty(len(points), dtype=np.int64)
    place[bump] = np.arange(len(bump))
    own = place[bases]
    chosen = rng.randint(k, size=len(bases))
    return Neighbours(bump[index[own, chosen]], chosen, distances[own])


def interpolate(table: Table, points: Floats, bases: Rows, partners: Rows, rng: np.random.RandomState) -> Synthetic:
    """Return rows between the bases and their partners.

    Each number is drawn between the two rows, each category is that of one of the rows, and the label is the mean of
    the two labels, each weighted by the distance of the new row from the *other* row.
    """
    way = rng.uniform(size=(len(bases), table.numbers.shape[1]))
    numbers = table.numbers[bases] + way * (table.numbers[partners] - table.numbers[bases])
    swap = rng.uniform(size=(len(bases), table.codes.shape[1])) < 0.5
    codes = np.where(swap, table.codes[partners], table.codes[bases])
    scaled = points[:, : table.numbers.shape[1]]
    step = scaled[partners] - scaled[bases]
    differ = table.codes[partners] != table.codes[bases]
    to_base = np.sqrt(((way * step) ** 2).sum(axis=1) + (differ & swap).sum(axis=1))
    to_partner = np.sqrt((((1 - way) * step) ** 2).sum(axis=1) + (differ & ~swap).sum(axis=1))
    total = to_base + to_partner
    weight = np.divide(to_base, total, out=np.full(len(bases), 0.5), where=total > 0)
    # A step from one label to the other: equal labels give exactly this label.
    labels = table.labels[bases] + weight * (table.labels[partners] - table.labels[bases])
    return Synthetic(numbers, codes, labels)


def perturb(table: Table, bump: Rows, bases: Rows, scale: float | Floats, rng: np.random.RandomState) -> Synthetic:
    """Return the bases with Gaussian noise of ``scale`` standard deviations of the bump on numbers and labels.

    Categories are drawn with their frequencies in the bump. Columns and labels without a negative number in the table
    get none.
    """
    amount = np.broadcast_to(np.asarray(scale, dtype=np.float64), len(bases))
    numbers = table.numbers[bases] + rng.standard_normal((len(bases), table.numbers.shape[1])) * (
        amount[:, None] * table.numbers[bump].std(axis=0)
    )
    labels = table.labels[bases] + rng.standard_normal(len(bases)) * amount * table.labels[bump].std()
    donors = rng.choice(bump, size=(len(bases), table.codes.shape[1]))
    codes = table.codes[donors, np.arange(table.codes.shape[1])]
    floor = np.where(table.numbers.min(axis=0, initial=0.0) < 0, -np.inf, 0.0)
    return Synthetic(np.maximum(numbers, floor), codes, labels if table.labels.min() < 0 else np.maximum(labels, 0.0))
