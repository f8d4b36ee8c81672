"""The bins of the shot metrics: the training bins, and one beyond each end where labels lie there."""

import torch

from dir.bins import LabelBins
from dir.recipe.build import bins_of_all_labels


def test_labels_within_the_training_range_leave_the_bins_as_they_are():
    bins = LabelBins.integers(0, 9)
    extended = bins_of_all_labels(bins, torch.tensor([0.0, 4.0, 9.4]))
    assert torch.equal(extended.edges, bins.edges)


def test_labels_beyond_the_training_range_are_zero_shot():
    train = torch.tensor([1.0, 2.0, 2.0, 3.0])
    bins = LabelBins.uniform(1.0, 3.0, 4)
    extended = bins_of_all_labels(bins, torch.tensor([-5.0, 1.0, 3.0, 1000.0]))
    counts = extended.counts(train)
    assert counts.sum() == len(train)
    assert counts[extended(torch.tensor([-5.0, -1.0, 3.5, 1000.0]))].tolist() == [0, 0, 0, 0]
    # The top edge stays in the last training bin.
    assert counts[extended(torch.tensor([3.0]))].item() == 1


def test_one_outlier_of_the_test_split_does_not_coarsen_the_training_bins():
    bins = LabelBins.uniform(0.0, 10.0, 50)
    extended = bins_of_all_labels(bins, torch.tensor([0.0, 1000.0]))
    assert extended.num_bins == 51
    labels = torch.rand(200) * 9.9
    assert torch.equal(extended(labels), bins(labels))
