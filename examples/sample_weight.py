"""Weights of LDS or DenseWeight for a classical model: any regressor whose ``fit`` takes ``sample_weight``.

    python examples/sample_weight.py                   # a generated table with a skewed label
    python examples/sample_weight.py FILE.csv TARGET   # your own

Prints the errors by shot group with and without weights. The test rows are balanced over the label range, so that the
rare labels show.
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


def generated(rows: int, seed: int) -> tuple[Rows, Rows]:
    """Training rows whose label is mostly small, and test rows with as many large labels as small ones."""
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
    """The encoded rows of a csv file, split as in the recipes."""
    data = TabularData(path, target, seed=seed)
    data.setup()
    train, test = (data.dataset(name).__getitems__(range(len(data.labels(name)))) for name in ("train", "test"))
    return train, test


def errors(train: Rows, test: Rows, seed: int = 0) -> dict[str, Mapping[str, Mapping[str, Tensor]]]:
    """Shot metrics on the test rows, by what weighs the training rows."""
    (x, y), (test_x, test_y) = train, test
    bins = automatic_bins(y, 50)
    weights: dict[str, Tensor | None] = {
        "none": None,
        "LDS": LDS(bins, reweight="sqrt_inverse").fit(y)(y),
        "DenseWeight": DenseWeight(alpha=1.0).fit(y)(y),
    }
    found = {}
    for name, weight in weights.items():
        model = HistGradientBoostingRegressor(random_state=seed)
        model.fit(x.numpy(), y.numpy(), sample_weight=None if weight is None else weight.numpy())
        metrics = ShotMetrics(bins, bins.counts(y))
        metrics.update(torch.from_numpy(model.predict(test_x.numpy())).float(), test_y)
        found[name] = metrics.compute()
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="a csv file with a header")
    parser.add_argument("target", nargs="?", help="its column to predict")
    parser.add_argument("--rows", type=int, default=10_000, help="of the generated table")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.path is not None and given.target is None:
        parser.error("name the column to predict: sample_weight.py FILE.csv TARGET")
    rows = from_csv(given.path, given.target, given.seed) if given.path else generated(given.rows, given.seed)
    groups = ("all", "many", "median", "few")
    print(f"{'MAE, weights':<14}" + "".join(f"{group:>10}" for group in groups))
    for name, values in errors(*rows, given.seed).items():
        print(f"{name:<14}" + "".join(f"{float(values[group]['mae']):>10.3f}" for group in groups))


if __name__ == "__main__":
    main()
