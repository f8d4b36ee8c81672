"""Columns of a table as aggregates, and the drift of the same columns in new rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from dir._checks import message
from dir.bundle.fields import BundleError, Fields
from dir.monitor.density import count_bins, kolmogorov, psi, psi_by_chance, quantile_edges, sketch
from dir.monitor.reading import read_array, read_counts, read_increasing, read_number
from dir.monitor.settings import Settings

# Categories that are counted on their own; the others are counted together.
CATEGORIES = 30

Floats = NDArray[np.float64]


class Column(NamedTuple):
    """Aggregates of a column of the reference rows.

    Args:
        name: of the column.
        values: the categories that are counted on their own; None for numbers.
        edges: edges of the bins of numbers; None for categories.
        quantiles: see :func:`dir.monitor.density.sketch`; None for categories.
        counts: rows in each bin of numbers; or of each category, and of all others.
        missing: rows without a value.
    """

    name: str
    values: list[str] | None
    edges: Floats | None
    quantiles: Floats | None
    counts: Floats
    missing: float

    @property
    def rows(self) -> float:
        """Rows, with or without a value."""
        return float(self.counts.sum()) + self.missing

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON keeps."""
        found = {"name": self.name, "counts": self.counts.tolist(), "missing": self.missing}
        if self.values is not None:
            return found | {"values": self.values}
        assert self.edges is not None
        assert self.quantiles is not None
        return found | {"edges": self.edges.tolist(), "quantiles": self.quantiles.tolist()}


def read_column(fields: Fields) -> Column:
    """Return the column of :meth:`Column.to_dict`, checked."""
    name, missing = fields.text("name"), float(read_number(fields, "missing"))
    if "values" in fields.values:
        values = fields.texts("values")
        return Column(name, values, None, None, read_counts(fields, len(values) + 1), missing)
    edges, quantiles = read_increasing(fields, "edges"), read_array(fields, "quantiles")
    if not len(quantiles):
        raise BundleError(message(fields.name("quantiles"), "expected at least one number", []))
    return Column(name, None, edges, quantiles, read_counts(fields, len(edges) + 1), missing)


def summarise_numbers(name: str, values: Floats, weights: Floats | None = None) -> Column | None:
    """Return the aggregates of numbers, NaN where missing; None without any value."""
    known = np.isfinite(values)
    if not known.any():
        return None
    kept, own = values[known], None if weights is None else weights[known]
    edges = quantile_edges(kept, own)
    return Column(name, None, edges, sketch(kept, own), count_bins(kept, edges, own), float((~known).sum()))


def summarise_table(table: pd.DataFrame, categorical: Sequence[str]) -> list[Column]:
    """Return the aggregates of each column of a frame with numbers as float64 and categories as text.

    A column without any value is left out.
    """
    found = []
    for name in table.columns:
        if name not in categorical:
            column = summarise_numbers(str(name), table[name].to_numpy(np.float64))
        else:
            counted = table[name].value_counts()
            # Equal counts in the order of the names: the aggregates do not depend on the order of the rows.
            order = sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
            shown, rest = order[:CATEGORIES], order[CATEGORIES:]
            counts = [count for _, count in shown] + [sum(count for _, count in rest)]
            missing = float(table[name].isna().sum())
            column = Column(
                str(name), [str(value) for value, _ in shown], None, None, np.array(counts, dtype=np.float64), missing
            )
        if column is not None and column.counts.any():
            found.append(column)
    return found


def tests_of(columns: Sequence[Column]) -> int:
    """Return the number of tests of :func:`compare_column` over columns: they share the error probability."""
    return sum(2 if column.values is not None else 3 for column in columns)


def compare_column(column: Column, new: Any, known: Sequence[str] | None, settings: Settings) -> dict[str, Any]:
    """Return the drift of one column, JSON-able.

    Args:
        column: reference.
        new: values of the new rows: float64, NaN where missing; or text, None where missing.
        known: categories of the training rows; None for numbers.
        settings: thresholds; their ``alpha`` is that of one test.

    Returns:
        ``psi`` and ``psi_by_chance``; for numbers ``ks`` and ``p_value``; the shares ``missing`` and
        ``reference_missing``, and for categories ``unknown``; and ``drift``, the reasons.
    """
    if column.values is None:
        values = np.asarray(new, dtype=np.float64)
        gone = ~np.isfinite(values)
        values = values[~gone]
        assert column.edges is not None
        counts, strange = count_bins(values, column.edges), 0
    else:
        texts = pd.Series(np.asarray(new, dtype=object))
        gone = texts.isna().to_numpy()
        texts = texts[~gone]
        own = [int((texts == value).sum()) for value in column.values]
        counts = np.array([*own, len(texts) - sum(own)], dtype=np.float64)
        strange = int((~texts.isin(list(known or ()))).sum())
        values = np.zeros(0)
    rows = len(gone)
    absent = int(gone.sum()) + strange
    found: dict[str, Any] = {
        "column": column.name,
        "kind": "number" if column.values is None else "category",
        "missing": int(gone.sum()) / rows,
        "reference_missing": column.missing / column.rows,
    }
    reasons = []
    if column.values is not None:
        found["unknown"] = strange / rows
    extra = absent / rows - column.missing / column.rows
    table = np.array([[absent, rows - absent], [round(column.missing), round(column.rows - column.missing)]])
    if extra > settings.missing and stats.fisher_exact(table, "greater").pvalue < settings.alpha:
        reasons.append("missing" if strange == 0 else "unknown" if strange == absent else "missing or unknown")
    # A missing value is a bin of its own.
    before, now = np.append(column.counts, column.missing), np.append(counts, float(gone.sum()))
    found["psi"] = psi(before, now)
    found["psi_by_chance"] = psi_by_chance(before, now, settings.alpha)
    if found["psi"] > max(settings.psi, found["psi_by_chance"]):
        reasons.append("psi")
    if column.quantiles is not None and len(values):
        test = kolmogorov(column.quantiles, column.counts.sum(), values)
        found |= {"ks": test.statistic, "p_value": test.p_value}
        if test.statistic > settings.ks and test.p_value < settings.alpha:
            reasons.append("ks")
    return found | {"drift": reasons}
