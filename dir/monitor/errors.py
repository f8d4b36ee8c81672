"""The mean absolute error by label, and the error that it lets expect at other labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dir.monitor.density import DECILES, effective_size, quantile_edges

# Fewest rows in a label bin.
ROWS_PER_BIN = 5

Floats = NDArray[np.float64]


class ErrorProfile(NamedTuple):
    """Absolute errors in K label bins.

    Args:
        edges: inner edges of the bins ``(edge, edge]``; the first and the last bin are open.
        mean: mean absolute error in each bin, [K].
        deviation: standard deviation of the absolute error in each bin, [K].
        rows: effective number of rows in each bin, [K].
    """

    edges: Floats
    mean: Floats
    deviation: Floats
    rows: Floats

    @property
    def whole_rows(self) -> NDArray[np.int64]:
        """The rows of each bin as whole numbers, at least 1, [K]."""
        return np.maximum(np.rint(self.rows), 1).astype(np.int64)

    @property
    def standard_error(self) -> Floats:
        """Standard error of the mean in each bin, [K]."""
        found: Floats = self.deviation / np.sqrt(self.whole_rows)
        return found

    def places(self, labels: Floats) -> NDArray[np.int64]:
        """Return the bin of each label, [N]."""
        return np.searchsorted(self.edges, labels)

    def shares(self, labels: Floats) -> Floats:
        """Return the share of the labels in each bin, [K]."""
        found: Floats = np.bincount(self.places(labels), minlength=len(self.mean)) / len(labels)
        return found

    def expected(self, shares: Floats) -> tuple[float, float]:
        """Return the mean absolute error of labels with these shares of the bins, and its standard error.

        Example:
            >>> profile = make_profile(np.arange(60.0), np.arange(60.0) + 1, np.ones(60))
            >>> profile.expected(np.eye(len(profile.mean))[0])
            (1.0, 0.0)
        """
        return float(shares @ self.mean), float(np.sqrt(np.sum((shares * self.standard_error) ** 2)))


def make_profile(labels: Floats, predictions: Floats, weights: Floats) -> ErrorProfile:
    """Return the absolute errors of weighted rows by label.

    The edges are the deciles of the labels, and the edges of ten bins of equal width, which resolve the rare labels;
    bins of fewer than 5 rows are merged.

    Args:
        labels, predictions: [N].
        weights: > 0, [N]. They act within the bins.
    """
    edges = label_edges(labels)
    place = np.searchsorted(edges, labels)
    error = np.abs(labels - predictions)
    parts = [(weights[place == k], error[place == k]) for k in range(len(edges) + 1)]
    mean = np.array([np.average(e, weights=w) for w, e in parts])
    squares = [np.average((e - m) ** 2, weights=w) for (w, e), m in zip(parts, mean, strict=True)]
    return ErrorProfile(edges, mean, np.sqrt(squares), np.array([effective_size(w) for w, _ in parts]))


def label_edges(labels: Floats) -> Floats:
    """Return the inner edges of :func:`make_profile`."""
    equal = np.linspace(labels.min(), labels.max(), DECILES + 1)[1:-1]
    found: list[float] = []
    ordered, closed = np.sort(labels), 0
    for edge in np.unique(np.concatenate([quantile_edges(labels)[1:-1], equal])).tolist():
        below = int(np.searchsorted(ordered, edge, side="right"))
        if min(below - closed, len(labels) - below) >= ROWS_PER_BIN:
            found.append(edge)
            closed = below
    return np.array(found, dtype=np.float64)


def population_weights(labels: Floats, population: Floats) -> Floats:
    """Return the weight of each row with which its labels are distributed as those of the population, mean one.

    A validation split that is balanced over the label range has too many rare labels.

    Args:
        labels: of the rows, [N].
        population: labels of all rows.
    """
    edges = label_edges(labels)
    own, whole = (
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (labels, population)
    )
    # The population holds the rows, so that no bin of theirs is empty in it.
    ratio = np.maximum(whole, 0.5) / own
    weights = ratio[np.searchsorted(edges, labels)]
    found: Floats = weights / weights.mean()
    return found
