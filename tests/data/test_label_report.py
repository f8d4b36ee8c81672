"""dir.data.label_report and dir.data.repeated_inputs, against counts by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dir import LDS, LabelBins, ShotMetrics
from dir.data import automatic_bins
from dir.data.imbalance import Imbalance
from dir.data.label_report import (
    label_report,
    outliers,
    repeats,
    shot_rows,
    suggest_bins,
    suggest_transform,
    verdict,
    weight_table,
)
from dir.data.repeated_inputs import input_keys, repeated_inputs
from dir.recipe.build import bins_of_all_labels


def test_repeats_by_hand() -> None:
    found = repeats(np.array([0.0, 0, 0, 2, 2, 7, 8, 9, 10]))
    assert (found["zeros"], found["distinct"]) == (3, 6)
    assert found["most_frequent"][:2] == [[0.0, 3], [2.0, 2]]
    assert found["top_share"] == pytest.approx(8 / 9)


def test_the_fences_are_those_of_the_box_plot_for_symmetric_labels() -> None:
    labels = np.array([-50.0, *range(-10, 11), 60.0, 70.0])
    labels = np.concatenate([labels, -labels])  # the medcouple of symmetric labels is 0
    found = outliers(labels)
    assert found["medcouple"] == pytest.approx(0)
    ordered = np.sort(labels)
    low, high = np.median(ordered[: len(labels) // 2]), np.median(ordered[len(labels) // 2 :])
    assert (found["low_fence"], found["high_fence"]) == pytest.approx(
        (low - 1.5 * (high - low), high + 1.5 * (high - low))
    )
    assert (found["below"], found["above"]) == (3, 3)


def test_a_skewed_tail_has_a_higher_fence() -> None:
    labels = np.random.default_rng(0).lognormal(size=100)
    found = outliers(labels)
    lower, upper = np.quantile(labels, [0.25, 0.75])
    assert found["high_fence"] > upper + 1.5 * (upper - lower)
    # A negated sample has the negated fences.
    mirrored = outliers(-labels)
    assert (mirrored["low_fence"], mirrored["above"]) == (pytest.approx(-found["high_fence"]), found["below"])


def test_bins_follow_the_labels_and_the_number_of_rows() -> None:
    assert suggest_bins(np.array([3.0, 9.0]))["number"] == 7
    assert suggest_bins(np.linspace(0, 1, 5000))["number"] == 50
    assert suggest_bins(np.linspace(0, 1, 500))["number"] == 25
    assert suggest_bins(np.linspace(0, 1, 60))["number"] == 10
    assert suggest_bins(np.array([0.0, 300.0]))["kind"] == "equal"


def test_the_transform_is_that_of_the_recipe() -> None:
    assert suggest_transform(np.exp(np.arange(12.0)))["log1p"]
    assert not suggest_transform(np.arange(12.0))["log1p"]


@pytest.mark.parametrize(
    ("distance", "words"), [(0.19, "nearly"), (0.21, "moderately"), (0.39, "moderately"), (0.41, "strongly")]
)
def test_the_verdict_discounts_chance(distance: float, words: str) -> None:
    assert verdict(Imbalance(0.5, 2.0, distance, 0.1, 0)).startswith(words)


@pytest.mark.parametrize("by", ["count", "density"])
def test_rows_of_the_shot_groups_are_those_of_the_metrics(by: str) -> None:
    random = np.random.default_rng(0)
    train, test = np.abs(random.normal(size=900)), random.uniform(-1, 5, 300)
    bins = automatic_bins(torch.from_numpy(train), 20)
    found = shot_rows({"train": train, "test": test}, bins, bins.counts(train), {"by": by})
    assert sum(row["train"] for row in found.values()) == 900
    assert sum(row["test"] for row in found.values()) == 300
    # ShotMetrics of a run count labels beyond the training labels in bins of their own.
    wide = bins_of_all_labels(bins, torch.from_numpy(np.concatenate([train, test])))
    metrics = ShotMetrics(wide, wide.counts(torch.from_numpy(train)), by=by)
    metrics.update(torch.zeros(300, dtype=torch.float64), torch.from_numpy(test))
    expected = {name: int(values["n"]) for name, values in metrics.compute().items()}
    assert {name: row["test"] for name, row in found.items()} == {name: expected[name] for name in found}
    assert found["zero"]["test"] >= ((test < train.min()) | (test > train.max())).sum() > 0


def test_the_weights_are_those_of_the_reweighters() -> None:
    train = torch.tensor([0.0] * 6 + [1.0] * 2 + [4.0])
    bins = LabelBins.integers(0, 4)
    table = {row["name"]: row for row in weight_table(train, bins, LDS(bins, kernel_size=3, sigma=1.0))}
    assert list(table) == ["inv", "sqinv", "lds, inverse", "lds, sqrt_inverse", "denseweight"]
    inverse = np.repeat([1 / 6, 1 / 2, 1.0], [6, 2, 1]) * 3
    assert table["inv"]["max"] == pytest.approx(inverse.max())
    assert table["inv"]["effective_size"] == pytest.approx(inverse.sum() ** 2 / (inverse**2).sum())
    smoothed = LDS(bins, kernel_size=3, sigma=1.0, reweight="sqrt_inverse").fit(train)(train)
    assert table["lds, sqrt_inverse"]["min"] == pytest.approx(float(smoothed.min()), rel=1e-6)
    assert all(0 < row["effective_share"] <= 1 for row in table.values())


def test_the_effective_density_of_uniform_labels_is_their_count_at_the_borders_too() -> None:
    train = np.repeat(np.arange(10.0), 7)
    found = label_report({"train": train}, LabelBins.integers(0, 9), {})
    assert found["histogram"]["counts"] == [7] * 10
    assert found["histogram"]["effective"] == pytest.approx([7] * 10)
    assert found["imbalance"]["verdict"] == "nearly uniform"
    json.dumps(found, allow_nan=False)


def test_equal_inputs_are_counted_with_their_disagreement_and_across_splits() -> None:
    keys = {"train": ["a", "a", "b", "c"], "val": ["b"], "test": ["d", "e"]}
    labels = {"train": np.array([1.0, 3.0, 5.0, 0.0]), "val": np.array([5.0]), "test": np.array([7.0, 8.0])}
    found = repeated_inputs(keys, labels)
    assert (found["groups"], found["rows"]) == (2, 4)
    assert found["disagreement"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert [(one["split"], one["other"], one["shared_rows"]) for one in found["leakage"]] == [
        ("val", "train", 1), ("test", "train", 0), ("test", "val", 0)
    ]  # fmt: skip
    alone = repeated_inputs({"train": ["a", "b"]}, {"train": np.zeros(2)})
    assert (alone["rows"], alone["disagreement"], alone["leakage"]) == (0, None, [])


def test_inputs_of_several_arrays_are_equal_if_all_arrays_are() -> None:
    first, second = torch.tensor([1, 1, 1]), torch.tensor([[0.0], [0.0], [2.0]])
    a, b, c = input_keys((first, second))
    assert a == b != c
