"""New rows from old ones: between neighbours, or by noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dir.resampling.table import Synthetic, Table

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_CATEGORIES = 1000


def heom_space(table: Table) -> Floats:
    r"""Rows as points whose Euclidean distance is the heterogeneous distance HEOM.

    .. math:: d(u, v)^2 = \sum_{\text{numeric}} \Big(\frac{u_a - v_a}{\max_a - \min_a}\Big)^2
        + \sum_{\text{categorical}} \mathbb{1}[u_a \ne v_a]

    Numbers are divided by their range, categories become indicator columns of height :math:`\sqrt{1/2}`; so a
    search tree can be used, and no table of distances is made.

    Raises:
        ValueError: a categorical column of more than 1,000 categories: mostly a name or a number of the row, by which
            no two rows are near, and a matrix of a column for each of them may not fit the memory.

    Reference:
        Wilson and Martinez, Improved Heterogeneous Distance Functions, JAIR 6, 1997, Eq. 2.
    """
    spread = np.ptp(table.numbers, axis=0)
    points = [(table.numbers - table.numbers.min(axis=0)) / np.where(spread > 0, spread, 1.0)]
    for column, known, place in zip(table.codes.T, table.categories, table.nominal.tolist(), strict=True):
        if len(known) > _MAX_CATEGORIES:
            raise ValueError(
                f"column {table.names[place]!r} of X has {len(known)} categories in {len(table.labels)} rows, more "
                f"than {_MAX_CATEGORIES} to look for neighbours by: drop it, group it, or make numbers of it"
            )
        points.append(np.eye(int(column.max()) + 1)[column] * np.sqrt(0.5))
    return np.concatenate(points, axis=1)


class Neighbours(NamedTuple):
    """For each base row one of its nearest neighbours, and the distances to all of those [M, k]."""

    rows: Rows
    chosen: Rows
    distances: Floats


def draw_neighbours(points: Floats, bump: Rows, bases: Rows, k: int, rng: np.random.RandomState) -> Neighbours:
    """One of the k nearest rows of the same bump for every base row; of a bump of k rows or fewer, all others."""
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(bump) - 1)
    distances, index = NearestNeighbors(n_neighbors=k).fit(points[bump]).kneighbors()
    place = np.empty(len(points), dtype=np.int64)
    place[bump] = np.arange(len(bump))
    own = place[bases]
    chosen = rng.randint(k, size=len(bases))
    return Neighbours(bump[index[own, chosen]], chosen, distances[own])


def interpolate(table: Table, points: Floats, bases: Rows, partners: Rows, rng: np.random.RandomState) -> Synthetic:
    """Rows between bases and their partners.

    Every number lies a random way between the two, every category is that of one of them, and the label
    is the mean of the two labels, each weighted by the distance of the new row from the *other* row.
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
    # As a step from one label, so that equal labels give exactly that label.
    labels = table.labels[bases] + weight * (table.labels[partners] - table.labels[bases])
    return Synthetic(numbers, codes, labels)


def perturb(table: Table, bump: Rows, bases: Rows, scale: float | Floats, rng: np.random.RandomState) -> Synthetic:
    """Bases with Gaussian noise of ``scale`` standard deviations of the bump on numbers and labels.

    Categories are drawn anew as often as they occur in the bump. Columns and labels that are nowhere
    negative in the table stay so.
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
