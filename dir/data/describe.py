"""Reports of how data was read: columns, labels and splits as plain values, and as text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir.bins import LabelBins
from dir.data.problems import shown

EXAMPLES = 3


def describe_labels(labels: NDArray[Any]) -> dict[str, Any]:
    """Return number, range, mean, median, zeros, distinct values and most frequent value of labels.

    Example:
        >>> found = describe_labels(np.array([0.0, 0.0, 4.0]))
        >>> found["zeros"], found["distinct"], found["most_frequent"]
        (2, 2, [0.0, 2])
    """
    values, counts = np.unique(labels.astype(np.float64), return_counts=True)
    return {
        "rows": len(labels),
        "min": float(values[0]),
        "max": float(values[-1]),
        "mean": float(labels.astype(np.float64).mean()),
        "median": float(np.median(labels)),
        "zeros": int((labels == 0).sum()),
        "distinct": len(values),
        "most_frequent": [float(values[counts.argmax()]), int(counts.max())],
    }


def describe_splits(labels: Mapping[str, NDArray[Any]], targets: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return :func:`describe_labels` of each split, or of each split and each of several targets, labels [N, K]."""
    if len(targets) < 2:
        return {split: describe_labels(values) for split, values in labels.items()}
    return {
        split: {name: describe_labels(values[:, place]) for place, name in enumerate(targets)}
        for split, values in labels.items()
    }


def describe_columns(table: pd.DataFrame, kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return kind, missing values, distinct values and examples of each column.

    Args:
        table: the columns as read from the file.
        kinds: kind of each column: target, number, category, date, group, split, time, importance or
            dropped.
    """
    found = {}
    for name in table.columns:
        values = table[name].dropna()
        examples = [str(value)[:60] for value in values.drop_duplicates().head(EXAMPLES)]
        found[str(name)] = {
            "kind": kinds[name],
            "missing": len(table) - len(values),
            "distinct": int(values.nunique()),
            "examples": examples,
        }
    return found


def format_description(description: Mapping[str, Any]) -> str:
    """Return a description as lines of text, for the terminal; one line per split and target.

    Example:
        >>> print(format_description({"splits": {"train": describe_labels(np.array([0.0, 1.5, 1.5]))}}))
        train: 3 rows, labels 0 to 1.5 (median 1.5), 2 distinct, 1 zeros, most frequent 1.5 (2 times)
    """
    lines = []
    columns: Mapping[str, Mapping[str, Any]] = description.get("columns", {})
    if columns:
        lines = _aligned([("column", "kind", "missing", "distinct", "examples")] + [
            (shown(name, 40)[1:-1], str(column["kind"]), str(column["missing"]), str(column["distinct"]),
             ", ".join(column["examples"]))
            for name, column in columns.items()
        ])  # fmt: skip
    target: Mapping[str, Any] = description.get("target", {})
    if target.get("log_target"):
        trained = "log(1 + label)" if target["log1p"] else "the label itself"
        lines.append(f"target: {trained} is trained on, because {target['reason']}")
    lines += description.get("notes", [])
    digits = 6
    if target.get("dtype") == "float64":
        lines.append("target: labels are float64, because float32 is too coarse for them")
        digits = 15
    for split, labels in _by_target(description["splits"]):
        if "maps" in labels:
            lines.append(_maps_line(split, labels))
            continue
        value, count = labels["most_frequent"]
        low, high, middle, often = (
            f"{number:.{digits}g}" for number in (labels["min"], labels["max"], labels["median"], value)
        )
        lines.append(
            f"{split}: {labels['rows']} rows, labels {low} to {high} (median {middle}), "
            f"{labels['distinct']} distinct, {labels['zeros']} zeros, most frequent {often} ({count} times)"
        )
    lines += _importance_lines(description.get("importance", {}))
    return "\n".join(lines)


def _maps_line(split: str, labels: Mapping[str, Any]) -> str:
    height, width = labels["size"]
    return (
        f"{split}: {labels['maps']} maps of {height} x {width}, {labels['rows']} labelled pixels, "
        f"{labels['holes']} holes, labels {labels['min']:.6g} to {labels['max']:.6g} (mean {labels['mean']:.6g}), "
        f"{labels['zeros']} zeros"
    )


def _by_target(splits: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the labels of each split, or of each split and each of several targets, with a heading."""
    lines: list[tuple[str, Mapping[str, Any]]] = []
    for split, found in splits.items():
        if all(isinstance(value, Mapping) for value in found.values()):
            lines += [(f"{split}, {name}", labels) for name, labels in found.items()]
        else:
            lines.append((split, found))
    return lines


def _importance_lines(importance: Mapping[str, Any]) -> list[str]:
    lines = [
        f"importance of {split} rows ({importance['source']}): mean {found['mean']:.4g}, {found['min']:.4g} to "
        f"{found['max']:.4g}, {found['zeros']} zeros"
        for split, found in importance.get("splits", {}).items()
    ]
    return lines + list(importance.get("notes", []))


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def shared_rows(rows: Sequence[Hashable], placed: Mapping[str, NDArray[np.int64]]) -> dict[str, int]:
    """Return how many rows of val and of test equal a training row.

    Args:
        rows: content of each row without its label.
        placed: numbers of the rows of each split.

    Example:
        >>> placed = {"train": np.array([0]), "val": np.array([1]), "test": np.array([2])}
        >>> shared_rows(["a", "b", "a"], placed)
        {'val': 0, 'test': 1}
    """
    train = {rows[row] for row in placed["train"]}
    return {name: sum(rows[row] in train for row in placed[name]) for name in ("val", "test")}


def describe_bins(bins: LabelBins) -> str:
    """Return number, width and range of label bins as text.

    Example:
        >>> describe_bins(LabelBins.integers(3, 9)), describe_bins(LabelBins.uniform(0.0, 2.0, 50))
        ('bins: 7, one for each whole number from 3 to 9', 'bins: 50 of width 0.04 from 0 to 2')
    """
    edges = bins.edges.double()
    low, high, widths = float(edges[0]), float(edges[-1]), edges.diff()
    if bool((widths == 1).all()) and (low + 0.5).is_integer():
        return f"bins: {bins.num_bins}, one for each whole number from {low + 0.5:g} to {high - 0.5:g}"
    even = bool((widths - widths.mean()).abs().max() <= 1e-3 * widths.mean())
    kind = f"of width {float(widths.mean()):.4g}" if even else "of different widths"
    return f"bins: {bins.num_bins} {kind} from {low:.6g} to {high:.6g}"
