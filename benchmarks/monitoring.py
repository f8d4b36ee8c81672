"""False alarms of dir-monitor without a shift, and its error estimate under planted label shifts.

``python -m benchmarks.monitoring FILE.csv TARGET [--splits 200] [--rows 500]`` draws random splits of a table. For
each it fits boosted trees on half of the rows, takes a fifth as validation rows, and monitors rows of the rest:

* none: rows as they are, with and without their labels. Each status other than 0 is a false alarm.
* up: rows drawn in proportion to exp(z) of their standardised labels z, cut at 3.
* uniform: rows drawn such that the labels are uniform over ten bins up to their 99 % quantile.

The printed errors are means over the splits: the realised error, the error that would be expected without knowing of
a shift, and the estimate, with their mean distance from the realised error and the share of intervals that hold it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from dir import LabelBins
from dir.bundle.description import bins_to_dict
from dir.monitor import NewRows, Reference, make_reference, monitor
from dir.monitor.columns import summarise_table
from dir.monitor.report import reasons_of

Floats = NDArray[np.float64]


def shift_weights(labels: Floats) -> dict[str, Floats]:
    """Return the probability of each row under each shift, up to a factor."""
    z = (labels - labels.mean()) / labels.std()
    bins = np.searchsorted(np.linspace(labels.min(), np.quantile(labels, 0.99), 11), labels)
    return {
        "none": np.ones(len(labels)),
        "up": np.exp(np.clip(z, -3, 3)),
        "uniform": 1 / np.bincount(bins)[bins],
    }


def shot_bins(labels: Floats) -> dict[str, Any]:
    """Return 20 bins of equal width in the form of a bundle; many-shot bins have over 100 labels."""
    bins = LabelBins.uniform(float(labels.min()), float(labels.max()), 20)
    counts = np.histogram(labels, bins.edges.numpy())[0]
    groups = {"many": counts > 100, "median": (counts >= 20) & (counts <= 100), "few": (counts > 0) & (counts < 20)}
    listed = {name: np.flatnonzero(member).tolist() for name, member in (groups | {"zero": counts == 0}).items()}
    return {**bins_to_dict(bins), "groups": listed}


def one_split(table: pd.DataFrame, target: str, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return one record per shift of a random split."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(table))
    train, val, rest = np.split(order, [len(table) // 2, len(table) * 7 // 10])
    features, labels = table.drop(columns=target), table[target].to_numpy(np.float64)
    model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=60, random_state=seed)
    model.fit(features.iloc[train], labels[train])
    known = np.concatenate([train, val])
    bins = shot_bins(labels[train])
    columns = summarise_table(features.iloc[known], [])
    reference = make_reference(columns, labels[known], labels[val], model.predict(features.iloc[val]), bins)
    assert reference is not None
    found = []
    for name, weights in shift_weights(labels[rest]).items():
        # Without a shift a row is drawn once, as new rows are; a shifted sample repeats rows.
        drawn = random.choice(rest, rows, replace=name != "none", p=weights / weights.sum())
        predictions = model.predict(features.iloc[drawn])
        values = {column: features[column].to_numpy(np.float64)[drawn] for column in features}
        found.append({"shift": name} | _record(reference, bins, predictions, values, labels[drawn]))
    return found


def _record(
    reference: Reference, bins: Mapping[str, Any], predictions: Floats, values: dict[str, Floats], labels: Floats
) -> dict[str, Any]:
    seen = monitor(reference, bins, NewRows(predictions, values, labels=labels))
    # The same report without the parts that labels add.
    blind = {**seen, "labels": None, "realised_error": None}
    expected, realised = seen["expected_error"], seen["realised_error"]["all"]["mae"]
    inside = expected["low"] <= realised <= expected["high"] if expected["identifiable"] else np.nan
    return {
        "alarm": bool(reasons_of(blind)),
        "alarm_labels": seen["status"] != 0,
        "inputs": any(one["drift"] for one in blind["inputs"]),
        "predictions": bool(blind["predictions"]["drift"]),
        "expected_worse": expected["worse"],
        "not_label_shift": not expected.get("label_shift", True),
        "identifiable": expected["identifiable"],
        "realised": realised,
        "before": expected["reference"],
        "estimate": expected.get("mae", np.nan),
        "before_off": abs(expected["reference"] / realised - 1),
        "estimate_off": abs(expected.get("mae", np.nan) / realised - 1),
        "inside": inside,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("target")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500)
    args = parser.parse_args()
    table = pd.read_csv(args.file).select_dtypes("number").dropna()
    rows = [row for seed in range(args.splits) for row in one_split(table, args.target, args.rows, seed)]
    means = pd.DataFrame(rows).astype({"inside": float}).groupby("shift", sort=False).mean()
    print(f"{args.file}: means over {args.splits} splits, {args.rows} new rows")
    print(means.T.round(3).to_string())


if __name__ == "__main__":
    main()
