"""Weights of LDS and DenseWeight for any scikit-learn regressor whose ``fit`` takes ``sample_weight``.

    python examples/sample_weight.py                   # a generated table with a skewed label
    python examples/sample_weight.py FILE.csv TARGET   # your own

The script prints the mean absolute error by shot group, with and without weights. A shot group collects the test rows
whose label bin has many (over 100), a median number of (20 to 100) or few (1 to 19) training rows. The test rows are
balanced over the label range, so that errors on rare labels are visible.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from dir import LDS, DenseWeight, LabelBins
from dir.data.base import automatic_bins
from dir.data.splits import balanced_split, cap_for_share
from dir.data.tabular import TabularData
from dir.metrics import ShotMetrics

Rows = tuple[Tensor, Tensor]  # inputs [N, D], labels [N]


def generate(rows: int, seed: int) -> tuple[Rows, Rows]:
    """Return training rows with mostly small labels, and test rows balanced over the label range."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, 8))
    signal = inputs[:, 0] + 0.5 * inputs[:, 1] * inputs[:, 2]
    labels = 10 * np.exp(0.4 * (signal + random.normal(size=rows)))
    bins = LabelBins.uniform(float(labels.min()), float(labels.max()), 50)
    groups = bins(torch.from_numpy(labels)).numpy()
    names = balanced_split(groups, cap_for_share(groups, 0.13), seed)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels).float()
    train, test = (torch.from_numpy(names == name) for name in ("train", "test"))
    return (x[train], y[train]), (x[test], y[test])


def from_csv(path: str, target: str, seed: int) -> tuple[Rows, Rows]:
    """Return the encoded training and test rows of a csv file, split as in the recipes."""
    data = TabularData(path, target, seed=seed)
    data.setup()
    train, test = (data.dataset(name).__getitems__(range(len(data.labels(name)))) for name in ("train", "test"))
    return train, test


def errors(train: Rows, test: Rows, seed: int = 0) -> dict[str, Mapping[str, Mapping[str, Tensor]]]:
    """Return the shot metrics on the test rows for each kind of weight."""
    (x, y), (test_x, test_y) = train, test
    bins = automatic_bins(y, 50)
    weights: dict[str, Tensor | None] = {
        "none": None,
        "LDS": LDS(bins, reweight="sqrt_inverse").fit(y)(y),
        "DenseWeight": DenseWeight(alpha=1.0).fit(y)(y),
    }
    results = {}
    for name, weight in weights.items():
        model = HistGradientBoostingRegressor(random_state=seed)
        model.fit(x.numpy(), y.numpy(), sample_weight=None if weight is None else weight.numpy())
        metrics = ShotMetrics(bins, bins.counts(y))
        metrics.update(torch.from_numpy(model.predict(test_x.numpy())).float(), test_y)
        results[name] = metrics.compute()
    return results


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="a csv file with a header")
    parser.add_argument("target", nargs="?", help="name of the column to predict")
    parser.add_argument("--rows", type=int, default=10_000, help="number of rows of the generated table")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated table and of the split")
    given = parser.parse_args(arguments)
    if given.path is not None and given.target is None:
        parser.error("target: missing. Name the column to predict: sample_weight.py FILE.csv TARGET")
    rows = from_csv(given.path, given.target, given.seed) if given.path else generate(given.rows, given.seed)
    groups = ("all", "many", "median", "few")
    print(f"{'MAE, weights':<14}" + "".join(f"{group:>10}" for group in groups))
    for name, values in errors(*rows, given.seed).items():
        print(f"{name:<14}" + "".join(f"{float(values[group]['mae']):>10.3f}" for group in groups))


if __name__ == "__main__":
    main()
