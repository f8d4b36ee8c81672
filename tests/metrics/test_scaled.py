"""Balanced MAE on bins by Freedman and Diaconis, and relative to a constant prediction."""

import itertools

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.metrics.functional import balanced_mase, freedman_diaconis_bins


def oracle_bmae(prediction, label, edges):
    """Mean over the bins that hold a label of the bin's mean absolute error, by a loop."""
    means = []
    for low, high in itertools.pairwise(edges):
        inside = (label >= low) & ((label < high) | ((high == edges[-1]) & (label == high)))
        if inside.any():
            means.append(np.abs(prediction - label)[inside].mean())
    return np.mean(means)


def test_bins_follow_the_rule():
    labels = np.random.default_rng(0).gamma(2.0, 10.0, 1000)
    bins = freedman_diaconis_bins(labels)
    iqr = np.quantile(labels, 0.75) - np.quantile(labels, 0.25)
    width = 2 * iqr / len(labels) ** (1 / 3)
    assert bins.num_bins == int(np.ceil((labels.max() - labels.min()) / width))
    np.testing.assert_allclose(bins.edges[[0, -1]], [labels.min(), labels.max()])


def test_mostly_equal_labels_have_bins_by_sturges():
    labels = np.r_[np.zeros(60), np.arange(1.0, 5.0)]
    assert freedman_diaconis_bins(labels).num_bins == 7  # log2(64) + 1


def test_ratio_equals_a_loop():
    rng = np.random.default_rng(1)
    label = rng.gamma(2.0, 10.0, 500)
    prediction = label + rng.normal(0, 5, 500)
    edges = np.histogram_bin_edges(label, "fd")
    expected = oracle_bmae(prediction, label, edges) / oracle_bmae(np.full(500, 17.0), label, edges)
    assert float(balanced_mase(prediction, label, 17.0)) == pytest.approx(expected, rel=1e-12)
    assert float(balanced_mase(torch.tensor(prediction), torch.tensor(label), 17.0)) == pytest.approx(
        expected, rel=1e-12
    )


def test_the_constant_itself_has_the_value_one_and_given_bins_are_used():
    label = torch.tensor([0.0, 0.0, 4.0])
    assert float(balanced_mase(torch.full((3,), 1.0), label, 1.0)) == 1.0
    bins = LabelBins.uniform(0, 4, 2)
    assert float(balanced_mase(torch.zeros(3), label, 1.0, bins)) == pytest.approx(2.0 / 2.0)


@pytest.mark.parametrize("labels", [[], [1.0, 1.0], [1.0, float("nan")]])
def test_labels_without_bins_are_refused(labels):
    with pytest.raises(ValueError, match=r"^labels: "):
        freedman_diaconis_bins(torch.tensor(labels))
